/** The experts' outputs back to the tokens. */
import { defineOp, type Op } from "../../op.ts";
import { matmul } from "../contraction.ts";
import { cast, multiply } from "../elementwise.ts";
import { transpose } from "../movement.ts";
import { oneHot, shaped, spread, sumRows } from "../shorthand.ts";

const signature =
  "y: float[G, E, capacity, D], slots: i32<E*capacity>[G, T, k], weights: f32[G, T, k] -> z: f32[G, T, D]";

export const combine: Op<typeof signature> = defineOp({
  name: "combine",
  summary:
    "For each token the sum over its k choices, in order, of the weight times the output in the choice's slot; a dropped choice (-1) adds nothing.",
  source:
    "Riquelme et al. 2021, arXiv 2106.05974, section 2.1; decomposed as google-research/vmoe's EinsumDispatcher",
  signature,
  evaluate(operands, { G, E, capacity, D, T, k }) {
    const [y, slots, weights] = [operands.y.numbers(), operands.slots.numbers(), operands.weights.numbers()];
    const z = new Float64Array(G * T * D);
    for (const [choice, slot] of slots.entries()) {
      if (slot < 0) continue;
      const from = (Math.floor(choice / (T * k)) * E * capacity + slot) * D;
      const to = Math.floor(choice / k) * D;
      const share = weights[choice] as number;
      for (let d = 0; d < D; d++) z[to + d] = (z[to + d] as number) + share * (y[from + d] as number);
    }
    return { z };
  },
  decompose({ y, slots, weights }, { G, E, capacity, D, T, k }) {
    const size = [G, T, k, E * capacity];
    const shares = multiply(oneHot(slots, E * capacity, "f32"), spread(shaped(weights, [G, T, k, 1]), size));
    const mask = sumRows(transpose(shares, { perm: [0, 1, 3, 2] }));
    return { z: matmul(mask, shaped(cast(y, { to: "f32" }), [G, E * capacity, D])) };
  },
});
