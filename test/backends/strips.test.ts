/** Weights in strips: where their elements lie, which weights do, and products of them against the reference. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { dawn } from "../../backends/webgpu/dawn.ts";
import { compile, type Profile, profiles, webgpuOn } from "../../backends/webgpu/index.ts";
import { stripWidth } from "../../backends/webgpu/profile.ts";
import { imageBytes, imageOf, inStrips, stripsOf } from "../../backends/webgpu/strips.ts";
import { layWeights } from "../../backends/webgpu/weightLayout.ts";
import { packWeights, weightBytes } from "../../backends/webgpu/weights.ts";
import { evaluate, Graph, input, ops, Tensor, type Value, weight } from "../../ir/index.ts";
import { Device } from "../../runtime/device.ts";
import { type Part, Program, type ReadWeights } from "../../runtime/program.ts";
import { asCpu, gpu } from "../support/adapter.ts";
import { expectClose } from "../support/close.ts";
import { expectRefusal } from "../support/errors.ts";
import { drawn, f32, inputsFor, layer, weightsFor } from "../support/moeLayer.ts";
import { runs, someOf } from "../support/runs.ts";
import { memoryWeights } from "../support/weights.ts";

const [software, generic] = profiles as [Profile, Profile];
const widened = (half: Value): Value => ops.cast(half, { to: "f32" });
const single = (name: string, ...shape: number[]): Value => weight(name, f32(shape));

const layouts = fc.record({
  matrices: fc.integer({ min: 1, max: 3 }),
  K: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(511, 512, 513, 1030, 2049)),
  N: fc.integer({ min: 1, max: 150 }),
  run: fc.constantFrom(16, 32),
  vectors: fc.integer({ min: 1, max: 4 }),
});

test("every float lies in its strip, four rows of a run at a time, and zeros between", () => {
  fc.assert(
    fc.property(layouts, ({ matrices, K, N, run, vectors }) => {
      const columns = vectors * run;
      const strips = stripsOf({ shape: [matrices, K, N] }, 32, { columns, run });
      const { width, height } = imageOf(strips);
      expect(width).toBeLessThanOrEqual(8192);
      const elements = Float32Array.from({ length: matrices * K * N }, (_, i) => i + 1);
      const laid = inStrips(elements, { K, N, columns, run, bits: 32 });
      expect(laid.length).toBe(4 * width * height);
      const { rows, steps, across } = strips;
      // No more is added than what makes rows of one length.
      expect(rows * steps - K).toBeLessThan(4 * rows);
      expect(steps % 4).toBe(0);
      let sum = 0;
      for (const value of laid) sum += value;
      expect(sum).toBe((elements.length * (elements.length + 1)) / 2);
      const found = Array.from({ length: 50 }, (_, n) => (n * 7919) % elements.length).every((at) => {
        const [matrix, k, n] = [Math.floor(at / (K * N)), Math.floor(at / N) % K, at % N];
        const y = (matrix * across + Math.floor(n / columns)) * rows + Math.floor(k / steps);
        const [row, column] = [k % steps, n % columns];
        const before = Math.floor(row / 4) * 4 * vectors + Math.floor(column / run) * 4 + (row % 4);
        return laid[4 * y * width + before * run + (column % run)] === at + 1;
      });
      expect(found).toBe(true);
    }),
    { numRuns: runs(60) },
  );
});

test.each([8, 4] as const)("every integer of %i bits lies in its texel, row by row", (bits) => {
  fc.assert(
    fc.property(layouts, ({ matrices, K, N: words, run, vectors }) => {
      const [each, columns] = [32 / bits, vectors * run];
      const N = words * each;
      const { across, rows, steps, ...strips } = stripsOf({ shape: [matrices, K, N] }, bits, {
        columns,
        run,
      });
      const image = imageOf({ across, rows, steps, ...strips });
      expect(image.width).toBeLessThanOrEqual(8192);
      const given = Uint32Array.from({ length: matrices * K * words }, (_, i) => (i + 1) * 2_654_435_761);
      const laid = inStrips(given, { K, N, columns, run, bits });
      expect(laid.byteLength).toBe(imageBytes(image));
      const field = ({ buffer }: ArrayBufferView, i: number): number =>
        (new Uint32Array(buffer)[Math.floor(i / each)]! >>> (bits * (i % each))) % 2 ** bits;
      for (let n = 0, at = 0; n < 50; n++, at = (at + 7919) % (matrices * K * N)) {
        const [matrix, k, column] = [Math.floor(at / (K * N)), Math.floor(at / N) % K, at % N];
        const y = (matrix * across + Math.floor(column / columns)) * rows + Math.floor(k / steps);
        const x = (Math.floor((k % steps) / 4) * columns + (column % columns)) / 4;
        const texel = y * image.width + Math.floor(x);
        expect(field(laid, 16 * texel + 4 * (k % 4) + (column % 4))).toBe(field(given, at));
      }
    }),
    { numRuns: runs(40) },
  );
});

describe("which weights lie in strips", () => {
  const x = input("x", f32([6, 8]));
  const half = weight("w", { dtype: "f16", shape: [8, 8] });
  const w = single("w", 8, 8);
  const namesFor = (outputs: readonly Value[], profile = software): (string | undefined)[] => {
    const graph = new Graph(
      "some",
      [x],
      outputs.map((value, i) => [`r${i}`, value]),
    );
    return [...layWeights(graph, profile).strips.keys()].map(({ leaf }) => leaf?.name);
  };

  test("those that products alone read, also seen otherwise, packed, and twice", () => {
    expect(namesFor([ops.matmul(x, w)])).toEqual(["w"]);
    expect(namesFor([ops.matmul(x, ops.reshape(single("v", 2, 4, 3), { shape: [8, 3] }))])).toEqual(["v"]);
    expect(namesFor([ops.matmul(x, widened(half)), ops.matmul(ops.tanh(x), widened(half))])).toEqual(["w"]);
    expect(namesFor([ops.matmul(x, w), ops.matmul(ops.tanh(x), w)])).toEqual(["w"]);
    const joined = ops.concat(single("p", 8, 3), single("q", 8, 4), { axis: 1 });
    expect(namesFor([ops.matmul(x, joined)])).toEqual(["p | q"]);
  });

  test("none that anything else reads, that is two shapes of factor, or that no image can hold", () => {
    expect(namesFor([ops.matmul(x, w), ops.tanh(w)])).toEqual([]);
    expect(namesFor([ops.matmul(x, w), w])).toEqual([]);
    expect(namesFor([ops.matmul(w, single("v", 8, 3))])).toEqual(["v"]);
    expect(namesFor([ops.matmul(x, widened(half)), ops.tanh(widened(half))])).toEqual([]);
    const split = ops.reshape(w, { shape: [2, 4, 8] });
    const left = ops.reshape(x, { shape: [2, 6, 4] });
    expect(namesFor([ops.matmul(x, w), ops.matmul(left, split)])).toEqual([]);
    const limits = { ...software.limits, maxTextureDimension2D: 31 };
    expect(namesFor([ops.matmul(x, w)], { ...software, limits })).toEqual([]);
    expect(namesFor([ops.matmul(x, w)], generic)).toEqual([]);
    const wide = single("wide", 8, 12);
    expect(namesFor([ops.matmul(x, ops.slice(wide, { start: [0, 0], limit: [8, 8] }))])).toEqual([]);
  });

  test("integers whose rows are whole words, in blocks of whole vectors of rows", () => {
    const left = input("left", f32([1, 6, 12]));
    const right = (bits: 8 | 4, N: number, block: number, scales?: Value): Value =>
      ops.dequantize(
        weight("q", { dtype: "u32", shape: [1, Math.ceil((12 * N * bits) / 32)] }),
        scales ?? single("scales", 1, Math.ceil(12 / block), N),
        { bits, rows: 12, block },
      );
    expect(namesFor([ops.matmul(left, right(8, 4, 4))])).toEqual(["q"]);
    expect(namesFor([ops.matmul(left, right(4, 8, 13))])).toEqual(["q"]);
    expect(namesFor([ops.matmul(left, right(8, 6, 4))])).toEqual([]);
    expect(namesFor([ops.matmul(left, right(4, 4, 4))])).toEqual([]);
    expect(namesFor([ops.matmul(left, right(8, 4, 6))])).toEqual([]);
    const both = right(8, 4, 4);
    expect(namesFor([ops.matmul(left, both), ops.tanh(both)])).toEqual([]);
    const scales = single("scales", 1, 12, 4);
    expect(namesFor([ops.matmul(left, right(8, 4, 1, scales)), ops.matmul(left, scales)])).toEqual([]);
  });
});

/** Inner axes of one row of an image and of several, whole and not; columns that end before a strip does. */
const sizes: readonly (readonly [M: number, K: number, N: number])[] = [
  [1, 8, 64],
  [5, 516, 72],
  [25, 1027, 36],
  [3, 2114, 72],
  [50, 7, 129],
  [17, 512, 4],
];

