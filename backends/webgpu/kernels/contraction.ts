/** Matrix products, the affine map, and attention as products around a softmax. */
import { ops, sizeOf } from "../../../ir/index.ts";
import { gemm } from "../gemm/index.ts";
import { bind, kernel, type LaunchKernel, read } from "../kernel.ts";
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

/** Unfused: scores, softmax in place, mix. The rows of scores are padded so that they load as vectors. */
export const attention: LaunchKernel = kernel(
  ops.attention,
  ({ operands: { q, k, v }, sizes: { B, T, S, H, W }, profile, scratch, output }) => {
    const stride = Math.ceil(S / 4) * 4;
    const scores = scratch("vec4f", (B * H * T * stride) / 4);
    // Batch group.z is head group.z % H of image group.z / H; its rows lie H * W elements apart.
    const ofHead =
      (rows: number) =>
      (unit: number): string =>
        `(group.z / ${H}u) * ${(rows * H * W) / unit}u + (group.z % ${H}u) * ${W / unit}u`;
    const head = (rows: number): { stride: number; start: (unit: number) => string; aligned: boolean } => ({
      stride: H * W,
      start: ofHead(rows),
      aligned: whole(W),
    });
    const ofScores = { stride, start: (unit: number): string => `group.z * ${(T * stride) / unit}u` };
    const scoresOf = (
      name: string,
      access: "read" | "read_write",
    ): { name: string; resource: typeof scores; access: typeof access } => ({
      name,
      resource: scores,
      access,
    });
    return [
      gemm(
        {
          label: "attention scores",
          M: T,
          N: S,
          K: W,
          batch: B * H,
          left: { binding: read("left", q), ...head(T) },
          right: { binding: read("right", k), ...head(S), transposed: true },
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
          right: { binding: read("right", v), ...head(S) },
          result: { output, ...head(T) },
        },
        profile,
      ),
    ];
  },
  3,
);
