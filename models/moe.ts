/** The sparse MLP of a V-MoE block: route, dispatch, experts, combine; and experts that all tokens share. */
import { type DType, ops, scoped, type Shape, type Value } from "../ir/index.ts";
import type { MoeConfig } from "./config.ts";
import { gaussian, type Init, xavierUniform } from "./init.ts";
import { type Hidden, mlp } from "./layers.ts";
import type { Parameters } from "./parameters.ts";
import { renormalised } from "./renormalise.ts";
import type { RoutingPlan } from "./routers/plan.ts";
import type { BoundRouter } from "./routers/router.ts";

/** What a sparse block needs beyond its input. */
export interface MoeContext {
  readonly config: MoeConfig;
  readonly router: BoundRouter;
  /** Of an expert. */
  readonly hidden: Hidden;
  /** Tokens that are routed together; divides the number of tokens. */
  readonly groupSize: number;
  /** Slots of an expert and group; undefined where the router's options say. */
  readonly capacity: number | undefined;
  readonly parameters: Parameters;
  /** Makes an input of the program for a block's noise; undefined when routing is noise-free. */
  readonly noise: ((shape: Shape) => Value) | undefined;
  /** What the routing keeps to in this run, see `RoutingContext`; undefined when it is as configured. */
  readonly limits: Value | undefined;
}

/**
 * The experts' MLP on `x` [B, T, D], with the plan that routed it. Shared experts add to the routed ones' output,
 * as in Dai et al. 2024, arXiv 2401.06066, section 3.2. Of an ensemble, B is images times members, member by member; a
 * group has the copies of each token side by side.
 */
export function moeMlp(x: Value, context: MoeContext): { readonly y: Value; readonly plan: RoutingPlan } {
  const { config, router, hidden, groupSize, capacity, parameters, noise, limits } = context;
  const { num_experts: E, split_rngs, num_shared_experts: common } = config;
  const { width, gelu } = hidden;
  const members = config.ensemble_size ?? 1;
  const [rows = 1, T = 1, D = 1] = x.type.shape;
  const G = (rows * T) / groupSize;
  const B = rows / members;
  const groups = ops.reshape(exchanged(x, [B, members, T, D]), { shape: [G, groupSize, D] });

  const routed = scoped("Router", () =>
    router.route({ x: groups, experts: E, members, capacity, parameters, noise, limits }),
  );
  const plan = config.renormalise ? renormalised(routed) : routed;
  const shared = typeof split_rngs === "boolean" ? !split_rngs : !split_rngs.includes("params");
  const expert = (layer: string, name: string, shape: Shape, init: Init): Value =>
    scoped(layer, () => parameters.weight(name, [E, ...shape], { ...init, shared }));
  const outputs = scoped("Mlp", () => {
    const buffers = through(plan.arrives, plan.items, (items) => ops.dispatch(items, plan.tokens));
    return ops.expertMlp(
      buffers,
      expert("Dense_0", "kernel", [D, width], xavierUniform(D, width)),
      expert("Dense_0", "bias", [width], gaussian(1e-6)),
      expert("Dense_1", "kernel", [width, D], xavierUniform(width, D)),
      expert("Dense_1", "bias", [D], gaussian(1e-6)),
      { approximate: gelu },
    );
  });
  const rounded = plan.returns === "f32" ? outputs : ops.cast(outputs, { to: plan.returns });
  const combined = ops.combine(rounded, plan.slots, plan.weights);
  const y = ops.reshape(exchanged(combined, [B, T, members, D]), { shape: x.type.shape });
  if (common === 0) return { y, plan };
  const everyone = scoped("Shared", () => mlp(x, { width: common * width, gelu }, parameters));
  return { y: ops.add(y, everyone), plan };
}

/** The elements of `x` as of `shape`, with the two axes in the middle exchanged. */
function exchanged(x: Value, shape: readonly [number, number, number, number]): Value {
  if (shape[1] === 1 || shape[2] === 1) return x;
  return ops.transpose(ops.reshape(x, { shape }), { perm: [0, 2, 1, 3] });
}

/** `move` applied to `x` rounded to `dtype`, back in f32. */
function through(dtype: DType, x: Value, move: (x: Value) => Value): Value {
  if (dtype === "f32") return move(x);
  return ops.cast(move(ops.cast(x, { to: dtype })), { to: "f32" });
}
