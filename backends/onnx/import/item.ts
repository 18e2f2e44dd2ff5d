/** What a name in a file stands for while the file is read: numbers that are known, or a value of the program. */
import { type DType, type Shape, Tensor, type Value } from "../../../ir/index.ts";
import { type Element, element, type SmallElement } from "../proto.ts";

/** A tensor whose numbers the file gives: a constant, or a size computed from shapes. */
export interface Known {
  readonly kind: "known";
  readonly element: Element;
  readonly shape: Shape;
  /** The elements in row-major order, or the one number that they all are. */
  readonly values: readonly number[];
}

/**
 * A tensor of the run. Programs have no 64-bit dtype: an int64 tensor is held as i32 or u32, a double as the float
 * that it was converted from.
 */
export interface Data {
  readonly kind: "data";
  readonly element: Element;
  readonly value: Value;
  /** Whether `value` holds the very numbers; else it holds int64 numbers modulo 2^32. */
  readonly exact: boolean;
  /** Between which numbers a double is clamped. */
  readonly bounds: readonly [low: number, high: number];
}

export type Item = Known | Data;

/** Small integers that the file gives. Nothing computes in them: `DequantizeLinear` alone takes them. */
export interface Packed {
  readonly kind: "packed";
  readonly element: SmallElement;
  readonly shape: Shape;
  /** The one number that they all are; undefined where they differ, or are too many to be looked at. */
  readonly every: number | undefined;
  /**
   * The weight u32[entries, Q] of `dequantize` that holds each of so many equal parts of the tensor apart. Signed integers
   * are offset to be positive, unsigned ones as they are.
   */
  readonly words: (entries: number) => Value;
}

/** Whatever a name in a file may stand for. */
export type Named = Item | Packed;

/** The dtype of values of each element type that has one. */
export const dtypeOf: ReadonlyMap<Element, DType> = new Map<Element, DType>([
  [element.float, "f32"],
  [element.float16, "f16"],
  [element.bfloat16, "bf16"],
  [element.int32, "i32"],
  [element.uint32, "u32"],
  [element.bool, "bool"],
]);
const elementOf = new Map([...dtypeOf].map(([code, dtype]) => [dtype, code]));

export const unbounded: Data["bounds"] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];

/** `value` as what a file's tensor of its dtype stands for. */
export const data = (value: Value): Data => ({
  kind: "data",
  element: elementOf.get(value.type.dtype) as Element,
  value,
  exact: true,
  bounds: unbounded,
});

/** `value`, an i32 or u32, as an int64 tensor. */
export const wide = (value: Value, exact = true): Data => ({ ...data(value), element: element.int64, exact });

export function known(code: Element, shape: Shape, values: readonly number[]): Known {
  const [first = 0] = values;
  const even = values.length > 0 && values.every((value) => Object.is(value, first));
  return { kind: "known", element: code, shape, values: even ? [first] : values };
}

/** The one-dimensional int64 tensor of `sizes`. */
export const knownSizes = (sizes: readonly number[]): Known => known(element.int64, [sizes.length], sizes);

export const shapeOf = (item: Item): Shape => (item.kind === "known" ? item.shape : item.value.type.shape);

/** The decimal of fewest digits that rounds to `value` in `dtype`: what a person wrote, as far as one can tell. */
export function shortest(value: number, dtype: DType): number {
  const rounded = (x: number): number => Tensor.from({ dtype, shape: [1] }, [x]).at(0);
  for (let digits = 1; digits <= 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Object.is(rounded(short), value)) return short;
  }
  return value;
}
