/** The tensors that a program's weights become in a file, read and written part by part. */
import {
  byteLength,
  CompileError,
  readWeight,
  sameType,
  type Shape,
  showType,
  Tensor,
  type Value,
  type WeightSource,
} from "../../ir/index.ts";
import { repacked } from "./fields.ts";
import { outsideOf } from "./operator.ts";
import { smallElement, storedBytes, type StoredElement } from "./proto.ts";

/** A tensor of the file that is made of a weight when the file is written. */
export interface WeightTensor {
  readonly name: string;
  readonly element: StoredElement;
  readonly shape: Shape;
  readonly bytes: number;
  /** Its bytes in order, read part by part. */
  parts(source: WeightSource): AsyncIterable<Uint8Array>;
}

/** At most this many bytes of a weight are held at once, where its first axis can be cut. */
const partBytes = 2 ** 24;

/** The tensor of a weight, under the weight's name. */
export function weightTensor(weight: Value): WeightTensor {
  const { leaf, type } = weight;
  const name = leaf?.name ?? "";
  const { dtype, shape } = type;
  const element = outsideOf[dtype];
  return {
    name,
    element,
    shape,
    bytes: storedBytes(element, shape),
    parts: (source) => read(weight, source, cuts(shape, byteLength(type))),
  };
}

/** Ranges of a weight's first axis; undefined is all of it. */
type Rows = readonly [number, number] | undefined;

/** The bytes of a weight's `ranges`, one after the other. Throws W4 where the source gives something else. */
async function* read(
  weight: Value,
  source: WeightSource,
  ranges: readonly Rows[],
): AsyncIterable<Uint8Array> {
  for (const rows of ranges) {
    const tensor = await readWeight(source, weight, rows);
    const { shape } = weight.type;
    const want = { ...weight.type, shape: rows ? [rows[1] - rows[0], ...shape.slice(1)] : shape };
    if (!sameType(tensor.type, want)) {
      const message = `must read as ${showType(want)}; got ${showType(tensor.type)}`;
      throw new CompileError("W4", weight.leaf?.name ?? "", message);
    }
    // A bfloat16 weight is held as the float32 that it stands for.
    yield weight.type.dtype === "bf16"
      ? Tensor.from({ ...tensor.type, dtype: "f32" }, tensor.numbers()).bytes
      : tensor.bytes;
  }
}

/** The tensor of one entry of a weight's first axis, such as one expert's matrix. */
export function entryTensor(weight: Value, entry: number): WeightTensor {
  const { name, element, shape, bytes } = weightTensor(weight);
  const [entries = 1, ...rest] = shape;
  return {
    name: `${name}/${entry}`,
    element,
    shape: rest,
    bytes: bytes / entries,
    parts: (source) => read(weight, source, [[entry, entry + 1]]),
  };
}

/** The matrices that words hold; see `dequantize`. */
export interface Fields {
  readonly bits: number;
  readonly rows: number;
  readonly F: number;
}

/**
 * The signed integers [E, rows, F] in `words`, a weight u32[E, Q], in two's complement; or those of the matrix `entry`
 * alone, [rows, F].
 */
export function integersTensor(words: Value, { bits, rows, F }: Fields, entry?: number): WeightTensor {
  const element = bits === 8 ? smallElement.int8 : smallElement.int4;
  const [E = 1, Q = 1] = words.type.shape;
  const matrix = [rows, F];
  const shape = entry === undefined ? [E, ...matrix] : matrix;
  // Of an even number of matrices each, but for the last: then a part ends where a byte does.
  const ranges: Rows[] =
    entry === undefined ? cuts(words.type.shape, byteLength(words.type), 2) : [[entry, entry + 1]];
  return {
    name: [words.leaf?.name ?? "", "signed", ...(entry === undefined ? [] : [entry])].join("/"),
    element,
    shape,
    bytes: storedBytes(element, shape),
    async *parts(source) {
      for await (const part of read(words, source, ranges)) {
        yield repacked(part, {
          bits,
          entries: part.length / (4 * Q),
          size: rows * F,
          pitch: [(32 / bits) * Q, rows * F],
          turned: true,
        });
      }
    },
  };
}

/** How a file holds the experts' weights for an op that knows neither our order of axes nor drops. */
export interface ExpertsLayout {
  /** Experts of zeros after the experts' own: a dropped choice goes to one. */
  readonly nulls: number;
  /** Whether each expert's matrix [M, N] is held as [N, M]. */
  readonly transposed: boolean;
}

/** The tensor of experts' f32 weights [E, ...] in a layout of its own. */
export function expertsTensor(weight: Value, { nulls, transposed }: ExpertsLayout): WeightTensor {
  const plain = weightTensor(weight);
  const [experts = 1, ...sizes] = plain.shape;
  const shape = [experts + nulls, ...(transposed ? sizes.toReversed() : sizes)];
  const entryBytes = plain.bytes / experts;
  return {
    ...plain,
    name: `${plain.name}/${transposed ? "transposed" : "padded"}+${nulls}`,
    shape,
    bytes: entryBytes * (experts + nulls),
    async *parts(source) {
      for await (const part of plain.parts(source)) yield transposed ? turned(part, sizes) : part;
      for (let n = 0; n < nulls; n++) yield new Uint8Array(entryBytes);
    },
  };
}

/** Row-major f32 matrices [M, N], one after the other, as [N, M]. */
function turned(bytes: Uint8Array, [M = 1, N = 1]: Shape): Uint8Array {
  const from = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const to = new Float32Array(from.length);
  for (let start = 0; start < from.length; start += M * N) {
    for (let m = 0; m < M; m++) {
      for (let n = 0; n < N; n++) to[start + n * M + m] = from[start + m * N + n] as number;
    }
  }
  return new Uint8Array(to.buffer);
}

/**
 * Ranges of the first axis, of about `partBytes` each and all but the last of a multiple of `unit` entries; one of
 * everything where there is no axis.
 */
function cuts(shape: Shape, bytes: number, unit = 1): Rows[] {
  const [entries] = shape;
  if (entries === undefined || bytes <= partBytes) return [undefined];
  const step = unit * Math.max(1, Math.floor((partBytes * entries) / bytes / unit));
  return Array.from({ length: Math.ceil(entries / step) }, (_, i) => [
    i * step,
    Math.min(entries, (i + 1) * step),
  ]);
}
