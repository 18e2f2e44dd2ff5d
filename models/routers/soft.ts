/** Soft MoE: every slot takes a mean of all tokens, every token a mean of all slots' outputs. */
import { z } from "zod";

import { CompileError, ops, type Value } from "../../ir/index.ts";
import { capacityOf } from "../capacity.ts";
import { constant, lecunNormal } from "../init.ts";
import { filled, largest, rowSum, scaled, smallest } from "../shorthand.ts";
import { withNoise } from "./logits.ts";
import { defineRouter, type Router, routerPath } from "./router.ts";

const options = {
  /** Slots as a multiple of an even share of the tokens, rounded half to even; of no account beside `num_slots`. */
  capacity_factor: z.number().positive().nullable().default(1),
  /** Slots of an expert. */
  num_slots: z.int().min(1).nullable().default(null),
  /** Numbers that the original prints in training; not computed here. */
  compute_similarity_metrics: true,
  partition_spec: z.unknown().optional(),
};

export const soft: Router = defineRouter({
  name: "SoftRouter",
  summary: "Each slot takes a weighted mean of all tokens, and each token one of all slots' outputs.",
  source: "Puigcerver et al. 2024, arXiv 2308.00951; google-research/vmoe, vmoe/projects/soft_moe/router.py",
  options,
  contract: {
    compares: "nothing: every token is in every slot, weighted by the softmax over tokens of scaled cosines",
    ties: "none",
    weights: "softmax of the scaled cosines over all slots of all experts",
    order: "none",
    noise: "N(0, noise_std^2) on the scaled cosines",
  },
  check({ capacity_factor: factor, num_slots }) {
    if (factor === null && num_slots === null) {
      const at = [...routerPath, "num_slots"].join(".");
      throw new CompileError("M3", at, "or capacity_factor must be given; got null for both");
    }
  },
  rows: (given, tokens, experts) => (slotsOf(given, tokens, experts) * experts) / tokens,

  plan(context, given) {
    const { x, G, T, D, experts: E, weight } = context;
    const P = slotsOf(given, T, E);
    const S = E * P;
    // Fan-in as Flax counts it for three axes: all but the last.
    const mu = ops.reshape(weight("mu", [D, E, P], lecunNormal(D * E)), { shape: [D, S] });
    const scale = ops.broadcast(weight("scale", [], constant(1)), { shape: [S, D] });
    const keys = ops.multiply(normalized(ops.transpose(mu, { perm: [1, 0] })), scale);
    const rows = ops.reshape(normalized(x), { shape: [G * T, D] });
    const cosines = ops.reshape(ops.matmul(rows, ops.transpose(keys, { perm: [1, 0] })), {
      shape: [G, T, S],
    });
    const logits = withNoise(cosines, given.noise_std, context);

    const dispatched = ops.softmax(ops.transpose(logits, { perm: [0, 2, 1] }));
    const combined = ops.softmax(logits);
    // The original's dispatcher always goes through bfloat16: the tokens on their way in, before they are mixed.
    const tokens = ops.cast(ops.cast(x, { to: "bf16" }), { to: "f32" });
    const everySlot = ops.iota({ size: S });
    return {
      items: ops.matmul(dispatched, tokens),
      tokens: ops.broadcast(ops.reshape(everySlot, { shape: [E, P] }), { shape: [G, E, P] }),
      slots: ops.broadcast(everySlot, { shape: [G, T, S] }),
      weights: combined,
      arrives: "f32",
      returns: "bf16",
      metrics: new Map([
        ["combine_weights_min_mean", meanOf(smallest, combined)],
        ["combine_weights_max_mean", meanOf(largest, combined)],
        ["dispatch_weights_min_mean", meanOf(smallest, dispatched)],
        ["dispatch_weights_max_mean", meanOf(largest, dispatched)],
      ]),
    };
  },
});

/** Slots of an expert. */
const slotsOf = (
  {
    capacity_factor: factor,
    num_slots: capacity,
  }: { readonly capacity_factor: number | null; readonly num_slots: number | null },
  tokens: number,
  experts: number,
): number =>
  capacityOf({ capacity, factor, policy: "round", multipleOf: null }, { tokens, choices: 1, experts });

/** The rows of `x`, each of length 1 but for an epsilon. */
function normalized(x: Value): Value {
  const squares = ops.reduceSum(ops.multiply(x, x));
  const lengths = ops.sqrt(ops.add(squares, filled(1e-6, squares)));
  return ops.divide(x, ops.broadcast(lengths, { shape: x.type.shape }));
}

/** The mean over the rows of each group of what `entry` takes of each row: [G, rows, N] to [G]. */
function meanOf(entry: (rows: Value) => Value, weights: Value): Value {
  const [G = 1, rows = 1, N = 1] = weights.type.shape;
  const entries = entry(ops.reshape(weights, { shape: [G * rows, N] }));
  return scaled(rowSum(ops.reshape(entries, { shape: [G, rows] })), 1 / rows);
}
