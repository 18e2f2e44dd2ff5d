/** Broken files of every format: each gives its tensors or one line, in time, and in memory of the file's own size. */
import { readFileSync } from "node:fs";

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type ByteSource, memorySource } from "../../files/bytes.ts";
import { CompileError, type WeightSource } from "../../ir/index.ts";
import { readWeights } from "../../models/weights/read.ts";
import { writeSafetensors } from "../../models/weights/safetensors.ts";
import { readVmoeCheckpoint } from "../../models/weights/vmoe/checkpoint.ts";
import { expectOneLine } from "../support/errors.ts";
import { goldenPath } from "../support/golden.ts";

type Files = ReadonlyMap<string, Uint8Array>;

const filesOf = (...paths: readonly string[]): Files =>
  new Map(paths.map((path) => [path, new Uint8Array(readFileSync(goldenPath(path)))]));

/** What is broken: the only file, or one of a checkpoint's. */
const bases: readonly Files[] = [
  filesOf("weights/small.safetensors"),
  filesOf("weights/small.npz"),
  filesOf("weights/small-deflated.npz"),
  filesOf("weights/small.msgpack"),
  filesOf("mini.index", "mini.data-00000-of-00001"),
  filesOf("tiny_vmoe_ckpt.index", "tiny_vmoe_ckpt.data-00000-of-00002", "tiny_vmoe_ckpt.data-00001-of-00002"),
];

/** Files in all: 100,000 at night. */
const cases = Math.ceil((process.env["MOEC_NIGHTLY"] ? 100_000 : 480) / bases.length);

/** Numbers that lengths, counts and offsets are replaced by, given the file's size and the place itself. */
const lies: readonly ((size: number, at: number) => bigint)[] = [
  ...[
    0n,
    1n,
    0x7fn,
    0xffn,
    0xffffn,
    2n ** 31n - 1n,
    2n ** 32n - 1n,
    2n ** 53n,
    2n ** 62n,
    2n ** 64n - 1n,
  ].map((lie) => () => lie),
  (size) => BigInt(size),
  (size) => BigInt(size - 1),
  (size) => BigInt(size + 1),
  // What refers to itself goes round in circles.
  (_, at) => BigInt(at),
];

/** What opens a container in the formats, or declares one of very many entries. */
const openings = [
  "[",
  '{"a":',
  "\x91",
  "\x81\xa0",
  "\x81\xa1a",
  "\xdd\x00\x0f\xff\xff",
  "\xdf\x0f\xff\xff\xff",
  "\xc7\xff\x01",
];

const latin = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

const joined = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

type Mutation = (bytes: Uint8Array) => Uint8Array;

/** A place in a file, as a share of its length; all alike, where doubles would mostly be near 0. */
const place = fc.noBias(fc.nat(2 ** 20 - 1)).map((n) => n / 2 ** 20);
const index = (share: number, size: number): number => Math.min(size - 1, Math.floor(share * size));

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  // Truncation.
  place.map(
    (end): Mutation =>
      (bytes) =>
        bytes.slice(0, index(end, bytes.length)),
  ),
  // A flipped bit.
  fc.tuple(place, fc.nat(7)).map(([at, bit]): Mutation => (bytes) => {
    const i = index(at, bytes.length);
    return bytes.with(i, bytes[i]! ^ (1 << bit));
  }),
  // Another byte.
  fc.tuple(place, fc.nat(255)).map(
    ([at, byte]): Mutation =>
      (bytes) =>
        bytes.with(index(at, bytes.length), byte),
  ),
  // A length, count or offset that lies, in either order of bytes.
  fc
    .tuple(place, fc.constantFrom(1, 2, 4, 8), fc.constantFrom(...lies), fc.boolean())
    .map(([at, width, lie, little]): Mutation => (bytes) => {
      const i = index(at, bytes.length);
      const value = Array.from({ length: width }, (_, byte) =>
        Number((lie(bytes.length, i) >> BigInt(8 * byte)) & 0xffn),
      );
      const changed = bytes.slice();
      changed.set((little ? value : value.toReversed()).slice(0, bytes.length - i), i);
      return changed;
    }),
  // Digits of a header in text.
  fc
    .tuple(place, fc.constantFrom("0", "9", "99999", "9007199254740993", "-1", "1e300"))
    .map(([at, digits]): Mutation => (bytes) => {
      const from = index(at, bytes.length);
      const i = bytes.findIndex((byte, j) => j >= from && byte >= 0x30 && byte <= 0x39);
      return i < 0 ? bytes : joined(bytes.subarray(0, i), latin(digits), bytes.subarray(i + 1));
    }),
  // A part once more in another's place: names that come twice, entries that overlap.
  fc.tuple(place, place, fc.integer({ min: 1, max: 80 })).map(([from, to, length]): Mutation => (bytes) => {
    const [source, target] = [index(from, bytes.length), index(to, bytes.length)];
    return bytes.slice().copyWithin(target, source, source + length);
  }),
  // A part once more, between others; or cut out.
  fc.tuple(place, place, fc.nat(80)).map(([from, to, length]): Mutation => (bytes) => {
    const [source, target] = [index(from, bytes.length), index(to, bytes.length)];
    return joined(bytes.subarray(0, target), bytes.subarray(source, source + length), bytes.subarray(target));
  }),
  fc.tuple(place, fc.integer({ min: 1, max: 80 })).map(([at, length]): Mutation => (bytes) => {
    const i = index(at, bytes.length);
    return joined(bytes.subarray(0, i), bytes.subarray(i + length));
  }),
  // Containers within each other, deep.
  fc
    .tuple(place, fc.constantFrom(...openings), fc.integer({ min: 1, max: 3000 }))
    .map(([at, opening, depth]): Mutation => (bytes) => {
      const i = index(at, bytes.length);
      return joined(bytes.subarray(0, i), latin(opening.repeat(depth)), bytes.subarray(i));
    }),
);

