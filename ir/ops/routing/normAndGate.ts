/** What stands before a V-MoE layer and what begins it, as one op, for backends that read each token once. */
import { defineOp, type Op } from "../../op.ts";
import type { Tensor } from "../../tensor.ts";
import { softmax } from "../normalization.ts";
import { descending, rows, softmaxOf } from "../numeric.ts";
import { topK } from "../reduction.ts";
import { normAndLogits } from "./normAndLogits.ts";

const signature =
  "x: f32[G, T, D], scale: f32[D], bias: f32[D], kernel: f32[D, E]; epsilon: real, k, through: dtype -> items: through[G, T, D], choices: i32[G, T, k], weights: f32[G, T, k]";

export const normAndGate: Op<typeof signature> = defineOp({
  name: "norm_and_gate",
  summary:
    "`items` are the tokens after `layer_norm`, rounded to the dtype `through`. Each token's `choices` are the k experts of largest gate, the softmax over all experts of `gate_logits` of the normalised token, not rounded through `through`; gates are compared as f32 after the softmax, of equal ones the lower expert comes first. `weights` are the chosen gates, largest first, not renormalised.",
  source: "Riquelme et al. 2021, arXiv 2106.05974, section 2.2; google-research/vmoe, Bfloat16Dispatcher",
  signature,
  where: {
    C1: ["1 <= k <= E", ({ k, E }) => 1 <= k && k <= E],
    C2: ["epsilon > 0", ({ epsilon }) => epsilon > 0],
    C3: ["through is a float", ({ through }) => through === "f32" || through === "f16" || through === "bf16"],
  },
  sample: ({ E }, pick) => ({
    epsilon: 0.5,
    k: 1 + pick(E),
    through: (["f32", "f16", "bf16"] as const)[pick(3)] ?? "f32",
  }),
  traits: ["discontinuous", "inexact"],

  evaluate({ x, scale, bias, kernel }, sizes) {
    const [items, logits] = normAndLogits.evaluate([x, scale, bias, kernel], sizes) as [Tensor, Tensor];
    const gates = rows(logits, sizes.E).map((row) => softmaxOf(row).map(Math.fround));
    const chosen = gates.map((row) => descending(row).slice(0, sizes.k));
    return {
      items: items.numbers(),
      choices: chosen.flat(),
      weights: chosen.flatMap((experts, t) => experts.map((e) => gates[t]?.[e] as number)),
    };
  },

  decompose({ x, scale, bias, kernel }, { epsilon, k, through }) {
    const { items, logits } = normAndLogits(x, scale, bias, kernel, { epsilon, through });
    const { values, indices } = topK(softmax(logits), { k });
    return { items, choices: indices, weights: values };
  },
});
