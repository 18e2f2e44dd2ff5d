/** What stands before a V-MoE layer and what begins it, as one op, for backends that read each token once. */
import { defineOp, type Op } from "../../op.ts";
import { cast } from "../elementwise.ts";
import { layerNorm, softmax } from "../normalization.ts";
import { descending, softmaxOf } from "../numeric.ts";
import { topK } from "../reduction.ts";
import { gateLogits } from "./gateLogits.ts";

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

  evaluate(operands, { G, T, D, E, epsilon, k }) {
    const [x, kernel] = [operands.x.numbers(), operands.kernel.numbers()];
    const [scale, bias] = [operands.scale.numbers(), operands.bias.numbers()];
    const items: number[] = [];
    const choices: number[] = [];
    const weights: number[] = [];
    for (let token = 0; token < G * T; token++) {
      const row = Array.from({ length: D }, (_, d) => x[token * D + d] as number);
      const mean = row.reduce((sum, v) => sum + v, 0) / D;
      const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / D;
      const factor = 1 / Math.sqrt(variance + epsilon);
      const normal = row.map((v, d) =>
        Math.fround((v - mean) * factor * (scale[d] as number) + (bias[d] as number)),
      );
      const logits = Array.from({ length: E }, (_, e) =>
        Math.fround(normal.reduce((sum, v, d) => sum + v * (kernel[d * E + e] as number), 0)),
      );
      const gates = softmaxOf(Float64Array.from(logits)).map(Math.fround);
      const chosen = descending(gates).slice(0, k);
      items.push(...normal);
      choices.push(...chosen);
      weights.push(...chosen.map((e) => gates[e] as number));
    }
    return { items, choices, weights };
  },

  decompose({ x, scale, bias, kernel }, { epsilon, k, through }) {
    const normal = layerNorm(x, scale, bias, { epsilon });
    const { values, indices } = topK(softmax(gateLogits(normal, kernel)), { k });
    return { items: cast(normal, { to: through }), choices: indices, weights: values };
  },
});
