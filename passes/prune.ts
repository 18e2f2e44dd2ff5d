/** Keeping only what is asked for. */
import { CompileError } from "../ir/index.ts";
import type { Pass } from "./pass.ts";

/** The pass that keeps the outputs of the given names and what they need; throws R3 for a name there is not. */
export const prune = (outputs: readonly string[]): Pass => ({
  name: "prune",
  summary: "The program computes the outputs asked for and nothing else.",
  run(graph) {
    const stray = outputs.find((name) => !graph.outputs.has(name));
    if (stray !== undefined) {
      throw new CompileError(
        "R3",
        stray,
        `must be an output; there are ${[...graph.outputs.keys()].join(", ")}`,
      );
    }
    return graph.select(outputs);
  },
});
