/** Lowering to the ops that a backend has. */
import { CompileError, withOperands } from "../ir/index.ts";
import type { Pass, Supports } from "./pass.ts";

/** The pass that decomposes every application that `supports` rejects, until none is left; throws L1 where it cannot. */
export const legalize = (supports: Supports): Pass => ({
  name: "legalize",
  summary: "Every op is one that the backend has a kernel for.",
  run(graph) {
    let current = graph;
    while (!current.nodes.every((node) => supports(node.op, node))) {
      current = current.map((node, operands) => {
        if (supports(node.op, node)) return withOperands(node, operands);
        if (node.op.decompose) return node.op.decompose(operands, node.sizes);
        throw new CompileError("L1", node.op.name, "has no kernel in this backend and no decomposition");
      });
    }
    return current;
  },
});
