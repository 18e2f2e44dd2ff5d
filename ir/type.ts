/** Element types, shapes and tensor types. */

/** Element types, widest float first. `bool` holds 0 or 1. */
export const dtypes = ["f32", "f16", "bf16", "i32", "u32", "bool"] as const;
export type DType = (typeof dtypes)[number];

/** Sizes of a tensor's axes, outermost first; tensors are row-major. */
export type Shape = readonly number[];

export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** Bytes of one element in host memory and in files. */
export const bytesOf: Readonly<Record<DType, number>> = { f32: 4, f16: 2, bf16: 2, i32: 4, u32: 4, bool: 1 };

/** Number of elements of `shape`. */
export const sizeOf = (shape: Shape): number => shape.reduce((n, size) => n * size, 1);

/** Bytes of a tensor of `type`. */
export const byteLength = ({ dtype, shape }: TensorType): number => sizeOf(shape) * bytesOf[dtype];

/** `type` as it is printed: `f32[8, 50, 512]`. */
export const showType = ({ dtype, shape }: TensorType): string => `${dtype}[${shape.join(", ")}]`;

export const sameShape = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((size, axis) => size === b[axis]);

export const sameType = (a: TensorType, b: TensorType): boolean =>
  a.dtype === b.dtype && sameShape(a.shape, b.shape);

/** Elements between neighbours along each axis of a row-major tensor. */
export function stridesOf(shape: Shape): number[] {
  const strides: number[] = [];
  let stride = 1;
  for (const size of shape.toReversed()) {
    strides.unshift(stride);
    stride *= size;
  }
  return strides;
}
