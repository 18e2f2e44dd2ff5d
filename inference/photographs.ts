/** Photographs to model inputs, as the original evaluates. Source: google-research/vmoe, vmoe/data/pp_ops.py. */
import { stat } from "node:fs/promises";

import type sharp from "sharp";

import { fileError } from "../files/bytes.ts";
import { CompileError, Tensor } from "../ir/index.ts";

/** RGB, row-major, 0 to 255. */
interface Picture {
  readonly width: number;
  readonly height: number;
  readonly pixels: ArrayLike<number>;
}

/**
 * How a picture becomes a square: `crop` shrinks its smaller side to 256 / 224 of the size, by area, and takes the
 * centre, as in pre-training; `squash` stretches it, bilinearly and in whole steps of 0 to 255, as in fine-tuning.
 */
export type Fit = "crop" | "squash";

const resizedShare = 256 / 224;

/** The library that reads and writes pictures; all else works without it. Throws B2 where it cannot be loaded. */
async function library(): Promise<typeof sharp> {
  try {
    return (await import("sharp")).default;
  } catch {
    throw new CompileError("B2", "photographs", "need the package sharp: npm install sharp");
  }
}

/** The versions of that library and of those that it is made of. Throws B2. */
export const imageLibrary = async (): Promise<Readonly<Record<string, string>>> =>
  (await library()).versions as unknown as Readonly<Record<string, string>>;

/** The pictures at `paths` as f32[B, height, width, 3] in [-1, 1]. Throws W1 naming a file that is no picture. */
export async function readImages(
  paths: readonly string[],
  size: number | readonly [height: number, width: number],
  fit: Fit = "crop",
): Promise<Tensor> {
  const [height, width] = typeof size === "number" ? [size, size] : size;
  if (fit === "crop" && height !== width) {
    throw new CompileError("U1", "--fit", `crop makes squares; for ${height} x ${width} use squash`);
  }
  const numbers = new Float32Array(paths.length * height * width * 3);
  for (const [i, path] of paths.entries()) {
    const picture = await decode(path);
    const square = fit === "crop" ? cropped(picture, height) : squashed(picture, height, width);
    // value_range(-1, 1) of the original, in its order of operations.
    for (let j = 0; j < square.length; j++)
      numbers[i * square.length + j] = ((square[j] as number) / 255) * 2 - 1;
  }
  return new Tensor({ dtype: "f32", shape: [paths.length, height, width, 3] }, numbers);
}

/** Image `i` of f32[B, height, width, 3] in [-1, 1] as a data URI, for pages and pictures. */
export async function dataUri({ type, data }: Tensor, i: number): Promise<string> {
  const [, height = 1, width = 1, channels = 3] = type.shape;
  const size = height * width * channels;
  const pixels = Uint8Array.from(data.subarray(i * size, (i + 1) * size), (v) =>
    Math.round(((v + 1) / 2) * 255),
  );
  const raw = { width, height, channels: channels as 3 };
  const draw = await library();
  const bytes = await draw(pixels, { raw }).jpeg({ quality: 85 }).toBuffer();
  return `data:image/jpeg;base64,${bytes.toString("base64")}`;
}

async function decode(path: string): Promise<Picture> {
  const exists = await stat(path).then(
    (status) => status.isFile(),
    () => false,
  );
  if (!exists) throw fileError(path, "no such file");
  const draw = await library();
  try {
    const upright = draw(path).autoOrient().toColourspace("srgb").removeAlpha();
    const { data, info } = await upright.raw().toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) throw new Error(`it has ${info.channels} channels`);
    return { width: info.width, height: info.height, pixels: data };
  } catch (error) {
    throw fileError(path, `is not a picture that can be read: ${(error as Error).message.split("\n")[0]}`);
  }
}

function cropped(picture: Picture, size: number): ArrayLike<number> {
  const ratio = Math.round(size * resizedShare) / Math.min(picture.width, picture.height);
  const [width, height] = [Math.round(picture.width * ratio), Math.round(picture.height * ratio)];
  const small = resize(picture, byArea(picture.height, height), byArea(picture.width, width));
  const [top, left] = [Math.floor((height - size) / 2), Math.floor((width - size) / 2)];
  return Float64Array.from({ length: size * size * 3 }, (_, i) => {
    const [y, x] = [Math.floor(i / (size * 3)), Math.floor(i / 3) % size];
    return small[((top + y) * width + left + x) * 3 + (i % 3)] as number;
  });
}

const squashed = (picture: Picture, height: number, width: number): ArrayLike<number> =>
  resize(picture, bilinear(picture.height, height), bilinear(picture.width, width)).map(Math.trunc);

/** For each place of an output axis, which places of the input axis it is made of, and their shares. */
type Weights = readonly (readonly (readonly [place: number, share: number])[])[];

/** Each output place is the mean of the stretch of input that it covers. */
function byArea(from: number, to: number): Weights {
  const scale = from / to;
  return Array.from({ length: to }, (_, i) => {
    const [start, stop] = [i * scale, Math.min((i + 1) * scale, from)];
    const places = Array.from(
      { length: Math.ceil(stop) - Math.floor(start) },
      (__, n) => Math.floor(start) + n,
    );
    return places.map((place) => {
      const covered = Math.min(place + 1, stop) - Math.max(place, start);
      return [place, covered / (stop - start)] as const;
    });
  });
}

/** Each output place lies between two input places; centres of pixels are at halves; no antialiasing. */
function bilinear(from: number, to: number): Weights {
  return Array.from({ length: to }, (_, i) => {
    const at = (i + 0.5) * (from / to) - 0.5;
    const low = Math.floor(at);
    const clamp = (place: number): number => Math.min(Math.max(place, 0), from - 1);
    return [
      [clamp(low), 1 - (at - low)],
      [clamp(low + 1), at - low],
    ] as const;
  });
}

/** The picture under weights for its rows and its columns. O(pixels x weights). */
function resize({ width, pixels }: Picture, rows: Weights, columns: Weights): Float64Array {
  const out = new Float64Array(rows.length * columns.length * 3);
  for (const [y, down] of rows.entries()) {
    for (const [x, across] of columns.entries()) {
      const at = (y * columns.length + x) * 3;
      for (const [row, share] of down) {
        for (const [column, part] of across) {
          const from = (row * width + column) * 3;
          for (let c = 0; c < 3; c++)
            out[at + c] = (out[at + c] as number) + share * part * (pixels[from + c] as number);
        }
      }
    }
  }
  return out;
}
