/** How much memory a program's values need: a pure question about a graph. */
import { byteLength, type Graph, type Value } from "../../ir/index.ts";

/** Bytes that a value takes among those that come and go. */
const size = (value: Value): number => (value.leaf?.kind === "weight" ? 0 : byteLength(value.type));

/**
 * The most bytes of inputs and results that are alive at once when nodes run in order and each value is dropped
 * after its last use; weights are not counted, views share what they view.
 */
export function peakBytes(graph: Graph): number {
  const origin = (value: Value): Value =>
    value.node?.op.has("view") ? origin(value.node.operands[0] as Value) : value;
  const uses = new Map<Value, number>();
  for (const [value, count] of graph.uses()) uses.set(origin(value), (uses.get(origin(value)) ?? 0) + count);
  let alive = graph.inputs.reduce((sum, value) => sum + size(value), 0);
  let peak = alive;
  for (const node of graph.nodes) {
    if (!node.op.has("view")) alive += node.results.reduce((sum, result) => sum + size(result), 0);
    peak = Math.max(peak, alive);
    for (const value of node.operands.map(origin)) {
      const left = (uses.get(value) ?? 0) - 1;
      uses.set(value, left);
      if (left === 0) alive -= size(value);
    }
  }
  return peak;
}
