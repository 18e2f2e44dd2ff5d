/** Packed weights whole: widened for what cannot read them as they lie. */
import { type Graph, ops, type Value } from "../../ir/index.ts";
import { isFactor, kernels } from "./kernels/index.ts";
import { isPacked } from "./transfer.ts";
import { unviewed } from "./views.ts";

/**
 * The program in which packed weights are read by elements and by products alone: for whatever else reads one, it is
 * widened, once, when the program is loaded.
 */
export function widenPacked(graph: Graph): Graph {
  const readWhole = graph.nodes.flatMap((node) => {
    const kernel = kernels.get(node.op);
    return kernel && "emit" in kernel ? node.operands.filter((_, i) => !isFactor(node, i)) : [];
  });
  const packed = [...readWhole, ...graph.outputs.values()].map(unviewed).filter(isPacked);
  if (packed.length === 0) return graph;
  const wide = new Map(
    [...new Set(packed)].map((value) => [value, ops.cast(ops.cast(value, { to: "f32" }), { to: "f16" })]),
  );
  const widened = (value: Value): Value => wide.get(value) ?? value;
  const program = graph.map(({ op, attrs }, operands) => op.apply(operands.map(widened), attrs));
  return program.withOutputs([...program.outputs].map(([name, value]) => [name, widened(value)]));
}
