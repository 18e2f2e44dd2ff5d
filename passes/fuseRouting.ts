/**
 * Rules that join routing with what stands around it, for V-MoE's router: seating with the experts, and the choice with
 * the norm before it.
 */
import { ops, type Value } from "../ir/index.ts";
import { type Rule, rule } from "./rewrite.ts";

const { assignSlots, assignSlotsWithin, broadcast, gateLogits, iota, layerNorm, normAndGate } = ops;
const { reshape, routedMlp, routeTopExperts, seatedMlp, seatedMlpWithin, softmax, topK } = ops;

/** The weights of experts. */
export const experts = "w1: f32[E, D, F], b1: f32[E, F], w2: f32[E, F, D], b2: f32[E, D]";
/** What experts compute by, and the dtype through which they are reached. */
export const rounding = 'approximate: "tanh" | "none", through: dtype';
const seating = `; k, capacity, priority: "token" | "gate", ${rounding}`;

/** The k largest gates of each token, and whose they are. */
const chosen = (logits: Value, k: number): { readonly values: Value; readonly indices: Value } =>
  topK(softmax(logits), { k });

/** Seating and experts. */
const seat: readonly Rule[] = [
  // routed_mlp(x, route_top_experts(logits)) = seated_mlp(x, top_k(softmax(logits)))
  rule({
    name: "experts-of-top-gates",
    given: `x: f32[G, T, D], logits: f32[G, T, E], ${experts}${seating}`,
    from({ x, logits, w1, b1, w2, b2, k, capacity, priority, approximate, through }) {
      const { tokens, slots, weights } = routeTopExperts(logits, { k, capacity, priority });
      const y = routedMlp(x, tokens, slots, weights, w1, b1, w2, b2, { approximate, through });
      return [y, tokens, slots, weights];
    },
    to({ x, logits, w1, b1, w2, b2, k, capacity, priority, approximate, through }) {
      const { values, indices } = chosen(logits, k);
      const attrs = { capacity, priority, approximate, through };
      const { y, tokens, slots } = seatedMlp(x, indices, values, values, w1, b1, w2, b2, attrs);
      return [y, tokens, slots, values];
    },
  }),

  // routed_mlp(x, assign_slots(choices, 0 .. T - 1), weights) = seated_mlp(x, choices, weights)
  rule({
    name: "experts-by-position",
    given: `x: f32[G, T, D], choices: i32<E>[G, T, k], weights: f32[G, T, k], ${experts}; size, shape: ints, experts, capacity, ${rounding}`,
    from(free) {
      const { x, choices, weights, w1, b1, w2, b2, size, shape, experts: E, capacity, ...mlp } = free;
      const order = broadcast(iota({ size }), { shape });
      const { tokens, slots } = assignSlots(choices, order, { experts: E, capacity });
      return [routedMlp(x, tokens, slots, weights, w1, b1, w2, b2, mlp), tokens, slots];
    },
    to({ x, choices, weights, w1, b1, w2, b2, capacity, approximate, through }) {
      const attrs = { capacity, priority: "token", approximate, through } as const;
      const { y, tokens, slots } = seatedMlp(x, choices, weights, weights, w1, b1, w2, b2, attrs);
      return [y, tokens, slots];
    },
    when: ({ x, size }) => size === x.type.shape[1],
  }),

  // routed_mlp(x, assign_slots(choices, order), weights) = seated_mlp(x, choices, weights, urgency), by falling urgency
  rule({
    name: "experts-by-urgency",
    given: `x: f32[G, T, D], choices: i32<E>[G, T, k], weights: f32[G, T, k], urgency: f32[G, T], ${experts}; all, experts, capacity, ${rounding}`,
    from(free) {
      const { x, choices, weights, urgency, w1, b1, w2, b2, all, experts: E, capacity, ...mlp } = free;
      const { indices } = topK(urgency, { k: all });
      const { tokens, slots } = assignSlots(choices, indices, { experts: E, capacity });
      return [routedMlp(x, tokens, slots, weights, w1, b1, w2, b2, mlp), tokens, slots];
    },
    to({ x, choices, weights, urgency, w1, b1, w2, b2, capacity, approximate, through }) {
      const each = reshape(urgency, { shape: [...urgency.type.shape, 1] });
      const attrs = { capacity, priority: "gate", approximate, through } as const;
      const { y, tokens, slots } = seatedMlp(x, choices, weights, each, w1, b1, w2, b2, attrs);
      return [y, tokens, slots];
    },
  }),

  // routed_mlp(x, assign_slots_within(choices, urgency, limits), weights) = seated_mlp_within(x, choices, weights, urgency, limits)
  rule({
    name: "experts-within-limits",
    given: `x: f32[G, T, D], choices: i32<E>[G, T, k], weights: f32[G, T, k], urgency: f32[G, T, u], limits: i32[3], ${experts}; experts, capacity, ${rounding}`,
    from(free) {
      const {
        x,
        choices,
        weights,
        urgency,
        limits,
        w1,
        b1,
        w2,
        b2,
        experts: E,
        capacity,
        approximate,
        through,
      } = free;
      const { tokens, slots } = assignSlotsWithin(choices, urgency, limits, { experts: E, capacity });
      const y = routedMlp(x, tokens, slots, weights, w1, b1, w2, b2, { approximate, through });
      return [y, tokens, slots];
    },
    to({ x, choices, weights, urgency, limits, w1, b1, w2, b2, capacity, approximate, through }) {
      const attrs = { capacity, approximate, through };
      const { y, tokens, slots } = seatedMlpWithin(
        x,
        choices,
        weights,
        urgency,
        limits,
        w1,
        b1,
        w2,
        b2,
        attrs,
      );
      return [y, tokens, slots];
    },
  }),
];