/** Two matrices of integers that are a weight with its scales, a row of them for some rows of the matrix. */
function integers(bits: 8 | 4, K: number, N: number): Value {
  const [rows, block] = [K, Math.min(32, K)];
  const words = weight(`words${bits}`, { dtype: "u32", shape: [2, Math.ceil((K * N * bits) / 32)] });
  return ops.dequantize(words, single(`scales${bits}`, 2, Math.ceil(K / block), N), { bits, rows, block });
}

/** The program of products of every kind of weight in strips, with numbers for it. */
function products(M: number, K: number, N: number): { graph: Graph; tensors: Map<string, Tensor> } {
  const x = input("x", f32([2, M, K]));
  const halves = weight("h", { dtype: "f16", shape: [K, N] });
  const outputs: [string, Value][] = [
    ["linear", ops.gelu(ops.linear(x, single("w", K, N), single("b", N)), { approximate: "tanh" })],
    ["batch", ops.matmul(x, single("v", 2, K, N))],
    ["half", ops.matmul(ops.reshape(x, { shape: [2 * M, K] }), widened(halves))],
    ...([8, 4] as const).map((bits): [string, Value] => [`int${bits}`, ops.matmul(x, integers(bits, K, N))]),
  ];
  const graph = new Graph("products", [x], outputs);
  const tensors = new Map(
    [x, ...graph.weights].map(({ leaf, type }) => {
      const tensor = drawn(leaf!.name, type.shape);
      if (type.dtype === "u32")
        return [
          leaf!.name,
          Tensor.from(
            type,
            tensor.numbers().map((n) => Math.floor(Math.abs(n) * 2 ** 29)),
          ),
        ];
      return [leaf!.name, type.dtype === "f16" ? Tensor.from(type, tensor.numbers()) : tensor];
    }),
  );
  return { graph, tensors };
}

