/** E3's router: each member of an ensemble chooses among experts of its own. */
import { ops, type Value } from "../../ir/index.ts";
import { lecunNormal } from "../init.ts";
import { filled } from "../shorthand.ts";
import type { RoutingContext } from "./plan.ts";
import { defineRouter, type Router } from "./router.ts";
import { lossesOf } from "./tokenChoice.ts";

export const noisyTopExpertsEnsemble: Router = defineRouter({
  name: "NoisyTopExpertsPerItemEnsembleRouter",
  summary:
    "Each token chooses the k experts of largest gate among those of its member; members have equal shares of the experts, in order.",
  source: "Allingham et al. 2022, arXiv 2110.03360; google-research/vmoe, vmoe/nn/ensemble_routing.py",
  noise: 1,
  losses: { importance_loss: 1, load_loss: 1 },
  contract: {
    compares: "gates, the f32 softmax of the logits over the experts of the token's member; others' are 0",
    noise: "N(0, (noise_std / (E / M))^2) on the logits, for M members",
  },
  logits: (context) => spreadOut(ownLogits(context), context),
  metrics({ clean, logits, sigma }, context, options) {
    const { G, members: M } = context;
    const own = ofMembers(clean, context);
    const noisy = logits === clean ? own : ofMembers(logits, context);
    const losses = lossesOf({ clean: own, logits: noisy, sigma }, ops.softmax, options, context);
    return Object.fromEntries(
      Object.entries(losses).map(([name, loss]) => [name, ops.reshape(loss, { shape: [G, M] })]),
    );
  },
});

/** Each token's logits for its member's experts, [G, T / M, M, E / M]. */
function ownLogits({ x, G, T, D, experts: E, members: M, weight }: RoutingContext): Value {
  const rows = (G * T) / M;
  const kernel = weight("dense/kernel", [D, M, E / M], lecunNormal(D), "in any shape");
  const tokens = ops.transpose(ops.reshape(x, { shape: [rows, M, D] }), { perm: [1, 0, 2] });
  const logits = ops.matmul(tokens, ops.transpose(kernel, { perm: [1, 0, 2] }));
  return ops.reshape(ops.transpose(logits, { perm: [1, 0, 2] }), { shape: [G, T / M, M, E / M] });
}

/** So low that the softmax is 0 exactly, noise or not. */
const never = -1e30;

/** The logits for all experts, [G, T, E], from those for the member's own. */
function spreadOut(own: Value, { G, T, experts: E, members: M }: RoutingContext): Value {
  const shape = [G, T / M, M, M, E / M];
  const member = (axis: readonly number[]): Value =>
    ops.broadcast(ops.reshape(ops.iota({ size: M }), { shape: axis }), { shape });
  const isOwn = ops.compare(member([M, 1, 1]), member([1, M, 1]), { is: "eq" });
  const everywhere = ops.broadcast(ops.reshape(own, { shape: [G, T / M, M, 1, E / M] }), { shape });
  return ops.reshape(ops.select(isOwn, everywhere, filled(never, everywhere)), { shape: [G, T, E] });
}

/** Each member's tokens and experts as a group of their own, [G * M, T / M, E / M], from logits for all. */
function ofMembers(logits: Value, { G, T, experts: E, members: M }: RoutingContext): Value {
  const blocks = ops.reshape(logits, { shape: [G, T / M, M, M, E / M] });
  const [first, ...others] = Array.from({ length: M }, (_, m) =>
    ops.reshape(ops.slice(blocks, { start: [0, 0, m, m, 0], limit: [G, T / M, m + 1, m + 1, E / M] }), {
      shape: [G, 1, T / M, E / M],
    }),
  ) as [Value, ...Value[]];
  const all = others.reduce((a, b) => ops.concat(a, b, { axis: 1 }), first);
  return ops.reshape(all, { shape: [G * M, T / M, E / M] });
}
