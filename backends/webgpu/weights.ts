/** Weights in device memory: cut into parts that can be bound, packed into buffers, read part by part. */
import {
  byteLength,
  CompileError,
  readWeight,
  sameType,
  showType,
  sizeOf,
  Tensor,
  type TensorType,
  type Value,
  weight,
  type WeightSource,
} from "../../ir/index.ts";
import type { Limits, ModuleBuffer, StripLayout, WeightPart } from "../../runtime/module.ts";
import type { Part } from "../../runtime/program.ts";
import { alignment } from "./arenas.ts";
import type { Shard } from "./kernel.ts";
import { areIntegers, entriesPerImage, imageBytes, imageOf, inStrips, type Strips } from "./strips.ts";
import { weightBytesOf, weightData } from "./transfer.ts";
import type { LaidWeights } from "./weightLayout.ts";

/** A part of a weight, and where it lies. */
export type PlacedShard = Shard & { readonly part: WeightPart };

export interface PackedWeights {
  readonly buffers: readonly ModuleBuffer[];
  /** In the order of their places. */
  readonly parts: readonly WeightPart[];
  /** The parts of each weight, in order. */
  readonly shards: ReadonlyMap<Value, readonly PlacedShard[]>;
  /** How those lie that lie in strips. */
  readonly strips: ReadonlyMap<Value, Strips>;
}

/** Weights share buffers of at most this size, WebGPU's default for a binding; a larger part has one of its own. */
const packedBytes = 128 * 2 ** 20;

/** How a weight is cut along its first axis so that each part can be bound. */
export function shardsOf(value: Value, bindingBytes: number): Shard[] {
  const [entries = 1] = value.type.shape;
  const entryBytes = weightBytesOf(value.type.dtype, sizeOf(value.type.shape)) / entries;
  return cut(value, Math.max(1, Math.floor(bindingBytes / entryBytes)));
}

/** A weight in parts of at most so many entries. */
function cut(value: Value, most: number): Shard[] {
  const [entries = 1] = value.type.shape;
  return Array.from({ length: Math.ceil(entries / most) }, (_, index) => ({
    weight: value,
    index,
    start: index * most,
    stop: Math.min(entries, (index + 1) * most),
  }));
}

/**
 * Where `weights` lie on a device of the given limits, one after the other, then those in strips, each an image of its
 * own. Throws B3 for an entry that is too large.
 */
export function packWeights(
  weights: readonly Value[],
  limits: Limits,
  { joins = new Map(), strips = new Map() }: Partial<LaidWeights> = {},
): PackedWeights {
  const most = Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize);
  const buffers: (ModuleBuffer & { bytes: number })[] = [];
  const parts: WeightPart[] = [];
  const shards = new Map<Value, PlacedShard[]>();
  for (const value of weights) {
    if (strips.has(value)) continue;
    const { dtype, shape } = value.type;
    const name = value.leaf?.name ?? "";
    const joined = joins.get(value);
    const placed = shardsOf(value, most).map((shard): PlacedShard => {
      const { start, stop } = shard;
      const bytes = weightBytesOf(dtype, (sizeOf(shape) / (shape[0] ?? 1)) * (stop - start));
      if (bytes > most) throw tooLarge(name, value, most);
      const last = buffers.at(-1);
      const offset = Math.ceil((last?.bytes ?? 0) / alignment) * alignment;
      const fits = last && offset + bytes <= Math.min(most, packedBytes);
      if (fits) last.bytes = offset + bytes;
      else buffers.push({ label: `weights from ${name} on`, bytes });
      const place = { buffer: buffers.length - 1, offset: fits ? offset : 0, bytes };
      const part = { name, dtype, shape, start, stop, ...(joined && { joined }), place };
      parts.push(part);
      return { ...shard, part };
    });
    shards.set(value, placed);
  }
  for (const [value, layout] of strips) {
    const { dtype, shape } = value.type;
    const { K, N, columns, run, bits, matrices } = layout;
    const name = value.leaf?.name ?? "";
    const [entries = 1] = shape;
    const joined = joins.get(value);
    const placed = cut(value, entriesPerImage(value, layout, limits)).map((shard): PlacedShard => {
      const { start, stop } = shard;
      const image = imageOf({ ...layout, matrices: (matrices / entries) * (stop - start) });
      const bytes = imageBytes(image);
      const place = { buffer: buffers.push({ label: name, bytes, image }) - 1, offset: 0, bytes };
      const lies = { ...(joined && { joined }), strips: { K, N, columns, run, bits }, place };
      const part = { name, dtype, shape, start, stop, ...lies };
      parts.push(part);
      return { ...shard, part };
    });
    shards.set(value, placed);
  }
  return { buffers, parts, shards, strips };
}

