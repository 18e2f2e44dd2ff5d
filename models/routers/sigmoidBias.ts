/** DeepSeek-V3's gates: each expert's sigmoid, and a bias that steers the choice alone, so that no loss need do so. */
import { defineRouter, type Router } from "./router.ts";

export const sigmoidBias: Router = defineRouter({
  name: "SigmoidBiasRouter",
  summary:
    "Each token chooses the k experts of largest sum of gate and bias, where gates are sigmoids; weights are the gates, without the bias, scaled to sum to 1.",
  source:
    "DeepSeek-AI 2024, arXiv 2412.19437, section 2.1.2, eq. 12 to 16; Wang et al. 2024, arXiv 2408.15664",
  choices: 2,
  gates: "sigmoid",
  bias: true,
  weights: "renormalised gates",
});
