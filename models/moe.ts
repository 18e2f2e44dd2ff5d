/** The sparse MLP of a V-MoE block: route, dispatch, experts, combine; and experts that all tokens share. */
import { type DType, ops, scoped, type Shape, type Value } from "../ir/index.ts";
import type { MoeConfig } from "./config.ts";
import { gaussian, type Init, xavierUniform } from "./init.ts";
import { mlp } from "./layers.ts";
import type { Parameters } from "./parameters.ts";
import type { RoutingPlan } from "./routers/plan.ts";
import type { BoundRouter } from "./routers/router.ts";

/** What a sparse block needs beyond its input. */
export interface MoeContext {
  readonly config: MoeConfig;
  readonly router: BoundRouter;
  /** Hidden width of an expert. */
  readonly hidden: number;
  /** Tokens that are routed together; divides the number of tokens. */
  readonly groupSize: number;
  readonly parameters: Parameters;
  /** Makes an input of the program for a block's noise; undefined when routing is noise-free. */
  readonly noise: ((shape: Shape) => Value) | undefined;
}

/**
 * The experts' MLP on `x` [B, T, D], with the plan that routed it. Shared experts add to the routed ones' output,
 * as in Dai et al. 2024, arXiv 2401.06066, section 3.2.
 */
export function moeMlp(x: Value, context: MoeContext): { readonly y: Value; readonly plan: RoutingPlan } {
  const { config, router, hidden, groupSize, parameters, noise } = context;
  const { num_experts: E, split_rngs, num_shared_experts: common } = config;
  const D = x.type.shape.at(-1) ?? 1;
  const G = ((x.type.shape[0] ?? 1) * (x.type.shape[1] ?? 1)) / groupSize;
  const groups = ops.reshape(x, { shape: [G, groupSize, D] });

  const plan = scoped("Router", () => router.route({ x: groups, experts: E, parameters, noise }));
  const shared = typeof split_rngs === "boolean" ? !split_rngs : !split_rngs.includes("params");
  const expert = (layer: string, name: string, shape: Shape, init: Init): Value =>
    scoped(layer, () => parameters.weight(name, [E, ...shape], { ...init, shared }));
  const outputs = scoped("Mlp", () => {
    const buffers = through(plan.arrives, plan.items, (items) => ops.dispatch(items, plan.tokens));
    return ops.expertMlp(
      buffers,
      expert("Dense_0", "kernel", [D, hidden], xavierUniform(D, hidden)),
      expert("Dense_0", "bias", [hidden], gaussian(1e-6)),
      expert("Dense_1", "kernel", [hidden, D], xavierUniform(hidden, D)),
      expert("Dense_1", "bias", [D], gaussian(1e-6)),
      { approximate: "tanh" },
    );
  });
  const rounded = plan.returns === "f32" ? outputs : ops.cast(outputs, { to: plan.returns });
  const y = ops.reshape(ops.combine(rounded, plan.slots, plan.weights), { shape: x.type.shape });
  if (common === 0) return { y, plan };
  const everyone = scoped("Shared", () => mlp(x, common * hidden, parameters));
  return { y: ops.add(y, everyone), plan };
}

/** `move` applied to `x` rounded to `dtype`, back in f32. */
function through(dtype: DType, x: Value, move: (x: Value) => Value): Value {
  if (dtype === "f32") return move(x);
  return ops.cast(move(ops.cast(x, { to: dtype })), { to: "f32" });
}
