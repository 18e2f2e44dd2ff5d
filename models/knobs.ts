/** Knobs of a live program: k, capacity and priority of a run, as inputs. */
import { CompileError, Tensor } from "../ir/index.ts";
import type { Model } from "./model.ts";
import type { Knobs } from "./routers/options.ts";

/** What stands before a block's name in the input of a live program that sets its knobs. */
export const knobsPrefix = "knobs/";

/**
 * The inputs that set the knobs of every sparse block, beside `image`; those of a single block can be replaced in the
 * map. What is left out is as configured; of a program that is not live there are none. Routing and logits are those
 * of a program compiled for these settings, but that slots are numbered by the configured capacity, and that what a
 * loss depends on k for is the configured k. Throws M6 for a knob that is beyond the configuration, and for any where
 * the program is not live.
 */
export function knobsOf({ graph, limits }: Model, knobs: Knobs = {}): Map<string, Tensor> {
  const [set] = Object.entries(knobs).find(([, value]) => value !== undefined) ?? [];
  if (!limits) {
    if (set === undefined) return new Map();
    throw new CompileError("M6", set, "is for programs made with live knobs");
  }
  const names = graph.inputs.map(({ leaf }) => leaf?.name ?? "");
  return new Map(
    names
      .filter((name) => name.startsWith(knobsPrefix))
      .map((name) => {
        const values = limits(knobs, name.slice(knobsPrefix.length));
        return [name, Tensor.from({ dtype: "i32", shape: [values.length] }, values)];
      }),
  );
}
