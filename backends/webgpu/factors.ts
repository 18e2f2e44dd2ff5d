/** Weights that products alone read, as their right factors. */
import { type Graph, type Node, ops, sameShape, type Value } from "../../ir/index.ts";
import { isFactor } from "./kernels/index.ts";
import { isPacked } from "./transfer.ts";
import { unviewed } from "./views.ts";

/** Each weight that products alone read, with the right factor [..., K, N] that it is to all of them. */
export function factorWeights(graph: Graph): ReadonlyMap<Value, Value> {
  const factors = new Map<Value, Value>();
  const others = new Set(weightsOf([...graph.outputs.values()]));
  for (const node of graph.nodes) {
    if (node.op.has("view") || isWidening(node)) continue;
    for (const [i, operand] of node.operands.entries()) {
      for (const leaf of weightsOf([operand])) {
        const known = factors.get(leaf) ?? operand;
        if (
          isFactor(node, i) &&
          operand.type.shape.length >= 2 &&
          sameShape(known.type.shape, operand.type.shape)
        )
          factors.set(leaf, known);
        else others.add(leaf);
      }
    }
  }
  return new Map([...factors].filter(([leaf]) => !others.has(leaf)));
}

/** The weights that values are, at most viewed otherwise, or packed. */
const weightsOf = (values: readonly Value[]): Value[] =>
  values.flatMap((value) => {
    const origin = unviewed(value);
    const leaf = origin.node && isWidening(origin.node) ? unviewed(origin.node.operands[0] as Value) : origin;
    return leaf.leaf?.kind === "weight" ? [leaf] : [];
  });

/** Whether an application makes float32 of a packed weight. */
const isWidening = ({ op, operands, results }: Node): boolean =>
  op === ops.cast && results[0]?.type.dtype === "f32" && isPacked(unviewed(operands[0] as Value));
