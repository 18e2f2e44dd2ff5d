/** Weights in device memory: cut into parts that can be bound, packed into buffers, read part by part. */
import {
  byteLength,
  CompileError,
  readWeight,
  sameType,
  showType,
  sizeOf,
  type TensorType,
  type Value,
  weight,
  type WeightSource,
} from "../../ir/index.ts";
import type { ModuleBuffer, Limits, WeightPart } from "../../runtime/module.ts";
import type { Part } from "../../runtime/program.ts";
import { alignment } from "./arenas.ts";
import type { Shard } from "./kernel.ts";
import { deviceBytes, deviceData } from "./transfer.ts";

/** A part of a weight, and where it lies. */
export type PlacedShard = Shard & { readonly part: WeightPart };

export interface PackedWeights {
  readonly buffers: readonly ModuleBuffer[];
  /** In the order of their places. */
  readonly parts: readonly WeightPart[];
  /** The parts of each weight, in order. */
  readonly shards: ReadonlyMap<Value, readonly PlacedShard[]>;
}

/** Weights share buffers of at most this size, WebGPU's default for a binding; a larger part has one of its own. */
const packedBytes = 128 * 2 ** 20;

/** How a weight is cut along its first axis so that each part can be bound. */
export function shardsOf(value: Value, bindingBytes: number): Shard[] {
  const [entries = 1] = value.type.shape;
  const entryBytes = deviceBytes(value.type) / entries;
  const most = Math.max(1, Math.floor(bindingBytes / entryBytes));
  return Array.from({ length: Math.ceil(entries / most) }, (_, index) => ({
    weight: value,
    index,
    start: index * most,
    stop: Math.min(entries, (index + 1) * most),
  }));
}

/** Where `weights` lie on a device of the given limits, one after the other. Throws B3 for an entry that is too large. */
export function packWeights(
  weights: readonly Value[],
  { maxBufferSize, maxStorageBufferBindingSize }: Limits,
): PackedWeights {
  const most = Math.min(maxBufferSize, maxStorageBufferBindingSize);
  const buffers: { label: string; bytes: number }[] = [];
  const parts: WeightPart[] = [];
  const shards = new Map<Value, PlacedShard[]>();
  for (const value of weights) {
    const { dtype, shape } = value.type;
    const name = value.leaf?.name ?? "";
    const placed = shardsOf(value, most).map((shard): PlacedShard => {
      const { start, stop } = shard;
      const bytes = (deviceBytes(value.type) / (shape[0] ?? 1)) * (stop - start);
      if (bytes > most) throw tooLarge(name, value, most);
      const last = buffers.at(-1);
      const offset = Math.ceil((last?.bytes ?? 0) / alignment) * alignment;
      const fits = last && offset + bytes <= Math.min(most, packedBytes);
      if (fits) last.bytes = offset + bytes;
      else buffers.push({ label: `weights from ${name} on`, bytes });
      const place = { buffer: buffers.length - 1, offset: fits ? offset : 0, bytes };
      const part = { name, dtype, shape, start, stop, place };
      parts.push(part);
      return { ...shard, part };
    });
    shards.set(value, placed);
  }
  return { buffers, parts, shards };
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

async function* partBytes(
  { name, dtype, shape, start, stop, place }: WeightPart,
  source: WeightSource,
): AsyncGenerator<Part> {
  const value = weight(name, { dtype, shape });
  const [, ...rest] = shape;
  const entry = sizeOf(rest);
  const step = Math.max(1, Math.floor(readBytes / Math.max(1, byteLength({ dtype, shape: rest }))));
  for (let at = start; at < stop; at += step) {
    const end = Math.min(at + step, stop);
    const tensor = await readWeight(source, value, shape.length === 0 ? undefined : [at, end]);
    const want: TensorType = shape.length === 0 ? value.type : { dtype, shape: [end - at, ...rest] };
    if (!sameType(tensor.type, want)) {
      throw new CompileError("W4", name, `must read as ${showType(want)}; got ${showType(tensor.type)}`);
    }
    yield { offset: place.offset + 4 * entry * (at - start), bytes: deviceData(tensor) };
  }
}
