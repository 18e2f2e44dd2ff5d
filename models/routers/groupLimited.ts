/** DeepSeek-V3's router: the choice of `sigmoidBias` among the experts of each token's best groups of experts. */
import { z } from "zod";

import { ops } from "../../ir/index.ts";
import { filled, scaled } from "../shorthand.ts";
import { contradiction, defineRouter, type Router } from "./router.ts";

const count = z.int().min(1).default(1);

export const groupLimited: Router = defineRouter({
  name: "GroupLimitedRouter",
  summary:
    "Each token chooses as with sigmoid gates and a bias, but among topk_group of n_group groups of neighbouring experts alone: those whose two largest sums of gate and bias add up to the most.",
  source:
    "DeepSeek-AI 2024, arXiv 2412.19437, section 2.1.2; deepseek-ai/DeepSeek-V3, inference/model.py, Gate",
  options: { n_group: count, topk_group: count, routed_scaling_factor: z.number().positive().default(1) },
  choices: 2,
  gates: "sigmoid",
  bias: true,
  eligible(compared, { G, T, experts: E }, { n_group: n, topk_group }) {
    const grouped = ops.reshape(compared, { shape: [G, T, n, E / n] });
    const best = ops.topK(grouped, { k: Math.min(2, E / n) }).values;
    const order = ops.topK(ops.reshape(ops.reduceSum(best), { shape: [G, T, n] }), { k: n }).indices;
    // The place of each group in the order is the order's inverse: what sorting it moves.
    const place = ops.topK(scaled(ops.cast(order, { to: "f32" }), -1), { k: n }).indices;
    const open = ops.compare(place, filled(topk_group, place), { is: "lt" });
    const spread = ops.broadcast(ops.reshape(open, { shape: [G, T, n, 1] }), { shape: [G, T, n, E / n] });
    return ops.reshape(spread, { shape: [G, T, E] });
  },
  weights: "renormalised gates",
  scale: ({ routed_scaling_factor }) => routed_scaling_factor,
  contract: {
    compares:
      "gates, the f32 sigmoid of each logit, plus a learned number of each expert's, in the topk_group groups whose two largest add up to the most",
    weights: "gates renormalised over the choices, times routed_scaling_factor",
  },
  check({ n_group: n, topk_group, num_selected_experts: k }, experts) {
    if (experts % n !== 0) throw contradiction(["n_group"], `must divide num_experts = ${experts}; got ${n}`);
    if (topk_group > n)
      throw contradiction(["topk_group"], `must be at most n_group = ${n}; got ${topk_group}`);
    const most = (topk_group * experts) / n;
    if (k > most) {
      const message = `must be at most ${most}, the experts of ${topk_group} of ${n} groups; got ${k}`;
      throw contradiction(["num_selected_experts"], message);
    }
  },
  sample({ experts, choices }, pick) {
    const divisors = [...Array(experts).keys()].map((i) => i + 1).filter((i) => experts % i === 0);
    const n = divisors[pick(divisors.length)] ?? 1;
    const least = Math.ceil((choices * n) / experts);
    return { n_group: n, topk_group: least + pick(n - least + 1), routed_scaling_factor: 1 + pick(3) / 2 };
  },
});
