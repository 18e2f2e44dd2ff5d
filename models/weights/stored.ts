/** Tensors as files store them: where their bytes are, and what these become when read. */
import { type ByteSource, fileError } from "../../files/bytes.ts";
import {
  bytesOf,
  type DType,
  type Shape,
  sizeOf,
  Tensor,
  type TensorType,
  type WeightSource,
} from "../../ir/index.ts";

/** How elements are stored, little-endian; where `bytes` is not the dtype's own, they are float64. */
export interface Encoding {
  /** What they are once read. */
  readonly dtype: DType;
  /** Of one element in the file. */
  readonly bytes: number;
}

const own = (dtype: DType): Encoding => ({ dtype, bytes: bytesOf[dtype] });

/** Encodings by NumPy's names. What no parameter has, such as 64-bit counts, has none and is passed over. */
export const encodings: Readonly<Record<string, Encoding>> = {
  float32: own("f32"),
  float16: own("f16"),
  bfloat16: own("bf16"),
  float64: { dtype: "f32", bytes: 8 },
  int32: own("i32"),
  uint32: own("u32"),
  bool: own("bool"),
};

/** One tensor of a file. */
export interface Stored {
  readonly shape: Shape;
  readonly encoding: Encoding;
  /** Bytes `first .. first + length - 1` of its elements in row-major order. */
  read(first: number, length: number): Promise<Uint8Array>;
}

/** Bytes of `shape` with so many for an element; undefined where that is more than a number can count. */
export function storedBytes(shape: Shape, itemBytes: number): number | undefined {
  const total = sizeOf(shape) * itemBytes;
  return Number.isSafeInteger(total) ? total : undefined;
}

/** Whether `value` is a list of sizes. */
export const isSizes = (value: unknown): value is Shape =>
  Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);

/** The tensors of `file`, each read when asked for. */
export const storedSource = (file: ByteSource, tensors: ReadonlyMap<string, Stored>): WeightSource => ({
  tensors: new Map(
    [...tensors].map(([name, { shape, encoding }]) => [name, { dtype: encoding.dtype, shape }]),
  ),
  async read(name, rows) {
    const stored = tensors.get(name);
    if (!stored) throw fileError(file.name, `has no tensor ${name}`);
    const { shape, encoding } = stored;
    const cut = rows ? [rows[1] - rows[0], ...shape.slice(1)] : shape;
    const first = rows ? rows[0] * sizeOf(shape.slice(1)) * encoding.bytes : 0;
    const bytes = await stored.read(first, sizeOf(cut) * encoding.bytes);
    return decoded({ dtype: encoding.dtype, shape: cut }, encoding, bytes);
  },
  close: () => file.close(),
});

function decoded(type: TensorType, encoding: Encoding, bytes: Uint8Array): Tensor {
  if (encoding.bytes === bytesOf[type.dtype]) return Tensor.fromBytes(type, bytes);
  // A copy is aligned.
  const wide = new Float64Array(new Uint8Array(bytes).buffer);
  return new Tensor(type, Float32Array.from(wide));
}
