/** Weights in strips of columns, four rows of a run of them at a time: so a product reads an image one texel after the other. */
import { sizeOf, type TensorType, type Value } from "../../ir/index.ts";
import type { Limits, ModuleImage, StripLayout } from "../../runtime/module.ts";
import { isPacked } from "./transfer.ts";

/** Elements of a texel. */
const lanes = 4;

/** Texels of an image's row, at most: WebGPU's guaranteed `maxTextureDimension2D`. */
const widest = 8192;

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

/** The matrices that are the last two axes of `shape`, in strips of `columns`, and runs of `run`. */
export function stripsOf({ shape }: Pick<TensorType, "shape">, { columns, run }: StripWidth): Strips {
  const [K = 1, N = 1] = shape.slice(-2);
  const most = Math.floor(widest / columns) * lanes;
  const rows = Math.ceil(K / most);
  const steps = Math.ceil(K / rows / lanes) * lanes;
  return {
    K,
    N,
    columns,
    run,
    matrices: sizeOf(shape.slice(0, -2)),
    across: Math.ceil(N / columns),
    rows,
    steps,
  };
}

/** The image of a weight in strips. */
export const imageOf = (leaf: Value, { matrices, across, rows, steps, columns }: Strips): ModuleImage => ({
  format: isPacked(leaf) ? "rgba16float" : "rgba32float",
  width: (steps * columns) / lanes,
  height: matrices * across * rows,
});

/** Bytes of an image. */
export const imageBytes = ({ format, width, height }: ModuleImage): number =>
  width * height * (format === "rgba16float" ? 8 : 16);

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
  const image = imageOf(leaf, isCut ? { ...strips, matrices: 1 } : strips);
  const fit = Math.min(Math.floor(most / image.height), Math.floor(mostBytes / imageBytes(image)));
  if (image.width > most || fit === 0) return 0;
  return isCut ? Math.min(entries, fit) : entries;
}

/** Elements row by row, those of whole matrices, as they lie in strips. */
export function inStrips<T extends Float32Array | Int32Array | Uint32Array | Uint16Array>(
  elements: T,
  { K, N, columns, run }: StripLayout,
): T {
  const matrices = elements.length / (K * N);
  const { across, rows, steps } = stripsOf({ shape: [K, N] }, { columns, run });
  const height = rows * steps;
  const laid = new (elements.constructor as new (length: number) => T)(matrices * across * height * columns);
  for (let matrix = 0; matrix < matrices; matrix++) {
    for (let first = 0; first < N; first += run) {
      const column = first % columns;
      const strip = (matrix * across + (first - column) / columns) * height * columns;
      const width = Math.min(run, N - first);
      for (let k = 0; k < K; k++) {
        const from = (matrix * K + k) * N + first;
        const at = strip + (k - (k % lanes)) * columns + column * lanes + (k % lanes) * run;
        for (let n = 0; n < width; n++) laid[at + n] = elements[from + n] as number;
      }
    }
  }
  return laid;
}
