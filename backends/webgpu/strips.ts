/** Weights in strips of columns, four rows of a run of them at a time: so a product reads an image one texel after the other. */
import { sizeOf, type TensorType, type Value } from "../../ir/index.ts";
import type { ImageFormat, Limits, ModuleImage, StripLayout } from "../../runtime/module.ts";
import type { Stored } from "./stored.ts";

/** Rows that lie together, and columns of a texel. */
const lanes = 4;

/** Texels of an image's row, at most: WebGPU's guaranteed `maxTextureDimension2D`. */
const widest = 8192;

/** The texels that hold elements of so many bits. */
const formats = { 32: "rgba32float", 16: "rgba16float", 8: "rgba32uint", 4: "rg32uint" } as const;

/** Bytes of a texel. */
const texelBytes: Readonly<Record<ImageFormat, number>> = {
  rgba32float: 16,
  rgba16float: 8,
  rgba32uint: 16,
  rg32uint: 8,
};

/** Whether elements are integers, of which a texel holds four rows of four columns; of floats, one row of them. */
export const areIntegers = ({ bits }: Pick<StripLayout, "bits">): boolean => bits < 16;

/** How wide strips are, and their runs. */
export type StripWidth = Pick<StripLayout, "columns" | "run">;

/** How matrices [matrices, K, N] lie in an image: strip by strip, each on rows of its own. */
export interface Strips extends StripLayout {
  readonly matrices: number;
  /** Strips of a matrix. */
  readonly across: number;
  /** Rows of the image that a strip takes. */
  readonly rows: number;
  /** Rows of the strip, side by side, in one of the image; whole vectors of them. */
  readonly steps: number;
}

/** Texels of four rows of a strip. */
export const texelsOf = (strips: Pick<StripLayout, "columns" | "bits">): number =>
  areIntegers(strips) ? strips.columns / lanes : strips.columns;

/** The matrices that are the last two axes of `shape`, of elements of `bits` bits, in strips of `columns`, and runs of `run`. */
export function stripsOf(
  { shape }: Pick<TensorType, "shape">,
  bits: StripLayout["bits"],
  { columns, run }: StripWidth,
): Strips {
  const [K = 1, N = 1] = shape.slice(-2);
  const most = Math.floor(widest / texelsOf({ columns, bits })) * lanes;
  const rows = Math.ceil(K / most);
  const steps = Math.ceil(K / rows / lanes) * lanes;
  return {
    K,
    N,
    columns,
    run,
    bits,
    matrices: sizeOf(shape.slice(0, -2)),
    across: Math.ceil(N / columns),
    rows,
    steps,
  };
}

/** Whether elements can lie in strips: of integers, rows are whole words, and scales are those of whole vectors of rows. */
export function canLieInStrips(
  { shape }: Pick<TensorType, "shape">,
  { bits, scales }: Pick<Stored, "bits" | "scales">,
): boolean {
  const [K = 1, N = 1] = shape.slice(-2);
  return !scales || (N % (32 / bits) === 0 && (scales.block % lanes === 0 || scales.block >= K));
}

/** The image of a weight in strips. */
export const imageOf = ({ matrices, across, rows, steps, ...strips }: Strips): ModuleImage => ({
  format: formats[strips.bits],
  width: (steps / lanes) * texelsOf(strips),
  height: matrices * across * rows,
});

/** Bytes of an image. */
export const imageBytes = ({ format, width, height }: ModuleImage): number =>
  width * height * texelBytes[format];

/** Bytes that a driver takes in one image: Mesa's software driver no more. */
const mostBytes = 2 ** 30;

/**
 * Entries of the first axis of a weight that one image holds: where these are its matrices, as many as there is room for;
 * otherwise all. 0 where there is no room.
 */
export function entriesPerImage(
  leaf: Value,
  strips: Strips,
  { maxTextureDimension2D: most }: Pick<Limits, "maxTextureDimension2D">,
): number {
  const [entries = 1] = leaf.type.shape;
  const isCut = entries === strips.matrices;
  const image = imageOf(isCut ? { ...strips, matrices: 1 } : strips);
  const fit = Math.min(Math.floor(most / image.height), Math.floor(mostBytes / imageBytes(image)));
  if (image.width > most || fit === 0) return 0;
  return isCut ? Math.min(entries, fit) : entries;
}

/** Elements row by row, those of whole matrices, as they lie in strips. */
export function inStrips(
  elements: Float32Array | Int32Array | Uint32Array | Uint16Array,
  layout: StripLayout,
): Float32Array | Int32Array | Uint32Array | Uint16Array {
  const { K, bits } = layout;
  // Four columns of integers move as one, with those of three other rows between them and the next.
  const each = areIntegers(layout) ? lanes : 1;
  const units = bits === 4 ? halvesOf(elements) : elements;
  const [N, columns, run] = [layout.N / each, layout.columns / each, layout.run / each];
  const { across, rows, steps } = stripsOf({ shape: [K, layout.N] }, bits, layout);
  const [matrices, height] = [units.length / (K * N), rows * steps];
  const laid = new (units.constructor as new (length: number) => typeof units)(
    matrices * across * height * columns,
  );
  for (let matrix = 0; matrix < matrices; matrix++) {
    for (let first = 0; first < N; first += run) {
      const column = first % columns;
      const strip = (matrix * across + (first - column) / columns) * height * columns;
      const width = Math.min(run, N - first);
      for (let k = 0; k < K; k++) {
        const [from, row] = [(matrix * K + k) * N + first, k % lanes];
        const at = strip + (k - row) * columns + column * lanes + row * (each === 1 ? run : 1);
        for (let n = 0; n < width; n++) laid[at + n * each] = units[from + n] as number;
      }
    }
  }
  return laid;
}

const halvesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint16Array =>
  new Uint16Array(buffer, byteOffset, byteLength / 2);
