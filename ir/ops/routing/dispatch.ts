/** Tokens into the experts' buffers. */
import { defineOp, type Op } from "../../op.ts";
import { matmul } from "../contraction.ts";
import { oneHot, shaped } from "../shorthand.ts";

const signature = "x: float[G, N, D], tokens: i32<N>[G, E, capacity] -> y: float[G, E, capacity, D]";

export const dispatch: Op<typeof signature> = defineOp({
  name: "dispatch",
  summary: "The token that sits in each slot of each expert's buffer; zeros where the slot is empty (-1).",
  source: "google-research/vmoe, vmoe/moe.py, ExpertIndicesDispatcher; decomposed as its EinsumDispatcher",
  signature,
  evaluate(operands, { G, N, E, capacity, D }) {
    const [x, tokens] = [operands.x.numbers(), operands.tokens.numbers()];
    const y = new Float64Array(G * E * capacity * D);
    for (const [slot, token] of tokens.entries()) {
      const row = Math.floor(slot / (E * capacity)) * N + token;
      if (token >= 0) y.set(x.subarray(row * D, (row + 1) * D), slot * D);
    }
    return { y };
  },
  decompose({ x, tokens }, { G, N, E, capacity, D }) {
    const mask = oneHot(shaped(tokens, [G, E * capacity]), N, x.type.dtype);
    return { y: shaped(matmul(mask, x), [G, E, capacity, D]) };
  },
});