/** What the norm and the product have besides tokens. */
export const gating = "scale: f32[D], bias: f32[D], kernel: f32[D, E]";
const normal = `x: f32[..., D], ${gating}` as const;

/** How tokens are grouped between the norm and the layer: not at all, or under another shape. */
export const groupings = [
  { name: "", attrs: "", grouped: (x: Value): Value => x },
  {
    name: "grouped-",
    attrs: ", shape: ints",
    grouped: (x: Value, shape: readonly number[]): Value => reshape(x, { shape }),
  },
] as const;

/** The norm before the layer, and its router's product. */
const gate: readonly Rule[] = groupings.flatMap(({ name, attrs, grouped }) => [
  // seated_mlp(n, top_k(softmax(n W))) = seated_mlp(norm_and_gate(x, W)), n = layer_norm(x)
  rule({
    name: `gate-of-${name}norm`,
    given: `${normal}, ${experts}; epsilon: real, k, capacity, priority: "token" | "gate", ${rounding}${attrs as ", shape: ints"}`,
    from(free) {
      const { x, scale, bias, kernel, w1, b1, w2, b2, epsilon, k, shape, ...rest } = free;
      const { capacity, priority, approximate, through } = rest;
      const items = grouped(layerNorm(x, scale, bias, { epsilon }), shape);
      const { values, indices } = chosen(gateLogits(items, kernel), k);
      const parts = { capacity, priority, approximate, through };
      const { y, tokens, slots } = seatedMlp(items, indices, values, values, w1, b1, w2, b2, parts);
      return [y, tokens, slots, values];
    },
    to(free) {
      const { x, scale, bias, kernel, w1, b1, w2, b2, epsilon, k, shape, ...rest } = free;
      const { capacity, priority, approximate, through } = rest;
      const from = grouped(x, shape);
      const { items, choices, weights } = normAndGate(from, scale, bias, kernel, { epsilon, k, through });
      const parts = { capacity, priority, approximate, through };
      const { y, tokens, slots } = seatedMlp(items, choices, weights, weights, w1, b1, w2, b2, parts);
      return [y, tokens, slots, weights];
    },
  }),

  // seated_mlp_within(n, top_k(softmax(n W)), limits) = seated_mlp_within(norm_and_gate(x, W), limits), n = layer_norm(x)
  rule({
    name: `gate-of-${name}norm-within-limits`,
    given: `${normal}, limits: i32[3], ${experts}; epsilon: real, k, capacity, ${rounding}${attrs as ", shape: ints"}`,
    from(free) {
      const { x, scale, bias, kernel, limits, w1, b1, w2, b2, epsilon, k, shape, ...parts } = free;
      const { capacity, approximate, through } = parts;
      const items = grouped(layerNorm(x, scale, bias, { epsilon }), shape);
      const { values, indices } = chosen(gateLogits(items, kernel), k);
      const { y, tokens, slots } = seatedMlpWithin(items, indices, values, values, limits, w1, b1, w2, b2, {
        capacity,
        approximate,
        through,
      });
      return [y, tokens, slots, values];
    },
    to(free) {
      const { x, scale, bias, kernel, limits, w1, b1, w2, b2, epsilon, k, shape, ...parts } = free;
      const { capacity, approximate, through } = parts;
      const from = grouped(x, shape);
      const { items, choices, weights } = normAndGate(from, scale, bias, kernel, { epsilon, k, through });
      const { y, tokens, slots } = seatedMlpWithin(items, choices, weights, weights, limits, w1, b1, w2, b2, {
        capacity,
        approximate,
        through,
      });
      return [y, tokens, slots, weights];
    },
  }),
]);

export const fuseRouting: readonly Rule[] = [...seat, ...gate];