/** Whether the adapter has no subgroups that can run the tiles for strips. */
const noStrips = stripWidth(asCpu) === undefined;

test.skipIf(noStrips).each(someOf(sizes, 1))(
  "products [%i, %i] x [., %i], read in parts of any length",
  async (M, K, N) => {
    const { graph, tensors } = products(M, K, N);
    const device = await Device.open(gpu);
    try {
      const module = compile(graph, asCpu);
      expect(module.weights.filter(({ strips }) => strips).map(({ name }) => name)).toEqual([
        "w",
        "v",
        "h",
        // Rows of others are no whole words.
        ...(N % 4 === 0 ? ["words8"] : []),
        ...(N % 8 === 0 ? ["words4"] : []),
      ]);
      const images = module.buffers.flatMap(({ image, bytes }) => (image ? [{ image, bytes }] : []));
      expect(images.map(({ bytes }) => bytes)).toEqual(images.map(({ image }) => imageBytes(image)));
      expect(module.limits.maxTextureDimension2D).toBe(
        Math.max(...images.flatMap(({ image: { width, height } }) => [width, height])),
      );
      const source = memoryWeights(tensors);
      const read: ReadWeights = async function* cut(index): AsyncGenerator<Part> {
        let size = 3;
        for await (const { offset, bytes } of weightBytes(module.weights, source, index)) {
          // Whole texels: of some, up to several rows at once.
          for (let at = 0; at < bytes.byteLength; size = (size * 5 + 1) % 4001) {
            const length = Math.min(16 * (1 + size), bytes.byteLength - at);
            yield { offset: offset + at, bytes: new Uint8Array(bytes.buffer, bytes.byteOffset + at, length) };
            at += length;
          }
        }
      };
      const program = await Program.load(device, module, read);
      const got = await program.run(new Map([["x", tensors.get("x")!.data as Float32Array]]));
      const want = evaluate(graph, ({ leaf }) => tensors.get(leaf!.name)!);
      expectClose(
        [...want].map(([name, { type }]) => new Tensor(type, got.get(name)!)),
        [...want.values()],
        dawn.tolerance,
      );
      program.dispose();
    } finally {
      device.close();
    }
  },
);

