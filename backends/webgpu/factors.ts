/** What applications read of their operands, and which weights products alone read, as their right factors. */
import { type Graph, type Node, sameShape, type Value } from "../../ir/index.ts";
import { isFactor } from "./kernels/index.ts";
import { storedOf } from "./stored.ts";
import { unviewed } from "./views.ts";

/** What the launches of an application read for operand `i`: of a stored factor what it is made of, its words first. */
export function readAs(node: Node, i: number): readonly [words: Value, ...scales: Value[]] {
  const operand = node.operands[i] as Value;
  const stored = isFactor(node, i) ? storedOf(operand) : undefined;
  if (!stored) return [unviewed(operand)];
  return stored.scales ? [stored.words, stored.scales.value] : [stored.words];
}

/** Each weight that products alone read, whole, with the right factor [..., K, N] that it is to all of them. */
export function factorWeights(graph: Graph): ReadonlyMap<Value, Value> {
  const factors = new Map<Value, Value>();
  const others = new Set([...graph.outputs.values()].map(unviewed));
  const read = new Set(others);
  for (const node of graph.nodes.toReversed()) {
    // What products alone read, as it is stored, is never computed, and reads nothing itself.
    if (node.op.has("view") || !node.results.some((result) => read.has(result))) continue;
    for (const [i, operand] of node.operands.entries()) {
      const [words, ...scales] = readAs(node, i);
      const known = factors.get(words) ?? operand;
      if (isFactor(node, i) && isWhole(operand) && sameShape(known.type.shape, operand.type.shape))
        factors.set(words, known);
      else others.add(words);
      for (const value of scales) others.add(value);
      for (const value of [words, ...scales]) read.add(value);
    }
  }
  return new Map(
    graph.weights.flatMap((leaf) => {
      const factor = factors.get(leaf);
      return factor && !others.has(leaf) ? [[leaf, factor] as const] : [];
    }),
  );
}

/** Whether a factor is matrices, and all that is stored of them. */
function isWhole(factor: Value): boolean {
  const { shape } = factor.type;
  const columns = shape.at(-1);
  return shape.length >= 2 && (storedOf(factor)?.stride ?? columns) === columns;
}
