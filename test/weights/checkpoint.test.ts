/** V-MoE checkpoints read back bit for bit, lazily, and fail in one line. */
import { readFileSync } from "node:fs";

import fc from "fast-check";
import { expect, test } from "vitest";

import { type ByteSource, memorySource } from "../../files/bytes.ts";
import { CompileError, type Tensor } from "../../ir/index.ts";
import { openWeights } from "../../models/weights/open.ts";
import { readVmoeCheckpoint } from "../../models/weights/vmoe/checkpoint.ts";
import { expectOneLine } from "../support/errors.ts";
import { goldenPath, tinyVmoe } from "../support/golden.ts";

const parts = (prefix: string): Map<string, Uint8Array> =>
  new Map(
    [".index", ".data-00000-of-00002", ".data-00001-of-00002", ".data-00000-of-00001"].flatMap((suffix) => {
      try {
        return [[suffix, new Uint8Array(readFileSync(goldenPath(prefix + suffix)))] as const];
      } catch {
        return [];
      }
    }),
  );

const opener =
  (
    files: ReadonlyMap<string, Uint8Array>,
    onRead: (suffix: string, length: number) => void = () => undefined,
  ) =>
  (suffix: string): Promise<ByteSource> => {
    const source = memorySource(suffix, files.get(suffix) ?? new Uint8Array());
    const read = (offset: number, length: number): Promise<Uint8Array> => {
      onRead(suffix, length);
      return source.read(offset, length);
    };
    return Promise.resolve({ ...source, read });
  };

test("the smallest checkpoint", async () => {
  const source = await openWeights(goldenPath("mini"));
  expect([...source.tensors]).toEqual([
    ["x", { dtype: "f32", shape: [5] }],
    ["y", { dtype: "i32", shape: [] }],
  ]);
  expect((await source.read("x")).data).toEqual(Float32Array.of(0, 1, 2, 3, 4));
  expect((await source.read("y")).data).toEqual(Int32Array.of(1));
  await source.close();
});

test("all 74 sharded parameters, bit for bit, with or without the .index ending", async () => {
  const { weights } = tinyVmoe();
  for (const path of ["tiny_vmoe_ckpt", "tiny_vmoe_ckpt.index"]) {
    const source = await openWeights(goldenPath(path));
    expect([...source.tensors.keys()].toSorted()).toEqual([...weights.tensors.keys()].toSorted());
    for (const name of weights.tensors.keys()) {
      const [got, want] = [await source.read(name), await weights.read(name)];
      expect(got.type).toEqual(want.type);
      expect(got.bytes).toEqual(want.bytes);
    }
    await source.close();
  }
});

test("one expert is read without the rest", async () => {
  const name = "Encoder/encoderblock_1/Moe/Mlp/Dense_0/kernel";
  const whole = await tinyVmoe().weights.read(name);
  let bytesRead = 0;
  const source = await readVmoeCheckpoint(
    opener(parts("tiny_vmoe_ckpt"), (_, length) => (bytesRead += length)),
  );
  for (let e = 0; e < 4; e++) {
    await source.read(name, [e, e + 1]);
    bytesRead = 0;
    const expert = await source.read(name, [e, e + 1]);
    const size = whole.data.length / 4;
    expect(expert.type.shape).toEqual([1, 16, 32]);
    expect(expert.data).toEqual(whole.data.slice(e * size, (e + 1) * size));
    expect(bytesRead).toBe(expert.bytes.length);
  }
});

/** Reads everything there is; the outcome of a broken checkpoint must be a CompileError of one line. */
async function outcome(files: ReadonlyMap<string, Uint8Array>): Promise<Tensor[] | CompileError> {
  try {
    const source = await readVmoeCheckpoint(opener(files));
    const tensors: Tensor[] = [];
    for (const name of source.tensors.keys()) tensors.push(await source.read(name));
    return tensors;
  } catch (error) {
    return expectOneLine(error);
  }
}

test("an old checkpoint without a version, and a training checkpoint's parameters", async () => {
  const { encode, ExtData } = await import("@msgpack/msgpack");
  const files = parts("mini");
  const infos = decodeIndex(files.get(".index")!);
  const old = encode({ shard_count: 1, index: infos });
  expect(await outcome(new Map([...files, [".index", old]]))).toHaveLength(2);
  const training = encode({
    shard_count: 1,
    index: { params: { x: infos["x"] }, step: infos["y"] },
    version: "20220622",
  });
  const source = await readVmoeCheckpoint(opener(new Map([...files, [".index", training]])));
  expect([...source.tensors.keys()]).toEqual(["x"]);
  expect((await source.read("x")).data).toEqual(Float32Array.of(0, 1, 2, 3, 4));
  const newer = encode({ shard_count: 1, index: infos, version: "20300101" });
  expect(await outcome(new Map([...files, [".index", newer]]))).toMatchObject({ code: "W1" });
  expect(infos["x"]).toBeInstanceOf(ExtData);
});

function decodeIndex(bytes: Uint8Array): Record<string, unknown> {
  // The smallest index holds x and y as extensions; the library gives them back as they are.
  const { decode } = msgpack;
  return (decode(bytes) as { index: Record<string, unknown> }).index;
}
const msgpack = await import("@msgpack/msgpack");

test("every truncation of either file is an error of one line", async () => {
  const files = parts("mini");
  for (const [suffix, bytes] of files) {
    for (let length = 0; length < bytes.length; length++) {
      expect(await outcome(new Map([...files, [suffix, bytes.slice(0, length)]]))).toBeInstanceOf(
        CompileError,
      );
    }
  }
});

test("mutated bytes give tensors or an error of one line", async () => {
  for (const prefix of ["mini", "tiny_vmoe_ckpt"]) {
    const files = parts(prefix);
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...files.keys()),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        async (suffix, edits) => {
          const bytes = files.get(suffix)!.slice();
          for (const [at, byte] of edits) bytes[at % Math.min(bytes.length, 4000)] = byte;
          await outcome(new Map([...files, [suffix, bytes]]));
        },
      ),
    );
  }
});

test("a missing data file is named", async () => {
  const files = parts("tiny_vmoe_ckpt");
  files.delete(".data-00001-of-00002");
  expect(await outcome(files)).toMatchObject({ code: "W1", subject: ".data-00001-of-00002" });
  await expect(openWeights(goldenPath("nowhere"))).rejects.toThrow(/nowhere: no such file/);
});
