/** Matrix products, the affine map, and attention as products around a softmax. */
import { ops, sizeOf } from "../../../ir/index.ts";
import { gemm } from "../gemm/index.ts";
import { bind, type Kernel, kernel, read, write } from "../kernel.ts";
import { f32, rounded, roundingModule } from "../wgsl.ts";
import { softmaxRows } from "./rows.ts";

const whole = (n: number): boolean => n % 4 === 0;

/** Matrix `group.z` of a batch of matrices of `size` elements. */
const batched = (size: number, batch: number): { start: (unit: number) => string; aligned: boolean } => ({
  start: (unit) => (batch === 1 ? "" : `group.z * ${size / unit}u`),
  aligned: batch === 1 || whole(size),
});

export const matmul: Kernel = kernel(
  ops.matmul,
  ({ operands: { x, y }, results: { z }, sizes: { dims, M, K, N }, profile }) => {
    const batch = sizeOf(dims);
    const { dtype } = z.type;
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
          result: { binding: write("result", z), stride: N, ...batched(M * N, batch) },
          finish: (v) => rounded(dtype, v),
          module: roundingModule(dtype, "vec4f"),
        },
        profile,
      ),
    ];
  },
);

export const linear: Kernel = kernel(
  ops.linear,
  ({ operands: { x, w, b }, results: { y }, sizes: { dims, D, F }, profile }) => [
    gemm(
      {
        label: "linear",
        M: sizeOf(dims),
        N: F,
        K: D,
        left: { binding: read("left", x), stride: D },
        right: { binding: read("right", w), stride: F },
        result: { binding: write("result", y), stride: F },
        bias: { binding: read("bias", b) },
        finish: (v) => rounded(y.type.dtype, v),
        module: roundingModule(y.type.dtype, "vec4f"),
      },
      profile,
    ),
  ],
);

/** Unfused: scores, softmax in place, mix. The rows of scores are padded so that they load as vectors. */
export const attention: Kernel = kernel(
  ops.attention,
  ({ operands: { q, k, v }, results: { y }, sizes: { B, T, S, H, W }, profile, scratch }) => {
    const stride = Math.ceil(S / 4) * 4;
    const scores = scratch("vec4f", (B * H * T * stride) / 4);
    const dtype = y.type.dtype;
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
          result: { binding: write("result", y), ...head(T) },
          finish: (sum) => rounded(dtype, sum),
          module: roundingModule(dtype, "vec4f"),
        },
        profile,
      ),
    ];
  },
);
