/** Matrix products and the affine map. */
import { ops, sizeOf } from "../../../ir/index.ts";
import { gemm, rightFactor } from "../gemm/index.ts";
import { kernel, type LaunchKernel, read } from "../kernel.ts";

const whole = (n: number): boolean => n % 4 === 0;

/** Matrix `group.z` of a batch of matrices of `size` elements. */
const batched = (size: number, batch: number): { start: (unit: number) => string; aligned: boolean } => ({
  start: (unit) => (batch === 1 ? "" : `group.z * ${size / unit}u`),
  aligned: batch === 1 || whole(size),
});

export const matmul: LaunchKernel = kernel(
  ops.matmul,
  ({ operands: { x, y }, sizes: { dims, M, K, N }, profile, output, scratch, strips }) => {
    const batch = sizeOf(dims);
    return gemm(
      {
        label: "matmul",
        M,
        N,
        K,
        batch,
        left: { binding: read("left", x), stride: K, ...batched(M * K, batch) },
        right: rightFactor(y, { strips: strips(y), ...(batch > 1 && { entry: "group.z" }) }),
        result: { output, stride: N, ...batched(M * N, batch) },
      },
      profile,
      scratch,
    );
  },
  // Of integers, the scales are bound, too.
  { epilogue: 4, factors: ["y"] },
);

export const linear: LaunchKernel = kernel(
  ops.linear,
  ({ operands: { x, w, b }, sizes: { dims, D, F }, profile, output, rows, scratch, strips }) =>
    gemm(
      {
        label: "linear",
        M: sizeOf(dims),
        N: F,
        K: D,
        left: rows
          ? { binding: read("left", rows.value), stride: D, aligned: rows.vectors, places: rows }
          : { binding: read("left", x), stride: D },
        right: rightFactor(w, { strips: strips(w) }),
        result: { output, stride: F },
        bias: { binding: read("bias", b) },
      },
      profile,
      scratch,
    ),
  { epilogue: 4, gathers: "x", factors: ["w"] },
);
