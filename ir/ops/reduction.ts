/** Core ops over the last axis, `N`: sums, maxima, running sums and the largest entries of a row. */
import { defineOp, type Op } from "../op.ts";
import { descending, rows } from "./numeric.ts";

const reducing = "x: number[..., N] -> y: number[..., 1]";
const running = "x: number[..., N] -> y: number[..., N]";
const ranking = "x: f32[..., N]; k -> values: f32[..., k], indices: i32[..., k]";

export const reduceSum: Op<typeof reducing> = defineOp({
  name: "reduce_sum",
  summary: "The sum of each row; the axis stays, with size 1.",
  signature: reducing,
  evaluate: ({ x }, { N }) => ({ y: rows(x, N).map((row) => row.reduce((sum, v) => sum + v, 0)) }),
});

export const reduceMax: Op<typeof reducing> = defineOp({
  name: "reduce_max",
  summary: "The largest entry of each row; the axis stays, with size 1.",
  signature: reducing,
  evaluate: ({ x }, { N }) => ({ y: rows(x, N).map((row) => row.reduce((max, v) => Math.max(max, v))) }),
});

export const cumsum: Op<typeof running> = defineOp({
  name: "cumsum",
  summary: "The sum of each row's entries up to and including each place.",
  signature: running,
  evaluate({ x }, { N }) {
    let sum = 0;
    return { y: Float64Array.from(x.numbers(), (v, i) => (sum = i % N === 0 ? v : sum + v)) };
  },
});

export const topK: Op<typeof ranking> = defineOp({
  name: "top_k",
  summary:
    "The k largest entries of each row in descending order; of equal entries the lower index comes first.",
  signature: ranking,
  where: { C1: ["1 <= k <= N", ({ k, N }) => 1 <= k && k <= N] },
  evaluate({ x }, { N, k }) {
    const orders = rows(x, N).map((row) => descending(row).slice(0, k));
    const entries = x.numbers();
    return {
      values: orders.flatMap((order, t) => order.map((i) => entries[t * N + i] as number)),
      indices: orders.flat(),
    };
  },
});
