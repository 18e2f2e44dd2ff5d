/** Top-p routing: the more certain the router is of a token, the fewer experts the token has. */
import { z } from "zod";

import { ops } from "../../ir/index.ts";
import { filled } from "../shorthand.ts";
import { defineRouter, type Router } from "./router.ts";

export const threshold: Router = defineRouter({
  name: "ThresholdRouter",
  summary:
    "Each token chooses experts from the largest gate down until their gates sum to more than top_p, but no more than k.",
  source: "Huang et al. 2024, arXiv 2403.07652; ZhenweiAn/Dynamic_MoE, modeling/modeling_moe.py",
  options: { top_p: z.number().gt(0).max(1).default(0.4) },
  choices: 2,
  keeps({ compared: gates }, _, { top_p }) {
    const before = ops.subtract(ops.cumsum(gates), gates);
    return ops.compare(before, filled(top_p, before), { is: "le" });
  },
  contract: {
    compares:
      "gates, the f32 softmax of the logits over all experts; a choice counts if those before it sum to at most top_p",
  },
  sample: (_, pick) => ({ top_p: (1 + pick(16)) / 16 }),
});