test("experts that one image cannot hold are cut, and what no image can hold lies in a buffer", async () => {
  const given = { G: 2, T: 9, E: 5, D: 8, F: 2560 };
  const graph = layer(given, { k: 2, capacity: 5 });
  const profile = { ...software, limits: { ...software.limits, maxTextureDimension2D: 128 } };
  const { weights } = compile(graph, profile);
  const parts = weights.flatMap(({ name, start, stop, strips }) => (strips ? [{ name, start, stop }] : []));
  expect(parts).toEqual([
    { name: "w1", start: 0, stop: 3 },
    { name: "w1", start: 3, stop: 5 },
  ]);
  const engine = await webgpuOn(() => Promise.resolve(gpu), profile).open();
  try {
    const program = await engine.compile(graph, memoryWeights(weightsFor(given)));
    const got = await program.run(inputsFor(given));
    const leaves = new Map([...weightsFor(given), ...inputsFor(given)]);
    const want = evaluate(graph, ({ leaf }) => leaves.get(leaf!.name)!);
    expectClose([...got.values()], [...want.values()], dawn.tolerance);
  } finally {
    engine.close();
  }
});

test("a device with smaller images is refused by what it lacks", async () => {
  const { graph } = products(5, 516, 70);
  const device = await Device.open(gpu);
  const module = compile(graph, asCpu);
  const limits = { ...module.limits, maxTextureDimension2D: 2 ** 20 };
  expectRefusal(() => device.ensure("products", { ...module, limits }), "maxTextureDimension2D 1048576");
  device.close();
});

test("the bytes of an image are those of the strips, one after the other", async () => {
  const w = single("w", 3, 20, 70);
  const x = input("x", f32([3, 4, 20]));
  const laid = layWeights(new Graph("experts", [x], [["y", ops.matmul(x, w)]]), software);
  const { parts, buffers } = packWeights(laid.graph.weights, software.limits, laid);
  const all = drawn("w", [3, 20, 70]);
  const got: number[] = [];
  for await (const { offset, bytes } of weightBytes(parts, memoryWeights(new Map([["w", all]])), 0)) {
    expect(offset).toBe(4 * got.length);
    got.push(...(bytes as Float32Array));
  }
  expect(buffers[0]!.bytes).toBe(4 * got.length);
  expect(got).toEqual([
    ...inStrips(all.data as Float32Array, { K: 20, N: 70, columns: 64, run: 32, bits: 32 }),
  ]);
});
