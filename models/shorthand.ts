/** Abbreviations in which models are written. */
import { ops, type Value } from "../ir/index.ts";

/** `x` times a number. */
export const scaled = (x: Value, factor: number): Value =>
  ops.multiply(x, ops.constant({ value: factor, to: x.type.dtype, shape: x.type.shape }));

/** The sum of values of one type, left to right; `none` where there are none. */
export const sum = (values: readonly Value[], none: Value): Value =>
  values.length === 0 ? none : values.reduce((a, b) => ops.add(a, b));

/** `x` repeated along a new first axis. */
export const repeated = (x: Value, times: number): Value =>
  ops.broadcast(x, { shape: [times, ...x.type.shape.slice(1)] });

/** A tensor of `like`'s type whose every element is `value`. */
export const filled = (value: number, { type }: Value): Value =>
  ops.constant({ value, to: type.dtype, shape: type.shape });
