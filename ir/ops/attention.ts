/** Scaled dot-product attention. */
import { defineOp, type Op, type Value } from "../op.ts";
import { Tensor } from "../tensor.ts";
import { matmul } from "./contraction.ts";
import { reshape, slice, transpose } from "./movement.ts";
import { softmax } from "./normalization.ts";
import { over } from "./shorthand.ts";

const joined = "qkv: float[B, T, F]; heads, width -> y: float[B, T, heads, width]";
const signature = "q: float[B, T, H, W], k: float[B, S, H, W], v: float[B, S, H, W] -> y: float[B, T, H, W]";

export const attention: Op<typeof signature> = defineOp({
  name: "attention",
  summary: "For each head, softmax(q / sqrt(W) . k) over the S keys, times v; no mask.",
  source: "Vaswani et al. 2017, arXiv 1706.03762, eq. 1",
  signature,
  evaluate(operands, { B, T, H, S, W }) {
    const [q, k, v] = [operands.q.numbers(), operands.k.numbers(), operands.v.numbers()];
    const y = new Float64Array(B * T * H * W);
    const scores = new Float64Array(S);
    for (let b = 0; b < B; b++) {
      for (let h = 0; h < H; h++) {
        for (let t = 0; t < T; t++) {
          const row = ((b * T + t) * H + h) * W;
          const key = (s: number): number => ((b * S + s) * H + h) * W;
          for (let s = 0; s < S; s++) {
            let dot = 0;
            for (let w = 0; w < W; w++) dot += (q[row + w] as number) * (k[key(s) + w] as number);
            scores[s] = dot / Math.sqrt(W);
          }
          const max = scores.reduce((a, c) => Math.max(a, c));
          const total = scores.reduce((sum, score) => sum + Math.exp(score - max), 0);
          for (let s = 0; s < S; s++) {
            const share = Math.exp((scores[s] as number) - max) / total;
            for (let w = 0; w < W; w++)
              y[row + w] = (y[row + w] as number) + share * (v[key(s) + w] as number);
          }
        }
      }
    }
    return { y };
  },
  decompose({ q, k, v }, { W }) {
    const heads = transpose(over(q, Math.sqrt(W)), { perm: [0, 2, 1, 3] });
    const scores = matmul(heads, transpose(k, { perm: [0, 2, 3, 1] }));
    const mixed = matmul(softmax(scores), transpose(v, { perm: [0, 2, 1, 3] }));
    return { y: transpose(mixed, { perm: [0, 2, 1, 3] }) };
  },
});

export const selfAttention: Op<typeof joined> = defineOp({
  name: "self_attention",
  summary:
    "`attention` among the tokens, where a token's query, key and value lie side by side: all heads of each, in this order.",
  source: "Vaswani et al. 2017, arXiv 1706.03762, section 3.2.2",
  signature: joined,
  where: {
    C1: [
      "F = 3 * heads * width, heads and width >= 1",
      ({ F, heads, width }) => heads >= 1 && width >= 1 && F === 3 * heads * width,
    ],
  },
  sample(_, pick) {
    const [heads, width] = [1 + pick(3), 1 + pick(5)];
    return { heads, width, F: 3 * heads * width };
  },
  evaluate({ qkv }, { B, T, F, heads, width }) {
    const numbers = qkv.numbers();
    const size = heads * width;
    const part = (n: number): Tensor =>
      Tensor.from(
        { dtype: qkv.type.dtype, shape: [B, T, heads, width] },
        Float64Array.from(
          { length: B * T * size },
          (_, i) => numbers[Math.floor(i / size) * F + n * size + (i % size)] as number,
        ),
      );
    const parts = [part(0), part(1), part(2)];
    const sizes = attention.sizesOf(
      parts.map(({ type }) => type),
      {},
    );
    const [y] = attention.evaluate(parts, sizes) as [Tensor];
    return { y: y.numbers() };
  },
  decompose({ qkv }, { B, T, heads, width }) {
    const size = heads * width;
    const part = (n: number): Value => {
      const all = slice(qkv, { start: [0, 0, n * size], limit: [B, T, (n + 1) * size] });
      return reshape(all, { shape: [B, T, heads, width] });
    };
    return { y: attention(part(0), part(1), part(2)) };
  },
});
