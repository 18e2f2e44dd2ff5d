/** Abbreviations in which decompositions are written; each makes one or two applications of core ops. */
import type { Value } from "../op.ts";
import type { DType, Shape } from "../type.ts";
import { add, cast, compare, divide, multiply, select } from "./elementwise.ts";
import { broadcast, constant, iota, reshape } from "./movement.ts";
import { reduceSum } from "./reduction.ts";

/** A tensor of `like`'s type whose every element is `value`. */
export const filled = (value: number, { type }: Value): Value =>
  constant({ value, to: type.dtype, shape: type.shape });

/** `x` repeated to `shape`, as `broadcast` does; `x` itself where it has that shape. */
export const spread = (x: Value, shape: Shape): Value => broadcast(x, { shape });

/** `x` with new axes of size 1 and so on, see `reshape`. */
export const shaped = (x: Value, shape: Shape): Value => reshape(x, { shape });

export const plus = (x: Value, term: number): Value => add(x, filled(term, x));
export const times = (x: Value, factor: number): Value => multiply(x, filled(factor, x));
export const over = (x: Value, divisor: number): Value => divide(x, filled(divisor, x));

/** The sum of each row, over the last axis, with the axis gone: `[..., N]` to `[...]`. */
export const sumRows = (x: Value): Value => shaped(reduceSum(x), x.type.shape.slice(0, -1));

/** Whether each entry of `indices[...]` is 0, 1, ..., size - 1: `[..., size]` of 0 and 1 in `to`. */
export function oneHot(indices: Value, size: number, to: DType): Value {
  const { shape } = indices.type;
  const wide = spread(shaped(indices, [...shape, 1]), [...shape, size]);
  return cast(compare(wide, spread(iota({ size }), [...shape, size]), { is: "eq" }), { to });
}

/** `x` where `when` holds, elsewhere `other`. */
export const orElse = (when: Value, x: Value, other: number): Value => select(when, x, filled(other, x));
