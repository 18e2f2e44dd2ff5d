/** Tensors in host memory: the currency of reference semantics, of files and of tests. */
import { decodeBF16, decodeF16, encodeBF16, encodeF16 } from "./float.ts";
import { byteLength, type DType, type Shape, showType, sizeOf, stridesOf, type TensorType } from "./type.ts";

/** Elements as stored; the 16-bit floats are stored as their bits. */
export type Storage = Float32Array | Uint16Array | Int32Array | Uint32Array | Uint8Array;

/** Elements as numbers. */
export type Numbers = ArrayLike<number>;

const storages = {
  f32: Float32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  bool: Uint8Array,
} as const;

/** How a number is stored where a typed array's own conversion (rounds to f32, wraps integers) is not it. */
const encoders: { readonly [D in DType]?: (x: number) => number } = {
  f16: encodeF16,
  bf16: encodeBF16,
  bool: (x) => (x === 0 ? 0 : 1),
};

/** An immutable tensor: a type and its elements in row-major order. */
export class Tensor {
  readonly type: TensorType;
  readonly data: Storage;

  /** Wraps `data` without a copy; throws when its length is not that of `type`. */
  constructor(type: TensorType, data: Storage) {
    if (data.byteLength !== byteLength(type) || !(data instanceof storages[type.dtype])) {
      throw new RangeError(`${showType(type)} does not fit ${data.constructor.name}(${data.length})`);
    }
    this.type = type;
    this.data = data;
  }

  /** The tensor of `type` with the given elements, each rounded to the dtype. */
  static from(type: TensorType, numbers: Numbers): Tensor {
    const encode = encoders[type.dtype];
    if (!encode) return new Tensor(type, storages[type.dtype].from(numbers));
    const data = new storages[type.dtype](numbers.length);
    for (let i = 0; i < data.length; i++) data[i] = encode(numbers[i] as number);
    return new Tensor(type, data);
  }

  /** The tensor of zeros of `type`. */
  static zeros(type: TensorType): Tensor {
    return new Tensor(type, new storages[type.dtype](sizeOf(type.shape)));
  }

  /** The tensor whose element at each index is `f(...index)`. */
  static of(dtype: DType, shape: Shape, f: (...index: number[]) => number): Tensor {
    return Tensor.from({ dtype, shape }, each(shape, f));
  }

  /** A view of raw little-endian bytes as a tensor; copies only when they are not aligned to the element size. */
  static fromBytes(type: TensorType, bytes: Uint8Array): Tensor {
    const Storage = storages[type.dtype];
    // A Buffer's own slice would not copy.
    const aligned = bytes.byteOffset % Storage.BYTES_PER_ELEMENT === 0 ? bytes : new Uint8Array(bytes);
    return new Tensor(
      type,
      new Storage(aligned.buffer as ArrayBuffer, aligned.byteOffset, sizeOf(type.shape)),
    );
  }

  /** The elements' raw little-endian bytes, not copied. */
  get bytes(): Uint8Array {
    return new Uint8Array(this.data.buffer, this.data.byteOffset, this.data.byteLength);
  }

  /** The elements as numbers, in row-major order. O(size) for the 16-bit floats, else free. */
  numbers(): Float32Array | Int32Array | Uint32Array | Uint8Array {
    const { data, type } = this;
    if (!(data instanceof Uint16Array)) return data;
    const decode = type.dtype === "f16" ? decodeF16 : decodeBF16;
    const numbers = new Float32Array(data.length);
    for (let i = 0; i < data.length; i++) numbers[i] = decode(data[i] as number);
    return numbers;
  }

  /** The element at `index`; throws outside the shape. */
  at(...index: number[]): number {
    const { dtype, shape } = this.type;
    const inside =
      index.length === shape.length &&
      shape.every((size, axis) => (index[axis] ?? -1) >= 0 && (index[axis] ?? size) < size);
    if (!inside) throw new RangeError(`[${index.join(", ")}] is outside ${showType(this.type)}`);
    const flat = stridesOf(shape).reduce((n, stride, axis) => n + stride * (index[axis] ?? 0), 0);
    const bits = this.data[flat] ?? Number.NaN;
    return dtype === "f16" ? decodeF16(bits) : dtype === "bf16" ? decodeBF16(bits) : bits;
  }
}

/** `f(...index)` for each index of `shape`, in row-major order. */
export function each(shape: Shape, f: (...index: number[]) => number): Float64Array {
  const index = shape.map(() => 0);
  const values = new Float64Array(sizeOf(shape));
  for (let flat = 0; flat < values.length; flat++) {
    values[flat] = f(...index);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const next = (index[axis] ?? 0) + 1;
      index[axis] = next === shape[axis] ? 0 : next;
      if (index[axis] !== 0) break;
    }
  }
  return values;
}
