/** Plans whose combine weights sum to 1 for every token that is served. */
import { ops } from "../ir/index.ts";
import type { RoutingPlan } from "./routers/plan.ts";
import { filled } from "./shorthand.ts";

/** The smallest normal float32. */
const tiny = 2 ** -126;

/**
 * `plan` with each token's weights scaled to sum to 1 over the choices that have a slot; weights must be at least 0. A
 * token without a slot, or whose weights are all 0, keeps zeros. Experts that are all one MLP are then that MLP, whatever
 * the router. Source: Komatsuzaki et al. 2022,
 * arXiv 2212.05055.
 */
export function renormalised(plan: RoutingPlan): RoutingPlan {
  const { slots, weights } = plan;
  const served = ops.compare(slots, filled(0, slots), { is: "ge" });
  const own = ops.select(served, weights, filled(0, weights));
  const total = ops.reduceSum(own);
  const divisor = ops.broadcast(ops.maximum(total, filled(tiny, total)), { shape: own.type.shape });
  return { ...plan, weights: ops.divide(own, divisor) };
}
