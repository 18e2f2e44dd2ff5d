/** Rules that join the norm before an MoE layer with its router's product, whatever the router makes of the logits. */
import { ops } from "../ir/index.ts";
import { type Rule, rule } from "./rewrite.ts";

const { gateLogits, layerNorm, normAndLogits, reshape, seatedMlp, seatedMlpWithin } = ops;

const normal = "scale: f32[D], bias: f32[D], kernel: f32[D, E]";

const logits: readonly Rule[] = [
  // layer_norm(x) W = norm_and_logits(x, W)
  rule({
    name: "logits-of-norm",
    given: `x: f32[G, T, D], ${normal}; epsilon: real`,
    from({ x, scale, bias, kernel, epsilon }) {
      const items = layerNorm(x, scale, bias, { epsilon });
      return [gateLogits(items, kernel), items];
    },
    to({ x, scale, bias, kernel, epsilon }) {
      const made = normAndLogits(x, scale, bias, kernel, { epsilon, through: "f32" });
      return [made.logits, made.items];
    },
  }),

  // reshape(layer_norm(x)) W = norm_and_logits(reshape(x), W)
  rule({
    name: "logits-of-grouped-norm",
    given: `x: f32[..., D], ${normal}; epsilon: real, shape: ints`,
    from({ x, scale, bias, kernel, epsilon, shape }) {
      const items = reshape(layerNorm(x, scale, bias, { epsilon }), { shape });
      return [gateLogits(items, kernel), items];
    },
    to({ x, scale, bias, kernel, epsilon, shape }) {
      const attrs = { epsilon, through: "f32" } as const;
      const made = normAndLogits(reshape(x, { shape }), scale, bias, kernel, attrs);
      return [made.logits, made.items];
    },
  }),
];

const experts = "w1: f32[E, D, F], b1: f32[E, F], w2: f32[E, F, D], b2: f32[E, D]";
const rounding = 'approximate: "tanh" | "none", through: dtype';
const tokens = `x: f32[G, T, D], ${normal}`;
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
