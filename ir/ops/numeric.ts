/** Functions of plain numbers that the meanings of several ops share; all in f64. */
import type { Tensor } from "../tensor.ts";

type Row = Float64Array | Float32Array | Int32Array | Uint32Array | Uint8Array;

/** Indices of `row` from the largest entry to the smallest; equal entries keep their order. */
export const descending = (row: ArrayLike<number>): number[] =>
  Array.from(row, (_, i) => i).toSorted((a, b) => (row[b] as number) - (row[a] as number));

/** The rows of length `width` of `x`, as views. */
export function rows(x: Tensor, width: number): Float64Array[] {
  const entries = Float64Array.from(x.numbers());
  return Array.from({ length: entries.length / width }, (_, t) =>
    entries.subarray(t * width, (t + 1) * width),
  );
}

/** exp(row) scaled to sum to 1. */
export function softmaxOf(row: Float64Array): Float64Array {
  const max = row.reduce((a, b) => Math.max(a, b));
  const powers = row.map((v) => Math.exp(v - max));
  const total = powers.reduce((a, b) => a + b);
  return powers.map((p) => p / total);
}

/** The logarithm of the sum of exp(row). */
export function logSumExp(row: Float64Array): number {
  const max = row.reduce((a, b) => Math.max(a, b));
  return max + Math.log(row.reduce((sum, v) => sum + Math.exp(v - max), 0));
}

/**
 * erf to a relative error near 1e-15: its Maclaurin series below 2.5, the continued fraction of erfc above
 * (Abramowitz and Stegun, 7.1.6 and 7.1.14).
 */
export function errorFunction(x: number): number {
  const z = Math.abs(x);
  const square = z * z;
  if (z < 2.5) {
    let term = z;
    let sum = z;
    for (let n = 1; term > sum * 1e-17; n++) {
      term *= (2 * square) / (2 * n + 1);
      sum += term;
    }
    return (Math.sign(x) * 2 * Math.exp(-square) * sum) / Math.sqrt(Math.PI);
  }
  let fraction = z;
  for (let n = 60; n > 0; n--) fraction = z + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-square) / (fraction * Math.sqrt(Math.PI)));
}

/** Slope of GELU's tanh form at 0. */
export const geluSlope: number = Math.sqrt(2 / Math.PI);

/** GELU of one number; see `gelu`. */
export const geluOf = (x: number, approximate: "tanh" | "none"): number =>
  approximate === "tanh"
    ? 0.5 * x * (1 + Math.tanh(geluSlope * (x + 0.044715 * x ** 3)))
    : 0.5 * x * (1 + errorFunction(x / Math.SQRT2));

/** Rows of x, inner size, columns of y. */
export interface MatrixSizes {
  readonly M: number;
  readonly K: number;
  readonly N: number;
}

/**
 * z += x y for row-major x [M, K], y [K, N], z [M, N], accumulated in f64. O(M K N).
 * Four rows of y share each pass over a row of z: the reference spends its time here.
 */
export function multiplyAdd(x: Row, y: Row, z: Float64Array, { M, K, N }: MatrixSizes): void {
  for (let m = 0; m < M; m++) {
    const row = z.subarray(m * N, (m + 1) * N);
    let k = 0;
    for (; k + 4 <= K; k += 4) {
      const at = m * K + k;
      const [a, b] = [x[at] as number, x[at + 1] as number];
      const [c, d] = [x[at + 2] as number, x[at + 3] as number];
      const [p, q, r, s] = [k * N, (k + 1) * N, (k + 2) * N, (k + 3) * N];
      for (let n = 0; n < N; n++) {
        row[n] =
          (row[n] as number) +
          a * (y[p + n] as number) +
          b * (y[q + n] as number) +
          c * (y[r + n] as number) +
          d * (y[s + n] as number);
      }
    }
    for (; k < K; k++) {
      const a = x[m * K + k] as number;
      for (let n = 0; n < N; n++) row[n] = (row[n] as number) + a * (y[k * N + n] as number);
    }
  }
}

/** One expert's parameters: w1 [D, F], b1 [F], w2 [F, D], b2 [D], row-major. */
export interface Mlp {
  readonly w1: Row;
  readonly b1: Row;
  readonly w2: Row;
  readonly b2: Row;
}

/** One expert's MLP on row-major x [rows, D], in f64. */
export function mlpOf(
  x: Row,
  { w1, b1, w2, b2 }: Mlp,
  { D, F, approximate }: { readonly D: number; readonly F: number; readonly approximate: "tanh" | "none" },
): Float64Array {
  const count = x.length / D;
  const hidden = Float64Array.from({ length: count * F }, (_, i) => b1[i % F] as number);
  multiplyAdd(x, w1, hidden, { M: count, K: D, N: F });
  const y = Float64Array.from({ length: count * D }, (_, i) => b2[i % D] as number);
  multiplyAdd(
    hidden.map((v) => geluOf(v, approximate)),
    w2,
    y,
    { M: count, K: F, N: D },
  );
  return y;
}

/** Entry `e` of `stacked` along its first axis. */
export function entry(stacked: Tensor, e: number): Row {
  const all = stacked.numbers();
  const size = all.length / (stacked.type.shape[0] ?? 1);
  return all.subarray(e * size, (e + 1) * size);
}
