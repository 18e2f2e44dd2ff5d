/** Files that are broken on purpose, in places that agree with each other: what each is told, before it costs anything. */
import { encode, ExtData } from "@msgpack/msgpack";
import { expect, test } from "vitest";

import { memorySource } from "../../files/bytes.ts";
import { readWeights } from "../../models/weights/read.ts";
import { readVmoeCheckpoint } from "../../models/weights/vmoe/checkpoint.ts";
import { expectOneLine } from "../support/errors.ts";
import { type ZipEntry, zipDirectory, zipLocal } from "../support/foreign.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const joined = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

/** The error of reading all of a file, and the memory that it took, in MiB. */
async function told(bytes: Uint8Array): Promise<string> {
  const before = process.memoryUsage();
  const started = performance.now();
  let message = "nothing";
  try {
    const source = await readWeights(memorySource("file", bytes));
    for (const name of source.tensors.keys()) await source.read(name);
  } catch (error) {
    ({ message } = expectOneLine(error));
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  expect(performance.now() - started).toBeLessThan(2000);
  expect(heapUsed + arrayBuffers - before.heapUsed - before.arrayBuffers).toBeLessThan(
    100 * bytes.length + 2 ** 25,
  );
  return message;
}

function safetensors(header: Readonly<Record<string, unknown>>, data = 0): Uint8Array {
  const json = text(JSON.stringify(header));
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(json.length), true);
  return joined(prefix, json, new Uint8Array(data));
}

const tensor = (shape: readonly number[], start: number, stop: number): unknown => ({
  dtype: "F32",
  shape,
  data_offsets: [start, stop],
});

test.each([
  ["a product of sizes beyond all numbers", { x: tensor([2 ** 52, 2 ** 52], 0, 4) }, 4, "countless bytes"],
  ["a tensor inside another", { x: tensor([2], 0, 8), y: tensor([1], 4, 8) }, 8, "must start at byte"],
  ["a hole", { x: tensor([1], 4, 8) }, 8, "must start at byte"],
  [
    "a type that nobody has",
    { x: { ...(tensor([1], 0, 4) as object), dtype: "toString" } },
    4,
    "has dtype toString",
  ],
  [
    "three in one that are not three",
    { "blocks.0.attn.qkv.weight": tensor([4, 1], 0, 16) },
    16,
    "blocks.0.attn.qkv.weight must have a first axis of 3 equal parts; it is [4, 1]",
  ],
  [
    "a matrix that is none",
    { "blocks.0.attn.qkv.weight": tensor([3], 0, 12) },
    12,
    "blocks.0.attn.qkv.weight must have 2 axes; it is [3]",
  ],
  [
    "one parameter under two names",
    {
      "Transformer/encoderblock_0/LayerNorm_1/bias": tensor([1], 0, 4),
      "Transformer/encoderblock_0/LayerNorm_2/bias": tensor([1], 4, 8),
    },
    8,
    "has Encoder/encoderblock_0/LayerNorm_1/bias twice",
  ],
  [
    "a note that is no configuration",
    { __metadata__: { "moec.config": "[]" }, x: tensor([1], 0, 4) },
    4,
    "not a JSON object",
  ],
])("safetensors: %s", async (_, header, data, message) => {
  expect(await told(safetensors(header, data))).toContain(message);
});

test("safetensors: axes without end of a tensor without elements cost nothing", async () => {
  const header = {
    "blocks.0.attn.qkv.weight": tensor([3, 1], 0, 12),
    "blocks.0.mlp.fc1.weight": tensor([2 ** 52, 0], 12, 12),
    "blocks.0.mlp.fc2.weight": tensor([0, 2 ** 52], 12, 12),
  };
  expect(await told(safetensors(header, 12))).toBe("nothing");
});

/** An archive of stored members. */
function archive(
  members: readonly (readonly [name: string, bytes: Uint8Array, lie?: Partial<ZipEntry>])[],
): Uint8Array {
  const parts: Uint8Array[] = [];
  const entries: ZipEntry[] = [];
  let offset = 0;
  for (const [name, bytes, lie] of members) {
    const entry: ZipEntry = { name, method: 0, compressed: bytes.length, size: bytes.length, offset, ...lie };
    entries.push(entry);
    parts.push(zipLocal(entry), bytes);
    offset += zipLocal(entry).length + bytes.length;
  }
  return joined(...parts, zipDirectory(entries, offset));
}