/** Bytes of the largest buffer that was asked for. */
let largest = 0;
const Plain = globalThis.Uint8Array;
beforeAll(() => {
  globalThis.Uint8Array = new Proxy(Plain, {
    construct(target, args: unknown[], newTarget) {
      if (typeof args[0] === "number") largest = Math.max(largest, args[0]);
      return Reflect.construct(target, args, newTarget) as object;
    },
  });
});
afterAll(() => {
  globalThis.Uint8Array = Plain;
});

const open = (files: Files): Promise<WeightSource> => {
  const [[first, bytes] = ["", new Plain()]] = files;
  if (files.size === 1) return readWeights(memorySource(first, bytes));
  const prefix = first.replace(/\.index$/, "");
  const part = (suffix: string): Promise<ByteSource> => {
    const found = files.get(prefix + suffix);
    if (!found) throw new CompileError("W1", prefix + suffix, "no such file");
    return Promise.resolve(memorySource(prefix + suffix, found));
  };
  return readVmoeCheckpoint(part);
};

/** Reads all tensors in parts, as a conversion does. */
async function readAll(files: Files): Promise<"tensors" | CompileError> {
  try {
    const source = await open(files);
    await writeSafetensors(source, () => Promise.resolve());
    await source.close();
    return "tensors";
  } catch (error) {
    return expectOneLine(error);
  }
}

/** The least that readers take at a time, whatever a file's size. */
const window = 2 ** 17;
const patienceMs = 5000;

describe.each(bases.map((files) => [[...files.keys()].join(", "), files] as const))("%s", (_, files) => {
  test("is read where nothing is broken", async () => {
    largest = 0;
    expect(await readAll(files)).toBe("tensors");
    // The measure works.
    expect(largest).toBeGreaterThan(0);
  });

  test("gives tensors or one line where it is broken", async () => {
    const outcomes = new Set<unknown>();
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...files.keys()),
        fc.array(mutation, { minLength: 1, maxLength: 3 }),
        async (name, mutations) => {
          const bytes = mutations.reduce(
            (broken, mutate) => (broken.length > 0 ? mutate(broken) : broken),
            files.get(name)!,
          );
          const broken = new Map([...files, [name, bytes]]);
          const size = [...broken.values()].reduce((sum, { length }) => sum + length, 0);
          largest = 0;
          const started = performance.now();
          const outcome = await readAll(broken);
          expect(performance.now() - started).toBeLessThan(patienceMs);
          expect(largest).toBeLessThan(4 * size + window);
          outcomes.add(typeof outcome === "string" ? outcome : "error");
        },
      ),
      { numRuns: cases },
    );
    expect(outcomes).toEqual(new Set(["tensors", "error"]));
  });
});
