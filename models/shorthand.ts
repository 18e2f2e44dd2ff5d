/** Abbreviations in which models are written. */
import { ops, sizeOf, type Value } from "../ir/index.ts";

/** `x` times a number. */
export const scaled = (x: Value, factor: number): Value =>
  ops.multiply(x, ops.constant({ value: factor, to: x.type.dtype, shape: x.type.shape }));

/** The sum of values of one type, left to right; `none` where there are none. */
export const sum = (values: readonly Value[], none: Value): Value =>
  values.length === 0 ? none : values.reduce((a, b) => ops.add(a, b));

/** The sum of each row, over the last axis, with the axis gone: [..., N] to [...]. */
export const rowSum = (x: Value): Value =>
  ops.reshape(ops.reduceSum(x), { shape: x.type.shape.slice(0, -1) });

/** `x` repeated along a new first axis. */
export const repeated = (x: Value, times: number): Value =>
  ops.broadcast(x, { shape: [times, ...x.type.shape.slice(1)] });

/** Each entry of the first axis `times` times over: the copies of one entry stand side by side. */
export function copied(x: Value, times: number): Value {
  const [first = 1, ...rest] = x.type.shape;
  const apart = ops.reshape(x, { shape: [first, 1, ...rest] });
  const copies = ops.broadcast(apart, { shape: [first, times, ...rest] });
  return ops.reshape(copies, { shape: [first * times, ...rest] });
}

/** The logarithm of the sum of exp of each row: [..., N] to [..., 1]. */
export function logSumExp(x: Value): Value {
  const largestOf = ops.reduceMax(x);
  const powers = ops.exp(ops.subtract(x, ops.broadcast(largestOf, { shape: x.type.shape })));
  return ops.add(ops.log(ops.reduceSum(powers)), largestOf);
}

/** A tensor of `like`'s type whose every element is `value`. */
export const filled = (value: number, { type }: Value): Value =>
  ops.constant({ value, to: type.dtype, shape: type.shape });

/** The largest entry of each part `[i, ...]` of `x`, as [first axis]. */
export function largest(x: Value): Value {
  const [count = 1] = x.type.shape;
  return ops.reshape(ops.reduceMax(ops.reshape(x, { shape: [count, sizeOf(x.type.shape) / count] })), {
    shape: [count],
  });
}

/** The smallest entry of each part `[i, ...]` of `x`, as [first axis]. */
export const smallest = (x: Value): Value => scaled(largest(scaled(x, -1)), -1);
