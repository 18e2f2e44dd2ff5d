/** Right factors of products with rows of whole vectors: they are padded on their way to the device. */
import { ops, sameShape, type Value, weight } from "../../ir/index.ts";
import type { WithJoinedWeights } from "./joinWeights.ts";

/** Elements of a vector. */
const lanes = 4;

/**
 * The program with each weight of other rows that products alone read, as the right factor that `factors` says, replaced by
 * the first columns of one whose rows are whole vectors, the rest of them zero.
 */
export function padWeights(
  { graph, joins }: WithJoinedWeights,
  factors: ReadonlyMap<Value, Value>,
): WithJoinedWeights {
  const padded = new Map(joins);
  const columns = new Map<Value, Value>();
  for (const [leaf, factor] of factors) {
    const { dtype, shape } = leaf.type;
    const [N = 1] = shape.slice(-1);
    if (N % lanes === 0 || !sameShape(shape, factor.type.shape)) continue;
    const name = leaf.leaf?.name ?? "";
    const width = Math.ceil(N / lanes) * lanes;
    const wide = weight(name, { dtype, shape: [...shape.slice(0, -1), width] });
    padded.set(wide, joins.get(leaf) ?? [{ name, shape, run: N }]);
    columns.set(leaf, ops.slice(wide, { start: shape.map(() => 0), limit: shape }));
  }
  return columns.size === 0 ? { graph, joins } : { graph: graph.replace(columns), joins: padded };
}
