/** The logits of routers: a linear layer on the tokens, and noise. */
import { ops, type Value } from "../../ir/index.ts";
import { lecunNormal } from "../init.ts";
import { scaled } from "../shorthand.ts";
import type { RoutingContext } from "./plan.ts";

/** x W, without a bias, as the original names it: f32[G, T, E]. */
export const linearLogits = ({ x, D, experts, weight }: RoutingContext): Value =>
  ops.gateLogits(x, weight("dense/kernel", [D, experts], lecunNormal(D)));

/** The logits with noise of standard deviation `sigma`; the logits themselves where routing is noise-free. */
export function withNoise(logits: Value, sigma: number, { noise }: RoutingContext): Value {
  return noise && sigma > 0 ? ops.add(logits, scaled(noise(logits.type.shape), sigma)) : logits;
}