export const tooLarge = (name: string, { type }: Value, bytes: number): CompileError =>
  new CompileError("B3", name, `must fit one binding of ${bytes} bytes here; it is ${showType(type)}`);

/** How much of a weight is in host memory at once. */
const readBytes = 16 * 2 ** 20;

/** The bytes of those of `parts` that lie in buffer `index`, from `source`. Throws W4 for a misread tensor. */
export async function* weightBytes(
  parts: readonly WeightPart[],
  source: WeightSource,
  index: number,
): AsyncGenerator<Part> {
  for (const part of parts) if (part.place.buffer === index) yield* partBytes(part, source);
}

async function* partBytes(part: WeightPart, source: WeightSource): AsyncGenerator<Part> {
  if (part.strips) {
    yield* stripBytes(part, part.strips, source);
    return;
  }
  const { dtype, shape, start, stop, place } = part;
  const [, ...rest] = shape;
  const entry = sizeOf(rest);
  // Every part but the last ends with a word.
  const grain = weightBytesOf(dtype, 2 * entry) === 2 * weightBytesOf(dtype, entry) ? 1 : 2;
  const grainBytes = grain * byteLength({ dtype, shape: rest });
  const step = grain * Math.max(1, Math.floor(readBytes / Math.max(1, grainBytes)));
  for (let at = start; at < stop; at += step) {
    const tensor = await readEntries(part, source, at, Math.min(at + step, stop));
    yield {
      offset: place.offset + weightBytesOf(dtype, entry * (at - start)),
      bytes: weightData(tensor),
    };
  }
}

/** Some matrices at a time, where each is an entry; otherwise all at once. */
async function* stripBytes(
  part: WeightPart,
  strips: StripLayout,
  source: WeightSource,
): AsyncGenerator<Part> {
  const { dtype, shape, start, stop, place } = part;
  const entry = shape.slice(1);
  const inWord = areIntegers(strips) ? 32 / strips.bits : 1;
  const isMatrix = inWord * sizeOf(entry) === strips.K * strips.N;
  const step = isMatrix
    ? Math.max(1, Math.floor(readBytes / byteLength({ dtype, shape: entry })))
    : stop - start;
  for (let [at, offset] = [start, place.offset]; at < stop; at += step) {
    const tensor = await readEntries(part, source, at, Math.min(at + step, stop));
    const bytes = inStrips(weightData(tensor).subarray(0, sizeOf(tensor.type.shape)), strips);
    yield { offset, bytes };
    offset += bytes.byteLength;
  }
}

/** Entries `start .. stop - 1` of a weight, joined of others where it is. */
async function readEntries(
  { name, dtype, shape, joined }: WeightPart,
  source: WeightSource,
  start: number,
  stop: number,
): Promise<Tensor> {
  if (!joined) return readChecked(source, name, { dtype, shape }, start, stop);
  const wanted = { dtype, shape: [stop - start, ...shape.slice(1)] };
  const bytes = new Uint8Array(byteLength(wanted));
  const size = byteLength({ dtype, shape: [] });
  let at = 0;
  for (const each of joined) {
    const type = { dtype, shape: each.shape };
    const from = (await readChecked(source, each.name, type, start, stop)).bytes;
    const run = size * each.run;
    const rows = from.length / run;
    const step = bytes.length / rows;
    for (let n = 0; n < rows; n++) bytes.set(from.subarray(n * run, (n + 1) * run), n * step + at);
    at += run;
  }
  return Tensor.fromBytes(wanted, bytes);
}

async function readChecked(
  source: WeightSource,
  name: string,
  type: TensorType,
  start: number,
  stop: number,
): Promise<Tensor> {
  const [, ...rest] = type.shape;
  const isScalar = type.shape.length === 0;
  const tensor = await readWeight(source, weight(name, type), isScalar ? undefined : [start, stop]);
  const want: TensorType = isScalar ? type : { dtype: type.dtype, shape: [stop - start, ...rest] };
  if (sameType(tensor.type, want)) return tensor;
  throw new CompileError("W4", name, `must read as ${showType(want)}; got ${showType(tensor.type)}`);
}
