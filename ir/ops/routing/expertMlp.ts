/** The experts: one MLP each, over its own buffer. */
import { defineOp, type Op, type Value } from "../../op.ts";
import { gelu } from "../activation.ts";
import { matmul } from "../contraction.ts";
import { add } from "../elementwise.ts";
import { transpose } from "../movement.ts";
import { entry, mlpOf } from "../numeric.ts";
import { shaped, spread } from "../shorthand.ts";

const signature =
  'x: float[G, E, capacity, D], w1: float[E, D, F], b1: float[E, F], w2: float[E, F, D], b2: float[E, D]; approximate: "tanh" | "none" -> y: float[G, E, capacity, D]';

export const expertMlp: Op<typeof signature> = defineOp({
  name: "expert_mlp",
  summary: "Expert e's MLP, GELU(x W1[e] + b1[e]) W2[e] + b2[e], on every slot of its buffer, empty or not.",
  source: "Riquelme et al. 2021, arXiv 2106.05974, section 2.1",
  signature,
  traits: ["experts"],
  evaluate({ x, w1, b1, w2, b2 }, { G, E, capacity, D, F, approximate }) {
    const from = x.numbers();
    const y = new Float64Array(from.length);
    for (let e = 0; e < E; e++) {
      const mlp = { w1: entry(w1, e), b1: entry(b1, e), w2: entry(w2, e), b2: entry(b2, e) };
      for (let g = 0; g < G; g++) {
        const start = (g * E + e) * capacity * D;
        y.set(mlpOf(from.subarray(start, start + capacity * D), mlp, { D, F, approximate }), start);
      }
    }
    return { y };
  },
  decompose({ x, w1, b1, w2, b2 }, { G, E, capacity, D, F, approximate }) {
    const rows = G * capacity;
    const affine = (v: Value, w: Value, b: Value, width: number): Value =>
      add(matmul(v, w), spread(shaped(b, [E, 1, width]), [E, rows, width]));
    const buffers = shaped(transpose(x, { perm: [1, 0, 2, 3] }), [E, rows, D]);
    const hidden = gelu(affine(buffers, w1, b1, F), { approximate });
    const outputs = shaped(affine(hidden, w2, b2, D), [E, G, capacity, D]);
    return { y: transpose(outputs, { perm: [1, 0, 2, 3] }) };
  },
});
