/** 16-bit floats, tensors, and the functions of plain numbers, against independent definitions. */
import fc from "fast-check";
import { expect, test } from "vitest";

import { decodeBF16, decodeF16, encodeBF16, encodeF16 } from "../../ir/float.ts";
import { Tensor } from "../../ir/index.ts";
import { errorFunction } from "../../ir/ops/numeric.ts";
import { runs } from "../support/runs.ts";

const every16 = Array.from({ length: 65536 }, (_, bits) => bits);

test.each([
  ["f16", encodeF16, decodeF16],
  ["bf16", encodeBF16, decodeBF16],
] as const)("%s: every pattern reads back", (_, encode, decode) => {
  const wrong = every16.filter((bits) => !Number.isNaN(decode(bits)) && encode(decode(bits)) !== bits);
  expect(wrong).toEqual([]);
  expect(decode(encode(Number.NaN))).toBeNaN();
});

test.each([
  ["f16", encodeF16, decodeF16],
  ["bf16", encodeBF16, decodeBF16],
] as const)(
  "%s: numbers between two neighbours go to the nearer, ties to the even one",
  (_, encode, decode) => {
    const wrong = every16.slice(0, 32768).filter((bits) => {
      const [low, high] = [decode(bits), decode(bits + 1)];
      if (!Number.isFinite(low) || !Number.isFinite(high)) return false;
      const at = (share: number): number => encode(low + (high - low) * share);
      const right = [at(0.5) === bits + (bits % 2), at(0.49) === bits, at(0.51) === bits + 1];
      return !right.every(Boolean) || encode(-(low + high) / 2) !== (at(0.5) | 0x8000);
    });
    expect(wrong).toEqual([]);
    expect(decode(encode(1e39))).toBe(Number.POSITIVE_INFINITY);
  },
);

test.each([
  ["f16", encodeF16, decodeF16],
  ["bf16", encodeBF16, decodeBF16],
] as const)("%s: of any float32 no neighbour is nearer, or as near and even", (_, encode, decode) => {
  const word = new Uint32Array(1);
  const number = new Float32Array(word.buffer);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (bits) => {
      word[0] = bits;
      const x = number[0]!;
      fc.pre(Number.isFinite(x) && Number.isFinite(decode(encode(x))));
      const near = encode(x);
      const off = Math.abs(decode(near) - x);
      for (const other of [near - 1, near + 1].filter((each) => (each & 0x7fff) < 0x7c00 && each >= 0)) {
        const further = Math.abs(decode(other) - x);
        expect(further > off || (further === off && near % 2 === 0)).toBe(true);
      }
    }),
    { numRuns: runs(2000) },
  );
});

test("bfloat16 is the upper half of a float32 where nothing is rounded", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xff7f }), (bits) => {
      const word = new Uint32Array([bits << 16]);
      fc.pre(!Number.isNaN(new Float32Array(word.buffer)[0]!));
      expect(decodeBF16(bits)).toBe(new Float32Array(word.buffer)[0]);
    }),
  );
});

test("a tensor's elements, bytes and bounds", () => {
  const tensor = Tensor.of("bf16", [2, 3], (i, j) => i + j / 3);
  expect(tensor.at(1, 2)).toBe(decodeBF16(encodeBF16(1 + 2 / 3)));
  expect(() => tensor.at(2, 0)).toThrow(/outside bf16\[2, 3\]/);
  expect(() => tensor.at(0)).toThrow(RangeError);
  const shifted = new Uint8Array(tensor.bytes.length + 1);
  shifted.set(tensor.bytes, 1);
  expect(Tensor.fromBytes(tensor.type, shifted.subarray(1))).toEqual(tensor);
  expect(() => new Tensor({ dtype: "f32", shape: [3] }, new Float32Array(2))).toThrow(/does not fit/);
  expect(() => new Tensor({ dtype: "f32", shape: [2] }, new Int32Array(2))).toThrow(/does not fit/);
});

test("erf, from Abramowitz and Stegun, table 7.1, and its symmetry", () => {
  for (const [x, y] of [
    [0, 0],
    [0.1, 0.112462916],
    [0.5, 0.5204998778],
    [1, 0.8427007929],
    [1.5, 0.9661051465],
    [2, 0.995322265],
    [2.4, 0.9993114861],
    [2.6, 0.9997639656],
    [6, 1],
  ] as const) {
    expect(errorFunction(x)).toBeCloseTo(y, 10);
    expect(errorFunction(-x)).toBeCloseTo(-y, 10);
  }
});

test("a view of bytes that are not aligned is a copy, of Node's buffers too", () => {
  const bytes = Buffer.concat([Buffer.of(0), Buffer.from(Float32Array.of(1, 2).buffer)]);
  const tensor = Tensor.fromBytes({ dtype: "f32", shape: [2] }, bytes.subarray(1));
  expect([...tensor.numbers()]).toEqual([1, 2]);
});
