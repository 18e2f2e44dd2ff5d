/** V-MoE's router: each token chooses the k experts of largest gate. */
import { z } from "zod";

import { CompileError, ops, type Value } from "../../ir/index.ts";
import { capacityOf, type CapacityPolicy } from "../capacity.ts";
import { lecunNormal } from "../init.ts";
import { scaled, sum } from "../shorthand.ts";
import { defineRouter, type Router, type RoutingPlan } from "./router.ts";

const weight = z.number().min(0);

const options = z.strictObject({
  name: z.string(),
  num_selected_experts: z.int().min(1).default(1),
  /** Standard deviation of the noise on the logits, times the number of experts. */
  noise_std: z.number().min(0).default(1),
  gshard_loss_weight: weight.default(0),
  importance_loss_weight: weight.default(1),
  load_loss_weight: weight.default(1),
  /** false: the noise is on in evaluation too. */
  deterministic: z.boolean().default(true),
  dispatcher: z
    .strictObject({
      /** Both name one function; it is always compiled in its index form. */
      name: z.enum(["einsum", "indices"]).default("einsum"),
      capacity: z.int().min(1).nullable().default(null),
      capacity_factor: z.number().positive().nullable().default(null),
      capacity_ceil_or_round: z.enum(["ceil", "round"]).default("ceil"),
      capacity_multiple_of: z.int().min(0).nullable().default(4),
      batch_priority: z.boolean().default(false),
      bfloat16: z.boolean().default(false),
      /** How the original lays data out over a TPU mesh, and in which precision; without meaning here. */
      partition_spec: z.unknown().optional(),
      einsum_precision: z.unknown().optional(),
    })
    .prefault({}),
});

type Options = z.output<typeof options>;

const policyOf = ({ dispatcher }: Options): CapacityPolicy => ({
  capacity: dispatcher.capacity,
  factor: dispatcher.capacity_factor,
  rounding: dispatcher.capacity_ceil_or_round,
  multipleOf: dispatcher.capacity_multiple_of,
});

export const noisyTopExperts: Router = defineRouter({
  name: "NoisyTopExpertsPerItemRouter",
  summary: "Each token chooses the k experts of largest gate; noise on the logits in training.",
  source: "Riquelme et al. 2021, arXiv 2106.05974, section 2.2; google-research/vmoe, vmoe/nn/routing.py",
  contract: {
    compares: "gates, the f32 softmax of the logits over all experts",
    ties: "lower expert first",
    weights: "gates",
    order: "position, or largest gate with earlier tokens first (batch_priority)",
    noise: "N(0, (noise_std / E)^2) on the logits, before the softmax",
  },
  options,

  check({ num_selected_experts: k, dispatcher: { capacity, capacity_factor } }, experts) {
    if (k > experts) {
      const message = `must be at most num_experts = ${experts}; got ${k}`;
      throw new CompileError("M3", "encoder.moe.router.num_selected_experts", message);
    }
    if ((capacity === null) === (capacity_factor === null)) {
      const message = `exactly one of capacity and capacity_factor must be given; got ${capacity} and ${capacity_factor}`;
      throw new CompileError("M3", "encoder.moe.router.dispatcher", message);
    }
  },

  noisy: ({ deterministic }) => !deterministic,

  capacity: (given, tokens, experts) =>
    capacityOf(policyOf(given), tokens * given.num_selected_experts, experts),

  load({ num_selected_experts: k, dispatcher: { capacity, capacity_factor } }, tokens, experts) {
    return capacity_factor === null ? ((capacity ?? 0) * experts) / tokens : k * capacity_factor;
  },

  route(given, { x, experts, parameters, noise }): RoutingPlan {
    const { num_selected_experts: k, noise_std: std, dispatcher } = given;
    const [G = 1, T = 1, D = 1] = x.type.shape;
    const kernel = parameters.weight("dense/kernel", [D, experts], lecunNormal(D));
    const clean = ops.reshape(ops.matmul(ops.reshape(x, { shape: [G * T, D] }), kernel), {
      shape: [G, T, experts],
    });
    const draw = std > 0 ? noise?.() : undefined;
    const sigma = std / experts;
    const logits = draw ? ops.add(clean, scaled(draw, sigma)) : clean;

    const capacity = capacityOf(policyOf(given), T * k, experts);
    const priority = dispatcher.batch_priority ? "gate" : "token";
    const plan = ops.routeTopExperts(logits, { k, capacity, priority });

    const metrics = new Map<string, Value>([
      ["importance_loss", ops.importanceLoss(ops.softmax(clean))],
      ["gshard_loss", ops.gshardLoss(ops.softmax(logits))],
    ]);
    if (draw) metrics.set("load_loss", ops.loadLoss(clean, logits, { k, sigma }));
    const terms = [...metrics].filter(([name]) => lossWeight(given, name) > 0);
    const none = ops.constant({ value: 0, to: "f32", shape: [G] });
    return {
      ...plan,
      items: x,
      through: dispatcher.bfloat16 ? "bf16" : "f32",
      metrics,
      auxiliaryLoss: sum(
        terms.map(([name, loss]) => scaled(loss, lossWeight(given, name))),
        none,
      ),
    };
  },
});

const lossWeight = (given: Options, metric: string): number =>
  ({
    importance_loss: given.importance_loss_weight,
    gshard_loss: given.gshard_loss_weight,
    load_loss: given.load_loss_weight,
  })[metric] ?? 0;