function npy(shape: string, order: string, data: number): Uint8Array {
  const header = text(`{'descr': '<f4', 'fortran_order': ${order}, 'shape': (${shape}), }\n`);
  return joined(
    Uint8Array.of(0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length, 0),
    header,
    new Uint8Array(data),
  );
}

const one = npy("1,", "False", 4);

test.each([
  [
    "more elements than there are bytes",
    archive([["x.npy", npy("1073741824, 4", "True", 16)]]),
    "has 16 bytes of elements",
  ],
  [
    "a member that comes twice",
    archive([
      ["x.npy", one],
      ["x.npy", one],
    ]),
    "has x.npy twice",
  ],
  [
    "a member that is larger than the archive",
    archive([["x.npy", one, { size: 2 ** 40, compressed: 2 ** 40 }]]),
    "cannot be in",
  ],
  [
    "more than deflation can make of it",
    archive([["x.npy", one, { method: 8, size: 2 ** 40 }]]),
    "cannot be in",
  ],
  ["bytes that are not deflated", archive([["x.npy", one, { method: 8 }]]), "x.npy is corrupt: "],
  ["a member where there is none", archive([["x.npy", one, { offset: 7 }]]), "has no member at byte 7"],
  [
    "a way of packing that nobody uses",
    archive([["x.npy", one, { method: 14 as 8 }]]),
    "packed by method 14",
  ],
  ["no array at all", archive([["data.pkl", one]]), "save the state dictionary as safetensors"],
])("npz: %s", async (_, bytes, message) => {
  expect(await told(bytes)).toContain(message);
});

const array = (shape: readonly number[], bytes: number): ExtData =>
  new ExtData(1, encode([shape, "float32", new Uint8Array(bytes)]));

test.each([
  [
    "more elements than bytes",
    encode({ x: array([2 ** 40], 4) }),
    "x of [1099511627776] float32 has 4 bytes",
  ],
  ["an array that is none", encode({ x: new ExtData(1, encode(7)) }), "x is corrupt"],
  [
    "pieces with a hole",
    encode({ x: { __msgpack_chunked_array__: true, shape: { 1: 2 }, chunks: { 0: array([2], 8) } } }),
    "x is corrupt: its pieces have no shape by number",
  ],
  [
    "maps in maps",
    joined(...Array.from({ length: 50_000 }, () => Uint8Array.of(0x81, 0xa1, 0x61))),
    "more than 64 maps within each other",
  ],
  [
    "more entries than bytes",
    Uint8Array.of(0xdf, 0xff, 0xff, 0xff, 0xff, 0xa1, 0x61),
    "ends inside the map of 4294967295",
  ],
])("msgpack: %s", async (_, bytes, message) => {
  expect(await told(bytes)).toContain(message);
});

const packed = (value: unknown): Uint8Array => new Uint8Array(encode(value));

/** The error of reading a checkpoint of one data file. */
async function checkpoint(index: Uint8Array, data: Uint8Array): Promise<string> {
  try {
    const source = await readVmoeCheckpoint((suffix) =>
      Promise.resolve(memorySource(suffix, suffix === ".index" ? index : data)),
    );
    for (const name of source.tensors.keys()) await source.read(name);
    return "nothing";
  } catch (error) {
    return expectOneLine(error).message;
  }
}

test("checkpoint: a slice that claims more than it has", async () => {
  const size = 2 ** 40;
  const region = packed([packed([0, size, null])]);
  const leaf = new ExtData(8, packed([packed([[size], "float32", false, {}]), [region], [0]]));
  const index = packed({ shard_count: 1, index: { x: leaf }, version: "20220622" });
  const chunk = [[array([1], 4)], new ExtData(6, region)];
  const data = packed({ __msgpack_array_chunk_a87ca2__: true, "0": [chunk] });
  expect(await checkpoint(index, data)).toContain(`a slice of ${size} elements has 4 bytes`);
});

test("checkpoint: lists in lists that are as long as the file", async () => {
  const list = Uint8Array.of(0xdd, 0, 0, 0x40, 0);
  const index = joined(...Array.from({ length: 8000 }, () => list));
  expect(await checkpoint(index, new Uint8Array())).toMatch(/containers within each other|ends inside/);
});
