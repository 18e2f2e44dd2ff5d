/** Dispatch, experts and combine as one op, for backends that compute occupied slots alone. */
import { defineOp, type Op } from "../../op.ts";
import { Tensor } from "../../tensor.ts";
import { cast } from "../elementwise.ts";
import { entry, mlpOf } from "../numeric.ts";
import { combine } from "./combine.ts";
import { dispatch } from "./dispatch.ts";
import { expertMlp } from "./expertMlp.ts";

const signature =
  'x: f32[G, N, D], tokens: i32<N>[G, E, capacity], slots: i32<in tokens>[G, T, k], weights: f32[G, T, k], w1: f32[E, D, F], b1: f32[E, F], w2: f32[E, F, D], b2: f32[E, D]; approximate: "tanh" | "none", through: dtype -> y: f32[G, T, D]';

export const routedMlp: Op<typeof signature> = defineOp({
  name: "routed_mlp",
  summary:
    "`combine` of `expert_mlp` of `dispatch`: each token's weighted sum of its experts' outputs. What enters and what leaves the experts is rounded to the dtype `through`; the experts compute in f32.",
  source: "google-research/vmoe, vmoe/moe.py, sparse_moe_spmd and Bfloat16Dispatcher",
  signature,
  where: {
    C1: ["through is a float", ({ through }) => through === "f32" || through === "f16" || through === "bf16"],
  },
  traits: ["experts"],

  evaluate(operands, { G, N, D, F, E, capacity, T, k, approximate, through }) {
    const rounded = (numbers: ArrayLike<number>): ArrayLike<number> =>
      Tensor.from({ dtype: through, shape: [numbers.length] }, numbers).numbers();
    const [x, tokens] = [operands.x.numbers(), operands.tokens.numbers()];
    const outputs = new Map<number, ArrayLike<number>>();
    for (let e = 0; e < E; e++) {
      const mlp = {
        w1: entry(operands.w1, e),
        b1: entry(operands.b1, e),
        w2: entry(operands.w2, e),
        b2: entry(operands.b2, e),
      };
      const occupied = [...tokens.keys()].filter(
        (i) => Math.floor(i / capacity) % E === e && (tokens[i] as number) >= 0,
      );
      const sources = occupied.map((i) => Math.floor(i / (E * capacity)) * N + (tokens[i] as number));
      const buffer = Float64Array.from(
        sources.flatMap((row) => Array.from(rounded(x.subarray(row * D, (row + 1) * D)))),
      );
      const y = mlpOf(buffer, mlp, { D, F, approximate }).map(Math.fround);
      for (const [r, i] of occupied.entries()) outputs.set(i, rounded(y.subarray(r * D, (r + 1) * D)));
    }
    const [slots, weights] = [operands.slots.numbers(), operands.weights.numbers()];
    const y = new Float64Array(G * T * D);
    for (const [choice, slot] of slots.entries()) {
      const output = outputs.get(Math.floor(choice / (T * k)) * E * capacity + slot);
      if (slot < 0 || !output) continue;
      const at = Math.floor(choice / k) * D;
      for (let d = 0; d < D; d++)
        y[at + d] = (y[at + d] as number) + (weights[choice] as number) * (output[d] as number);
    }
    return { y };
  },

  decompose({ x, tokens, slots, weights, w1, b1, w2, b2 }, { approximate, through }) {
    const buffers = cast(dispatch(cast(x, { to: through }), tokens), { to: "f32" });
    const outputs = cast(expertMlp(buffers, w1, b1, w2, b2, { approximate }), { to: through });
    return { y: combine(outputs, slots, weights) };
  },
});
