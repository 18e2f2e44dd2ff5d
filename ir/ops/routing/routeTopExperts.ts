/** V-MoE's router: every token chooses its k experts. */
import { defineOp, type Op, type Value } from "../../op.ts";
import { iota, slice } from "../movement.ts";
import { softmax } from "../normalization.ts";
import { descending, rows, softmaxOf } from "../numeric.ts";
import { topK } from "../reduction.ts";
import { shaped, spread } from "../shorthand.ts";
import { assignSlots } from "./assignSlots.ts";
import { fillBuffers } from "./buffers.ts";

const signature =
  'logits: f32[G, T, E]; k, capacity, priority: "token" | "gate" -> tokens: i32[G, E, capacity], slots: i32[G, T, k], weights: f32[G, T, k]';

export const routeTopExperts: Op<typeof signature> = defineOp({
  name: "route_top_experts",
  summary:
    "Each token chooses the k experts of largest gate, where the gates are the softmax of its logits over all experts, compared as f32 after the softmax; of equal gates the lower expert comes first. The weights are the chosen gates, not renormalised, dropped or not. Buffers fill by `assign_slots`, tokens in order of position (`token`) or of largest gate, earlier first among equals (`gate`: batch prioritized routing).",
  source: "Riquelme et al. 2021, arXiv 2106.05974, section 2.2, and algorithms 1 and 2",
  signature,
  where: {
    C1: ["1 <= k <= E", ({ k, E }) => 1 <= k && k <= E],
    C2: ["capacity >= 1", ({ capacity }) => capacity >= 1],
  },
  traits: ["plan", "gates", "discontinuous"],

  evaluate({ logits }, { G, T, E, k, capacity, priority }) {
    const chosen = rows(logits, E).map((row) => {
      const gates = softmaxOf(row).map(Math.fround);
      return descending(gates)
        .slice(0, k)
        .map((e) => ({ e, gate: gates[e] as number }));
    });
    const order = Array.from({ length: G }, (_, g) => {
      const largest = chosen.slice(g * T, (g + 1) * T).map(([first]) => first?.gate ?? 0);
      return priority === "gate" ? descending(largest) : [...largest.keys()];
    });
    const choices = chosen.flatMap((token) => token.map(({ e }) => e));
    const weights = chosen.flatMap((token) => token.map(({ gate }) => gate));
    return { ...fillBuffers(choices, order.flat(), { G, T, k, experts: E, capacity }), weights };
  },

  decompose({ logits }, { G, T, E, k, capacity, priority }) {
    const { values, indices } = topK(softmax(logits), { k });
    const largest = (): Value => shaped(slice(values, { start: [0, 0, 0], limit: [G, T, 1] }), [G, T]);
    const order = priority === "gate" ? topK(largest(), { k: T }).indices : spread(iota({ size: T }), [G, T]);
    return { ...assignSlots(indices, order, { experts: E, capacity }), weights: values };
  },
});
