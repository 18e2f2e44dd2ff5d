/** Matrix products, the affine map, and attention as products around a softmax. */
import { ops, sizeOf, type Value } from "../../../ir/index.ts";
import { plus } from "../gemm/description.ts";
import { gemm } from "../gemm/index.ts";
import { bind, type Context, kernel, type Launch, type LaunchKernel, read } from "../kernel.ts";
import { f32 } from "../wgsl.ts";
import { softmaxRows } from "./rows.ts";

const whole = (n: number): boolean => n % 4 === 0;

/** Matrix `group.z` of a batch of matrices of `size` elements. */
const batched = (size: number, batch: number): { start: (unit: number) => string; aligned: boolean } => ({
  start: (unit) => (batch === 1 ? "" : `group.z * ${size / unit}u`),
  aligned: batch === 1 || whole(size),
});

export const matmul: LaunchKernel = kernel(
  ops.matmul,
  ({ operands: { x, y }, sizes: { dims, M, K, N }, profile, output }) => {
    const batch = sizeOf(dims);
    return [
      gemm(
        {
          label: "matmul",
          M,
          N,
          K,
          batch,
          left: { binding: read("left", x), stride: K, ...batched(M * K, batch) },
          right: { binding: read("right", y), stride: N, ...batched(K * N, batch) },
          result: { output, stride: N, ...batched(M * N, batch) },
        },
        profile,
      ),
    ];
  },
  3,
);

export const linear: LaunchKernel = kernel(
  ops.linear,
  ({ operands: { x, w, b }, sizes: { dims, D, F }, profile, output }) => [
    gemm(
      {
        label: "linear",
        M: sizeOf(dims),
        N: F,
        K: D,
        left: { binding: read("left", x), stride: D },
        right: { binding: read("right", w), stride: F },
        result: { output, stride: F },
        bias: { binding: read("bias", b) },
      },
      profile,
    ),
  ],
  4,
);

/** One of the operands of attention: its buffer, elements from token to token, and those before the first head. */
interface Heads {
  readonly value: Value;
  readonly stride: number;
  readonly offset: number;
}

interface AttentionSizes {
  readonly B: number;
  readonly T: number;
  readonly S: number;
  readonly H: number;
  readonly W: number;
}

/** Unfused: scores, softmax in place, mix. The rows of scores are padded so that they load as vectors. */
function attend(
  [q, k, v]: readonly [Heads, Heads, Heads],
  { B, T, S, H, W }: AttentionSizes,
  { profile, scratch, output }: Pick<Context<never, never, never>, "profile" | "scratch" | "output">,
): readonly Launch[] {
  const stride = Math.ceil(S / 4) * 4;
  const scores = scratch("vec4f", (B * H * T * stride) / 4);
  // Batch group.z is head group.z % H of image group.z / H.
  const head = (
    rows: number,
    { stride: step, offset }: Omit<Heads, "value">,
  ): { stride: number; start: (unit: number) => string; aligned: boolean } => ({
    stride: step,
    start: (unit) =>
      plus(`(group.z / ${H}u) * ${(rows * step) / unit}u + (group.z % ${H}u) * ${W / unit}u`, offset / unit),
    aligned: whole(W) && whole(offset),
  });
  const ofScores = { stride, start: (unit: number): string => `group.z * ${(T * stride) / unit}u` };
  const scoresOf = (
    name: string,
    access: "read" | "read_write",
  ): { name: string; resource: typeof scores; access: typeof access } => ({ name, resource: scores, access });
  return [
    gemm(
      {
        label: "attention scores",
        M: T,
        N: S,
        K: W,
        batch: B * H,
        left: { binding: read("left", q.value), ...head(T, q) },
        right: { binding: read("right", k.value), ...head(S, k), transposed: true },
        result: { binding: scoresOf("result", "read_write"), ...ofScores },
        finish: (sum) => `(${sum}) * ${f32(1 / Math.sqrt(W))}`,
      },
      profile,
    ),
    softmaxRows(undefined, bind("y", scores, "f32", "read_write"), "f32", [B * H * T, S, stride], profile),
    gemm(
      {
        label: "attention mix",
        M: T,
        N: W,
        K: S,
        batch: B * H,
        left: { binding: scoresOf("left", "read"), ...ofScores },
        right: { binding: read("right", v.value), ...head(S, v) },
        result: { output, ...head(T, { stride: H * W, offset: 0 }) },
      },
      profile,
    ),
  ];
}

export const attention: LaunchKernel = kernel(
  ops.attention,
  ({ operands: { q, k, v }, sizes, ...context }) => {
    const heads = (value: Value): Heads => ({ value, stride: sizes.H * sizes.W, offset: 0 });
    return attend([heads(q), heads(k), heads(v)], sizes, context);
  },
  3,
);

export const selfAttention: LaunchKernel = kernel(
  ops.selfAttention,
  ({ operands: { qkv }, sizes: { B, T, F, heads, width }, ...context }) => {
    const part = (n: number): Heads => ({ value: qkv, stride: F, offset: n * heads * width });
    return attend([part(0), part(1), part(2)], { B, T, S: T, H: heads, W: width }, context);
  },
  3,
);
