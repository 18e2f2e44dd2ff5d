/** Expert choice: each expert takes the tokens of largest gate. */
import { ops, type Value } from "../../ir/index.ts";
import { filled, largest, rowSum, scaled, smallest } from "../shorthand.ts";
import { linearLogits, withNoise } from "./logits.ts";
import { defineRouter, type Router } from "./router.ts";

export const expertChoice: Router = defineRouter({
  name: "NoisyTopItemsPerExpertRouter",
  summary:
    "Each expert takes the tokens of largest gate, a full buffer; a token may be taken by many or none.",
  source: "Zhou et al. 2022, arXiv 2202.09368; google-research/vmoe, vmoe/nn/routing.py and vmoe/moe.py",
  noise: 1,
  contract: {
    compares: "gates, the f32 softmax of each token's logits over all experts, among the tokens of a group",
    ties: "earlier token first",
    weights: "gates",
    order: "largest gate; an expert takes as many tokens as it has slots, at most all of a group",
  },
  plan(context, { noise_std }) {
    const { T, experts } = context;
    const gates = ops.softmax(withNoise(linearLogits(context), noise_std / experts, context));
    // The original refuses capacities beyond the group: no expert can take more tokens than there are.
    const plan = ops.routeTopTokens(gates, { capacity: Math.min(context.capacity(1), T) });
    return { ...plan, metrics: new Map(Object.entries(metricsOf(plan, experts))) };
  },
});

/** How evenly tokens are served, f32[G] each, by the original's names. */
function metricsOf(
  { slots, weights }: { readonly slots: Value; readonly weights: Value },
  experts: number,
): Readonly<Record<string, Value>> {
  const [, T = 1] = slots.type.shape;
  const taken = ops.compare(slots, filled(0, slots), { is: "ge" });
  const takers = rowSum(ops.cast(taken, { to: "f32" }));
  const servedBy = (least: number): Value =>
    scaled(rowSum(ops.cast(ops.compare(takers, filled(least, takers), { is: "ge" }), { to: "f32" })), 1 / T);
  const powers = Array.from({ length: Math.floor(Math.log2(experts)) + 1 }, (_, i) => 2 ** i);
  return {
    num_experts_per_item_min: smallest(takers),
    num_experts_per_item_max: largest(takers),
    // Gates are at most 1: those that were not taken are no smaller than any that was.
    min_selected_gate: smallest(ops.select(taken, weights, filled(1, weights))),
    max_selected_gate: largest(weights),
    ...Object.fromEntries(
      [...powers, experts].map((least) => [
        `ratio_processed_items_by_at_least_${least}_experts`,
        servedBy(least),
      ]),
    ),
  };
}
