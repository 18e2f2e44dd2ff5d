/** Weights that products alone read, as their right factors. */
import { type Graph, sameShape, type Value } from "../../ir/index.ts";
import { isFactor } from "./kernels/index.ts";
import { type Stored, storedOf } from "./stored.ts";
import { unviewed } from "./views.ts";

/** Each weight that products alone read, whole, with the right factor [..., K, N] that it is to all of them. */
export function factorWeights(graph: Graph): ReadonlyMap<Value, Value> {
  const factors = new Map<Value, Value>();
  const others = new Set([...graph.outputs.values()].map(unviewed));
  const read = new Set(others);
  for (const node of graph.nodes.toReversed()) {
    // What products alone read, as it is stored, is never computed, and reads nothing itself.
    if (node.op.has("view") || !node.results.some((result) => read.has(result))) continue;
    for (const [i, operand] of node.operands.entries()) {
      const isRight = isFactor(node, i);
      const stored = isRight ? storedOf(operand) : undefined;
      const words = stored?.words ?? unviewed(operand);
      const known = factors.get(words) ?? operand;
      if (isRight && isWhole(operand, stored) && sameShape(known.type.shape, operand.type.shape))
        factors.set(words, known);
      else others.add(words);
      read.add(words);
      if (stored?.scales) {
        others.add(stored.scales.value);
        read.add(stored.scales.value);
      }
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
function isWhole({ type: { shape } }: Value, stored: Stored | undefined): boolean {
  return shape.length >= 2 && (stored === undefined || stored.stride === shape.at(-1));
}
