/** Rules that join the norm before an MoE layer with its router's product, whatever the router makes of the logits. */
import { ops } from "../ir/index.ts";
import { experts, gating, groupings, rounding } from "./fuseRouting.ts";
import { type Rule, rule } from "./rewrite.ts";

const { gateLogits, layerNorm, normAndLogits, seatedMlp, seatedMlpWithin } = ops;

const logits: readonly Rule[] = groupings.map(({ name, attrs, grouped }) =>
  // n W = norm_and_logits(x, W), n = layer_norm(x)
  rule({
    name: `logits-of-${name}norm`,
    given: `x: f32[..., D], ${gating}; epsilon: real${attrs as ", shape: ints"}`,
    from({ x, scale, bias, kernel, epsilon, shape }) {
      const items = grouped(layerNorm(x, scale, bias, { epsilon }), shape);
      return [gateLogits(items, kernel), items];
    },
    to({ x, scale, bias, kernel, epsilon, shape }) {
      const items = grouped(x, shape);
      const made = normAndLogits(items, scale, bias, kernel, { epsilon, through: "f32" });
      return [made.logits, made.items];
    },
  }),
);

const tokens = `x: f32[G, T, D], ${gating}`;
const chosen = "choices: i32<E>[G, T, k], weights: f32[G, T, k], urgency: f32[G, T, u]";

/** Whether a rounding says something. */
const isNarrow = ({ through }: { readonly through: string }): boolean => through !== "f32";

// layer(norm_and_logits(x)) = layer(norm_and_logits(x), rounded), of a layer that rounds its items
const items: readonly Rule[] = [
  rule({
    name: "items-of-seated-mlp",
    given: `${tokens}, ${chosen}, ${experts}; epsilon: real, capacity, priority: "token" | "gate", ${rounding}`,
    from({ x, scale, bias, kernel, choices, weights, urgency, w1, b1, w2, b2, epsilon, ...rest }) {
      const made = normAndLogits(x, scale, bias, kernel, { epsilon, through: "f32" });
      const layer = seatedMlp(made.items, choices, weights, urgency, w1, b1, w2, b2, rest);
      return [layer.y, layer.tokens, layer.slots, made.logits];
    },
    to({ x, scale, bias, kernel, choices, weights, urgency, w1, b1, w2, b2, epsilon, ...rest }) {
      const { capacity, priority, approximate, through } = rest;
      const made = normAndLogits(x, scale, bias, kernel, { epsilon, through });
      const attrs = { capacity, priority, approximate, through };
      const layer = seatedMlp(made.items, choices, weights, urgency, w1, b1, w2, b2, attrs);
      return [layer.y, layer.tokens, layer.slots, made.logits];
    },
    when: isNarrow,
  }),
  rule({
    name: "items-of-seated-mlp-within",
    given: `${tokens}, ${chosen}, limits: i32[3], ${experts}; epsilon: real, capacity, ${rounding}`,
    from({ x, scale, bias, kernel, choices, weights, urgency, limits, w1, b1, w2, b2, epsilon, ...rest }) {
      const made = normAndLogits(x, scale, bias, kernel, { epsilon, through: "f32" });
      const layer = seatedMlpWithin(made.items, choices, weights, urgency, limits, w1, b1, w2, b2, rest);
      return [layer.y, layer.tokens, layer.slots, made.logits];
    },
    to({ x, scale, bias, kernel, choices, weights, urgency, limits, w1, b1, w2, b2, epsilon, ...rest }) {
      const { capacity, approximate, through } = rest;
      const made = normAndLogits(x, scale, bias, kernel, { epsilon, through });
      const attrs = { capacity, approximate, through };
      const layer = seatedMlpWithin(made.items, choices, weights, urgency, limits, w1, b1, w2, b2, attrs);
      return [layer.y, layer.tokens, layer.slots, made.logits];
    },
    when: isNarrow,
  }),
];

export const fuseLogits: readonly Rule[] = [...logits, ...items];
