/** Lowering to the ops that a backend has. */
import { type AnyOp, CompileError, withOperands } from "../ir/index.ts";
import type { Pass } from "./pass.ts";

/** The pass that decomposes every op that `supports` rejects, until none is left; throws L1 where it cannot. */
export const legalize = (supports: (op: AnyOp) => boolean): Pass => ({
  name: "legalize",
  summary: "Every op is one that the backend has a kernel for.",
  run(graph) {
    let current = graph;
    while (!current.nodes.every((node) => supports(node.op))) {
      current = current.map((node, operands) => {
        if (supports(node.op)) return withOperands(node, operands);
        if (node.op.decompose) return node.op.decompose(operands, node.sizes);
        throw new CompileError("L1", node.op.name, "has no kernel in this backend and no decomposition");
      });
    }
    return current;
  },
});
