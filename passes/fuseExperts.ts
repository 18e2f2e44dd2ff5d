/** Rules that join dispatch, experts and combine, so that a backend may compute occupied slots alone. */
import { ops, type Value } from "../ir/index.ts";
import { type Rule, rule } from "./rewrite.ts";

const { cast, combine, dispatch, expertMlp, routedMlp } = ops;

const given =
  'x: f32[G, N, D], tokens: i32<N>[G, E, capacity], slots: i32<in tokens>[G, T, k], weights: f32[G, T, k], w1: f32[E, D, F], b1: f32[E, F], w2: f32[E, F, D], b2: f32[E, D]; approximate: "tanh" | "none"';

/** Whether `tokens` and `slots` are of one routing plan, so that no choice points to an empty slot. */
const samePlan = ({ tokens, slots }: { readonly tokens: Value; readonly slots: Value }): boolean =>
  tokens.node === slots.node && (tokens.node?.op.has("plan") ?? false);

export const fuseExperts: readonly Rule[] = [
  // combine(mlp(dispatch(x))) = routed_mlp(x)
  rule({
    name: "experts-of-dispatch",
    given,
    from: ({ x, tokens, slots, weights, w1, b1, w2, b2, approximate }) => [
      combine(expertMlp(dispatch(x, tokens), w1, b1, w2, b2, { approximate }), slots, weights),
    ],
    to: ({ x, tokens, slots, weights, w1, b1, w2, b2, approximate }) => [
      routedMlp(x, tokens, slots, weights, w1, b1, w2, b2, { approximate, through: "f32" }),
    ],
    when: samePlan,
  }),

  // combine(cast(mlp(cast(dispatch(cast(x))))) = routed_mlp(x), through the dtype of the outer casts
  rule({
    name: "experts-of-rounded-dispatch",
    given: `${given}, through: dtype`,
    from({ x, tokens, slots, weights, w1, b1, w2, b2, approximate, through }) {
      const buffers = cast(dispatch(cast(x, { to: through }), tokens), { to: "f32" });
      const outputs = cast(expertMlp(buffers, w1, b1, w2, b2, { approximate }), { to: through });
      return [combine(outputs, slots, weights)];
    },
    to: ({ x, tokens, slots, weights, w1, b1, w2, b2, approximate, through }) => [
      routedMlp(x, tokens, slots, weights, w1, b1, w2, b2, { approximate, through }),
    ],
    when: samePlan,
  }),
];
