/** The index of a V-MoE checkpoint: a tree of shapes, and which data file holds which slice. */
import { decode, ExtData, ExtensionCodec } from "@msgpack/msgpack";

import { type ByteSource, fileError } from "../../../files/bytes.ts";
import type { DType, TensorType } from "../../../ir/index.ts";
import { checkMsgpack } from "../msgpack.ts";
import { isSizes } from "../stored.ts";
import type { Region } from "./region.ts";

/** A tensor of the checkpoint. */
export interface Leaf {
  /** The key of the leaf's chunks in data files. */
  readonly number: number;
  readonly type: TensorType;
  readonly parts: readonly { readonly region: Region; readonly shard: number }[];
}

export interface Index {
  /** By '/'-joined name, without the prefix of a training checkpoint's parameters. */
  readonly leaves: ReadonlyMap<string, Leaf>;
  readonly shardCount: number;
}

const dtypeNames: Readonly<Record<string, DType>> = {
  float32: "f32",
  float16: "f16",
  bfloat16: "bf16",
  int32: "i32",
  uint32: "u32",
  bool: "bool",
};

const versions = [undefined, null, "20220622"];
const indexInfo = 8;

/** The index in `bytes`; throws W1 naming `file` where they are none. */
export function parseIndex(file: ByteSource, bytes: Uint8Array): Index {
  const root = decodeOr(file, bytes);
  if (!isMap(root) || !isMap(root["index"]) || !Number.isSafeInteger(root["shard_count"])) {
    throw fileError(file.name, "is not a V-MoE checkpoint's index: needs shard_count and index");
  }
  if (!versions.includes(root["version"] as string | undefined)) {
    throw fileError(file.name, `must be of version 20220622 or older; got ${String(root["version"])}`);
  }
  const shardCount = root["shard_count"] as number;
  const leaves = new Map<string, Leaf>();
  let number = 0;
  const visit = (tree: unknown, path: readonly string[]): void => {
    if (tree instanceof ExtData) {
      const leaf = parseLeaf(file, path.join("/"), tree, number++, shardCount);
      if (leaf) leaves.set(path.join("/"), leaf);
    } else if (isMap(tree)) {
      for (const key of Object.keys(tree).toSorted()) visit(tree[key], [...path, key]);
    } else if (tree !== null) throw fileError(file.name, `${path.join("/")} is neither a tree nor a tensor`);
  };
  visit(root["index"], []);
  const training = [...leaves.keys()].some((name) => name.startsWith("params/"));
  if (!training) return { leaves, shardCount };
  const params = [...leaves].flatMap(([name, leaf]): [string, Leaf][] =>
    name.startsWith("params/") ? [[name.slice("params/".length), leaf]] : [],
  );
  return { leaves: new Map(params), shardCount };
}

/** A leaf of the index; undefined for a dtype that no parameter has, such as a 64-bit step count. */
function parseLeaf(
  file: ByteSource,
  name: string,
  data: ExtData,
  number: number,
  shardCount: number,
): Leaf | undefined {
  const broken = (): never => {
    throw fileError(file.name, `the entry of ${name} is corrupt`);
  };
  if (data.type !== indexInfo || typeof data.data === "function") return broken();
  const [aval, regions, shards] = asList(decodeOr(file, data.data)) ?? broken();
  const [shape, dtypeName] = asList(decodeOr(file, aval)) ?? broken();
  if (!isSizes(shape) || !isSizes(shards) || !Array.isArray(regions) || regions.length !== shards.length)
    return broken();
  const parts = regions.map((region, j) => {
    const parsed = parseRegion(file, region) ?? broken();
    const fits =
      parsed.length === shape.length &&
      parsed.every(([a, b], axis) => 0 <= a && a <= b && b <= (shape[axis] ?? 0));
    const shard = shards[j] ?? -1;
    return fits && shard < shardCount ? { region: parsed, shard } : broken();
  });
  const dtype = dtypeNames[String(dtypeName)];
  return dtype && { number, type: { dtype, shape }, parts };
}

/** The payload of a list of slices: one `[start, stop, step]` an axis, each packed on its own. */
export function parseRegion(file: ByteSource, payload: unknown): Region | undefined {
  const slices = asList(decodeOr(file, payload))?.map((slice) => asList(decodeOr(file, slice)));
  const good = slices?.every((slice) => Number.isSafeInteger(slice?.[0]) && Number.isSafeInteger(slice?.[1]));
  return good ? slices?.map((slice) => [slice?.[0] as number, slice?.[1] as number]) : undefined;
}

const codec = new ExtensionCodec();

function decodeOr(file: ByteSource, payload: unknown): unknown {
  if (!(payload instanceof Uint8Array)) throw fileError(file.name, "is corrupt: expected packed bytes");
  checkMsgpack(file.name, payload);
  const limit = payload.length;
  try {
    return decode(payload, { extensionCodec: codec, maxArrayLength: limit, maxMapLength: limit });
  } catch (error) {
    throw fileError(file.name, `is not msgpack: ${(error as Error).message.split("\n")[0]}`);
  }
}

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" &&
  value !== null &&
  !Array.isArray(value) &&
  !(value instanceof Uint8Array) &&
  !(value instanceof ExtData);

const asList = (value: unknown): readonly unknown[] | undefined => (Array.isArray(value) ? value : undefined);
