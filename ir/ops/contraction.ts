/** Matrix products and the affine map. */
import { defineOp, type Op } from "../op.ts";
import { sizeOf } from "../type.ts";
import { add } from "./elementwise.ts";
import { broadcast, reshape } from "./movement.ts";
import { multiplyAdd } from "./numeric.ts";

const product = "x: float[..., M, K], y: float[..., K, N] -> z: float[..., M, N]";
const affine = "x: float[..., D], w: float[D, F], b: float[F] -> y: float[..., F]";

export const matmul: Op<typeof product> = defineOp({
  name: "matmul",
  summary: "The matrix product over the last two axes; leading axes are batch axes.",
  signature: product,
  evaluate({ x, y }, { dims, M, K, N }) {
    const [a, b] = [x.numbers(), y.numbers()];
    const z = new Float64Array(sizeOf(dims) * M * N);
    for (let batch = 0; batch < sizeOf(dims); batch++) {
      multiplyAdd(a.subarray(batch * M * K), b.subarray(batch * K * N), z.subarray(batch * M * N), {
        M,
        K,
        N,
      });
    }
    return { z };
  },
});

export const linear: Op<typeof affine> = defineOp({
  name: "linear",
  summary: "x W + b on the last axis.",
  signature: affine,
  evaluate({ x, w, b }, { dims, D, F }) {
    const rows = sizeOf(dims);
    const bias = b.numbers();
    const y = Float64Array.from({ length: rows * F }, (_, i) => bias[i % F] as number);
    multiplyAdd(x.numbers(), w.numbers(), y, { M: rows, K: D, N: F });
    return { y };
  },
  decompose({ x, w, b }, { dims, D, F }) {
    const rows = reshape(x, { shape: [sizeOf(dims), D] });
    const y = reshape(matmul(rows, w), { shape: [...dims, F] });
    return { y: add(y, broadcast(b, { shape: [...dims, F] })) };
  },
});
