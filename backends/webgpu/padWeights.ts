/** Right factors of products with rows of whole vectors: they are padded on their way to the device. */
import { type Graph, ops, type Value, weight } from "../../ir/index.ts";
import type { WithJoinedWeights } from "./joinWeights.ts";
import { isFactor } from "./kernels/index.ts";

/** Elements of a vector. */
const lanes = 4;

/**
 * The program with each weight of other rows that products alone read, as their right factor, replaced by the first
 * columns of one whose rows are whole vectors, the rest of them zero.
 */
export function padWeights({ graph, joins }: WithJoinedWeights): WithJoinedWeights {
  const padded = new Map(joins);
  const columns = new Map<Value, Value>();
  for (const leaf of factorsAlone(graph)) {
    const { dtype, shape } = leaf.type;
    const [N = 1] = shape.slice(-1);
    if (N % lanes === 0 || shape.length < 2) continue;
    const name = leaf.leaf?.name ?? "";
    const width = Math.ceil(N / lanes) * lanes;
    const wide = weight(name, { dtype, shape: [...shape.slice(0, -1), width] });
    padded.set(wide, joins.get(leaf) ?? [{ name, shape, run: N }]);
    columns.set(leaf, ops.slice(wide, { start: shape.map(() => 0), limit: shape }));
  }
  return columns.size === 0 ? { graph, joins } : { graph: graph.replace(columns), joins: padded };
}

/** The weights that products alone read, as right factors, themselves or widened. */
function factorsAlone(graph: Graph): Value[] {
  const uses = new Map<Value, number>();
  const asFactor = new Map<Value, number>();
  for (const node of graph.nodes) {
    for (const [i, operand] of node.operands.entries()) {
      count(uses, operand);
      if (isFactor(node, i)) count(asFactor, operand);
    }
  }
  for (const value of graph.outputs.values()) count(uses, value);
  return [...asFactor].flatMap(([value, times]) => {
    const { node } = value;
    const leaf = node?.op === ops.cast ? (node.operands[0] as Value) : value;
    const alone = uses.get(value) === times && (leaf === value || uses.get(leaf) === 1);
    return alone && leaf.leaf?.kind === "weight" ? [leaf] : [];
  });
}

const count = (counts: Map<Value, number>, value: Value): unknown =>
  counts.set(value, (counts.get(value) ?? 0) + 1);
