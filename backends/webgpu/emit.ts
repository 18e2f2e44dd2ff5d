/** From groups of nodes to launches: each group is asked of its kernel, and what depends on no input comes first. */
import { type AnyOp, CompileError, type Graph, type Value } from "../../ir/index.ts";
import { groupsOf } from "./groups.ts";
import type { Launch, Shard } from "./kernel.ts";
import { kernels } from "./kernels/index.ts";
import type { Profile } from "./profile.ts";
import { storedOf } from "./stored.ts";
import { originOf } from "./views.ts";
import type { PackedWeights } from "./weights.ts";

/** Whether this backend computes `op`: by a kernel, or because its result lies where its operand does. */
export const supports = (op: AnyOp): boolean => kernels.has(op) || op.has("view");

/** A launch with where its op stands in the model. */
export interface Emitted {
  readonly scope: string;
  readonly launch: Launch;
}

/** The launches of a program, in order: those that are made once, and those of every run. */
export interface Launches {
  readonly once: readonly Emitted[];
  readonly always: readonly Emitted[];
}

/** The launches of `graph`. Throws B3 for one that is beyond the profile's limits. */
export function emitAll(graph: Graph, profile: Profile, weights: PackedWeights): Launches {
  const once: Emitted[] = [];
  const always: Emitted[] = [];
  for (const { isFixed, ...emitted } of emitEach(graph, profile, weights)) {
    checkLimits(emitted.launch, profile);
    (isFixed ? once : always).push(emitted);
  }
  return { once, always };
}

/** The launches one by one, whatever the limits, and whether each depends on no input. */
export function* emitEach(
  graph: Graph,
  profile: Profile,
  weights: PackedWeights,
): Generator<Emitted & { readonly isFixed: boolean }> {
  const fixed = new Set<Value>(graph.weights);
  for (const group of groupsOf(graph, profile)) {
    const isFixed = group.operands.every((operand) => fixed.has(operand));
    if (isFixed) for (const result of group.results) fixed.add(result);
    const launches = group.emit({
      scratch: (element, length) => ({ element, length }),
      shards: (value) => shardsOf(value, weights),
      strips: (value) => weights.strips.get(originOf(wordsOf(value)).value),
    });
    for (const launch of launches) yield { scope: group.scope, launch, isFixed };
  }
}

/** The parts of a weight, as it is stored, or of a view that leaves its first axis as it is; anything else is one part. */
function shardsOf(value: Value, { shards }: PackedWeights): readonly Shard[] {
  const held = wordsOf(value);
  const origin = originOf(held).value;
  const [entries = 1] = value.type.shape;
  const parts = shards.get(origin);
  if (parts && origin.type.shape[0] === entries) return parts;
  return [{ weight: held, index: 0, start: 0, stop: entries }];
}

/** What is bound of a right factor. */
const wordsOf = (value: Value): Value => storedOf(value)?.words ?? value;

/** Throws B3 for a launch that is beyond the limits. */
export function checkLimits({ label, workgroups, bindings }: Launch, { limits }: Profile): void {
  const side = limits.maxComputeWorkgroupsPerDimension;
  if (workgroups.some((count) => count > side)) {
    const message = `needs a grid of ${workgroups.join(" x ")} workgroups; the device has at most ${side} a side`;
    throw new CompileError("B3", label, message);
  }
  const most = limits.maxStorageBuffersPerShaderStage;
  const buffers = bindings.filter(({ image }) => !image).length;
  if (buffers > most)
    throw new CompileError("B3", label, `binds ${buffers} buffers; the device has at most ${most}`);
}
