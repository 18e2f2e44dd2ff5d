/** The scores that routers begin with. */
import { defineOp, type Op } from "../../op.ts";
import { matmul } from "../contraction.ts";
import { multiplyAdd } from "../numeric.ts";
import { shaped } from "../shorthand.ts";

const signature = "x: f32[G, T, D], kernel: f32[D, E] -> logits: f32[G, T, E]";

export const gateLogits: Op<typeof signature> = defineOp({
  name: "gate_logits",
  summary: "x times the router's kernel, without a bias: each token's score for each expert.",
  source: "Riquelme et al. 2021, arXiv 2106.05974, section 2.2",
  signature,
  evaluate({ x, kernel }, { G, T, D, E }) {
    const logits = new Float64Array(G * T * E);
    const [rows, columns] = [x, kernel].map((tensor) => Float64Array.from(tensor.numbers()));
    multiplyAdd(rows as Float64Array, columns as Float64Array, logits, { M: G * T, K: D, N: E });
    return { logits };
  },
  decompose: ({ x, kernel }, { G, T, D, E }) => ({
    logits: shaped(matmul(shaped(x, [G * T, D]), kernel), [G, T, E]),
  }),
});
