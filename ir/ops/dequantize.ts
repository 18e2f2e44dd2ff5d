/** Matrices of small integers with a scale for each block of rows. */
import { defineOp, type Op, type Value } from "../op.ts";
import { cast, multiply, subtract } from "./elementwise.ts";
import { concat, slice } from "./movement.ts";
import { plus, shaped, spread, times } from "./shorthand.ts";

const signature = "words: u32[E, Q], scales: f32[E, R, F]; bits, rows, block -> y: f32[E, rows, F]";

export const dequantize: Op<typeof signature> = defineOp({
  name: "dequantize",
  summary:
    "Matrices of integers of `bits` bits times scales: entry (row, column) is (u - 2^(bits - 1)) times the column's scale for its block of rows, where u is the matrix's field number row * F + column of its words, from the lowest bits of the first word on. Blocks are of `block` rows, the last of what is left.",
  source: "ONNX, DequantizeLinear with block_size and a zero point of 2^(bits - 1)",
  signature,
  where: {
    C1: ["bits is 4 or 8", ({ bits }) => bits === 4 || bits === 8],
    C2: ["rows >= 1 and block >= 1", ({ rows, block }) => rows >= 1 && block >= 1],
    C3: ["R = rows / block, rounded up", ({ R, rows, block }) => R === Math.ceil(rows / block)],
    C4: [
      "Q = rows * F * bits / 32, rounded up",
      ({ Q, rows, F, bits }) => Q === Math.ceil((rows * F * bits) / 32),
    ],
  },
  sample({ F }, pick) {
    const [bits, rows, block] = [pick(2) ? 8 : 4, 1 + pick(6), 1 + pick(4)];
    return { bits, rows, block, R: Math.ceil(rows / block), Q: Math.ceil((rows * F * bits) / 32) };
  },

  evaluate({ words, scales }, { E, Q, R, F, bits, rows, block }) {
    const [packed, factors] = [words.numbers(), scales.numbers()];
    const [each, half, mask] = [32 / bits, 2 ** (bits - 1), 2 ** bits - 1];
    const y = new Float64Array(E * rows * F);
    for (let e = 0, at = 0; e < E; e++) {
      for (let i = 0; i < rows * F; i++) {
        const word = packed[e * Q + Math.floor(i / each)] as number;
        const field = (word >>> (bits * (i % each))) & mask;
        const place = (e * R + Math.floor(i / F / block)) * F + (i % F);
        y[at++] = (field - half) * (factors[place] as number);
      }
    }
    return { y };
  },

  decompose({ words, scales }, { E, Q, R, F, bits, rows, block }) {
    const fields = Array.from({ length: 32 / bits }, (_, n) => shaped(fieldOf(words, n, bits), [E, Q, 1]));
    const all = shaped(
      fields.reduce((left, right) => concat(left, right, { axis: 2 })),
      [E, (Q * 32) / bits],
    );
    const used = slice(all, { start: [0, 0], limit: [E, rows * F] });
    const integers = plus(shaped(used, [E, rows, F]), -(2 ** (bits - 1)));
    const factors = shaped(spread(shaped(scales, [E, R, 1, F]), [E, R, block, F]), [E, R * block, F]);
    return { y: multiply(integers, slice(factors, { start: [0, 0, 0], limit: [E, rows, F] })) };
  },
});

/** Field `n` of each word, as a float: what is above it is multiplied out of the word, what is below it is cut off. */
function fieldOf(words: Value, n: number, bits: number): Value {
  // A float holds 24 bits: of a field in the highest byte, the lowest byte is taken away first.
  const isHigh = bits * (n + 1) > 24;
  const source = isHigh ? subtract(words, cast(topOf(times(words, 2 ** 24), 8), { to: "u32" })) : words;
  return cast(topOf(times(source, 2 ** (32 - bits * (n + 1))), bits), { to: "f32" });
}

/** The highest `bits` bits of each word. */
const topOf = (words: Value, bits: number): Value =>
  cast(times(cast(words, { to: "f32" }), 2 ** (bits - 32)), { to: "i32" });
