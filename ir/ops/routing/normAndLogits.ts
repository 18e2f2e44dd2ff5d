/** What stands before an MoE layer and what its router begins with, as one op, for backends that read each token once. */
import { defineOp, type Op } from "../../op.ts";
import { cast } from "../elementwise.ts";
import { layerNorm } from "../normalization.ts";
import { gateLogits } from "./gateLogits.ts";

const signature =
  "x: f32[G, T, D], scale: f32[D], bias: f32[D], kernel: f32[D, E]; epsilon: real, through: dtype -> items: through[G, T, D], logits: f32[G, T, E]";

export const normAndLogits: Op<typeof signature> = defineOp({
  name: "norm_and_logits",
  summary:
    "`items` are the tokens after `layer_norm`, rounded to the dtype `through`; `logits` are `gate_logits` of the normalised tokens, not rounded through `through`.",
  source: "Riquelme et al. 2021, arXiv 2106.05974, section 2.2; google-research/vmoe, Bfloat16Dispatcher",
  signature,
  where: {
    C1: ["epsilon > 0", ({ epsilon }) => epsilon > 0],
    C2: ["through is a float", ({ through }) => through === "f32" || through === "f16" || through === "bf16"],
  },
  sample: (_, pick) => ({ epsilon: 0.5, through: (["f32", "f16", "bf16"] as const)[pick(3)] ?? "f32" }),
  traits: ["inexact"],

  evaluate(operands, { G, T, D, E, epsilon }) {
    const [x, kernel] = [operands.x.numbers(), operands.kernel.numbers()];
    const [scale, bias] = [operands.scale.numbers(), operands.bias.numbers()];
    const items: number[] = [];
    const logits: number[] = [];
    for (let token = 0; token < G * T; token++) {
      const row = Array.from({ length: D }, (_, d) => x[token * D + d] as number);
      const mean = row.reduce((sum, v) => sum + v, 0) / D;
      const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / D;
      const factor = 1 / Math.sqrt(variance + epsilon);
      const normal = row.map((v, d) =>
        Math.fround((v - mean) * factor * (scale[d] as number) + (bias[d] as number)),
      );
      items.push(...normal);
      for (let e = 0; e < E; e++) {
        logits.push(normal.reduce((sum, v, d) => sum + v * (kernel[d * E + e] as number), 0));
      }
    }
    return { items, logits };
  },

  decompose({ x, scale, bias, kernel }, { epsilon, through }) {
    const normal = layerNorm(x, scale, bias, { epsilon });
    return { items: cast(normal, { to: through }), logits: gateLogits(normal, kernel) };
  },
});
