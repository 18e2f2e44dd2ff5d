/** safetensors files round trip, are read lazily, and fail in one line. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import fc from "fast-check";
import { afterAll, expect, test } from "vitest";

import { memorySource } from "../../files/bytes.ts";
import { writeFileAtomically } from "../../files/disk.ts";
import { dtypes, sizeOf, Tensor, type WeightSource } from "../../ir/index.ts";
import { openWeights } from "../../models/weights/open.ts";
import { readSafetensors, writeSafetensors } from "../../models/weights/safetensors.ts";
import { expectOneLine } from "../support/errors.ts";

const folder = mkdtempSync(join(tmpdir(), "moec-"));
afterAll(() => rmSync(folder, { recursive: true }));

const sourceOf = (tensors: ReadonlyMap<string, Tensor>): WeightSource => ({
  tensors: new Map([...tensors].map(([name, tensor]) => [name, tensor.type])),
  read: (name) => Promise.resolve(tensors.get(name)!),
  close: () => Promise.resolve(),
});

async function written(tensors: ReadonlyMap<string, Tensor>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  await writeSafetensors(sourceOf(tensors), (bytes) => Promise.resolve(void parts.push(bytes.slice())));
  return new Uint8Array(Buffer.concat(parts));
}

const anyTensor = fc
  .record({
    dtype: fc.constantFrom(...dtypes),
    shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }),
  })
  .chain(({ dtype, shape }) => {
    const length = sizeOf(shape);
    return fc
      .array(fc.integer({ min: 0, max: 100 }), { minLength: length, maxLength: length })
      .map((numbers) => Tensor.from({ dtype, shape }, numbers));
  });

/** Tensors by name: any but that of the format's own entry. */
const anyTensors = fc
  .dictionary(
    fc.string({ minLength: 1 }).filter((name) => name !== "__metadata__"),
    anyTensor,
  )
  .map((tensors) => new Map(Object.entries(tensors)));

const [full, empty] = [[1], [0]].map((shape) => Tensor.of("f32", shape, () => 0)) as [Tensor, Tensor];

test("what is written reads back, bit for bit", async () => {
  await fc.assert(
    fc.asyncProperty(anyTensors, async (tensors) => {
      const source = await readSafetensors(memorySource("file", await written(tensors)));
      expect(source.tensors).toEqual(sourceOf(tensors).tensors);
      for (const [name, tensor] of tensors) expect((await source.read(name)).bytes).toEqual(tensor.bytes);
    }),
    {
      examples: [
        // JSON puts "0" first, though the file's first bytes, none, are those of " ".
        [
          new Map([
            ["0", full],
            [" ", empty],
          ]),
        ],
        [new Map([["__proto__", full]])],
      ],
    },
  );
});

test("rows are read without the rest", async () => {
  const tensor = Tensor.of("bf16", [4, 2, 3], (a, b, c) => a * 6 + b * 3 + c);
  const source = await readSafetensors(memorySource("file", await written(new Map([["x", tensor]]))));
  const rows = await source.read("x", [1, 3]);
  expect(rows.type).toEqual({ dtype: "bf16", shape: [2, 2, 3] });
  expect(Array.from(rows.numbers())).toEqual(Array.from({ length: 12 }, (_, i) => i + 6));
});

const example = new Map([
  ["a", Tensor.of("f32", [2, 3], (i, j) => i + j)],
  ["b/c", Tensor.of("i32", [2], (i) => i)],
]);

async function attempt(mutated: Uint8Array): Promise<unknown> {
  try {
    const source = await readSafetensors(memorySource("file", mutated));
    for (const name of source.tensors.keys()) await source.read(name);
    return undefined;
  } catch (error) {
    return expectOneLine(error);
  }
}

test("every truncation, and mutated bytes, are an error of one line or a result", async () => {
  const bytes = await written(example);
  for (let length = 0; length < bytes.length; length++)
    expect(await attempt(bytes.slice(0, length))).toBeDefined();
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(255), async (at, byte) => {
      await attempt(bytes.with(at, byte));
    }),
  );
});

test("a failed write leaves neither the file nor a part of it", async () => {
  const path = join(folder, "out.safetensors");
  const failing = { ...sourceOf(example), read: () => Promise.reject(new Error("disk on fire")) };
  await expect(writeFileAtomically(path, (sink) => writeSafetensors(failing, sink))).rejects.toThrow(
    "disk on fire",
  );
  expect(readdirSync(folder)).toEqual([]);
  await writeFileAtomically(path, (sink) => writeSafetensors(sourceOf(example), sink));
  expect(readdirSync(folder)).toEqual(["out.safetensors"]);
  expect(new Uint8Array(readFileSync(path))).toEqual(await written(example));
  const source = await openWeights(path);
  expect((await source.read("a")).data).toEqual(example.get("a")!.data);
  await source.close();
});

test("what is not a file of weights is said so", async () => {
  const path = join(folder, "notes.txt");
  writeFileSync(path, "not weights at all, only words");
  await expect(openWeights(path)).rejects.toThrow(/notes.txt: .*safetensors/);
  await expect(openWeights(folder)).rejects.toThrow(/no such file/);
});
