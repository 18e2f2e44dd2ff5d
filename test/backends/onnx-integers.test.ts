/** Small integers in ONNX files: what `dequantize` means, to the last bit, in as many bytes as they have; and back. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";

import { embedded, exportOnnx, importOnnx, type OnnxProgram } from "../../backends/onnx/index.ts";
import { decodeModel, smallElement } from "../../backends/onnx/proto.ts";
import { openModel } from "../../backends/onnx/runtime.ts";
import { evaluate, Graph, input, ops, Tensor, type Value, verify, weight } from "../../ir/index.ts";
import { allOf, inTwoFiles } from "../support/onnxExample.ts";
import { runs } from "../support/runs.ts";
import { memoryWeights } from "../support/weights.ts";

const folder = mkdtempSync(join(tmpdir(), "moec-integers-"));
afterAll(() => rmSync(folder, { recursive: true }));

type Tensors = ReadonlyMap<string, Tensor>;

/** One tensor of integers, seen as matrices in two ways, beside its words themselves. */
interface Integers {
  readonly bits: 8 | 4;
  readonly E: number;
  readonly rows: number;
  readonly F: number;
  readonly tensors: Tensors;
  readonly graph: Graph;
}

const dequantized = (words: Value, name: string, { bits, rows, F }: Sizes, block: number): Value => {
  const [E = 1] = words.type.shape;
  const scales = weight(`${name}/scales`, { dtype: "f32", shape: [E, Math.ceil(rows / block), F] });
  return ops.dequantize(words, scales, { bits, rows, block });
};
type Sizes = Pick<Integers, "bits" | "E" | "rows" | "F">;

/** u32[E, Q] of arbitrary fields, and zeros after the last of each entry. */
function wordsOf({ bits, E, rows, F }: Sizes, pick: (i: number) => number): Tensor {
  const Q = Math.ceil((rows * F * bits) / 32);
  const words = Tensor.zeros({ dtype: "u32", shape: [E, Q] });
  for (let i = 0; i < E * rows * F; i++) {
    const [e, at] = [Math.floor(i / rows / F), i % (rows * F)];
    const [word, place] = [e * Q + Math.floor((at * bits) / 32), (at * bits) % 32];
    words.data[word] = (words.data[word]! | (pick(i) << place)) >>> 0;
  }
  return words;
}

/** One entry and one field, rows that no block divides, and matrices that end within a byte are among them. */
const integers = fc
  .record({
    bits: fc.constantFrom(8 as const, 4 as const),
    E: fc.integer({ min: 1, max: 4 }),
    rows: fc.integer({ min: 1, max: 70 }),
    F: fc.integer({ min: 1, max: 5 }),
    blocks: fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 3 })),
    draws: fc.infiniteStream(fc.nat(2 ** 20)),
  })
  .map(({ bits, E, rows, F, blocks, draws }): Integers => {
    const pick = (n: number): number => (draws.next().value as number) % n;
    const sizes = { bits, E, rows, F };
    const tall = dequantized(weight("words", wordsOf(sizes, () => 0).type), "tall", sizes, blocks[0]);
    const words = tall.node!.operands[0]!;
    const wide = dequantized(words, "wide", { bits, E, rows: F, F: rows }, blocks[1]);
    const scales = [tall, wide].map(({ node }) => node!.operands[1]!);
    const tensors = new Map([
      ["words", wordsOf(sizes, () => pick(2 ** bits))],
      ...scales.map(({ leaf, type }): [string, Tensor] => [
        leaf!.name,
        Tensor.of("f32", type.shape, () => (pick(2001) - 1000) / 256),
      ]),
    ]);
    const x = input("x", { dtype: "f32", shape: [1] });
    const outputs: [string, Value][] = [
      ["tall", tall],
      ["wide", wide],
      ["its words", words],
      ["same", x],
    ];
    return { ...sizes, tensors, graph: new Graph("integers", [x], outputs) };
  });

const x = Tensor.of("f32", [1], () => 1);

const meant = ({ graph, tensors }: Pick<Integers, "graph" | "tensors">): Tensors =>
  evaluate(graph, ({ leaf }) => (leaf!.name === "x" ? x : tensors.get(leaf!.name)));

async function byRuntime(bytes: Uint8Array): Promise<Tensors> {
  const path = join(folder, "integers.onnx");
  writeFileSync(path, bytes);
  const model = await openModel(path);
  const outputs = await model.run(new Map([["x", x]]));
  await model.close();
  return outputs;
}

const typesOf = (program: OnnxProgram): string[] =>
  (program.model.graph?.node ?? []).map(({ opType }) => opType ?? "");

const few = { numRuns: runs(40) };

test("ONNX Runtime computes what is meant, from as many bytes as there are bits", async () => {
  await fc.assert(
    fc.asyncProperty(integers, async (given) => {
      const { bits, E, rows, F, tensors, graph } = given;
      const program = exportOnnx(graph.select(["tall", "wide", "same"]));
      expect(typesOf(program)).toEqual(["DequantizeLinear", "DequantizeLinear", "Identity"]);
      const stored = program.weights.filter(({ name }) => name.startsWith("words"));
      const code = bits === 8 ? smallElement.int8 : smallElement.int4;
      const bytes = Math.ceil((E * rows * F * bits) / 8);
      const shapes =
        rows === F
          ? [[E, rows, F]]
          : [
              [E, rows, F],
              [E, F, rows],
            ];
      expect(stored.map(({ element, shape, bytes: size }) => [element, shape, size])).toEqual(
        shapes.map((shape) => [code, shape, bytes]),
      );
      const file = await embedded(program, memoryWeights(tensors));
      const got = await byRuntime(file);
      const want = meant(given);
      for (const name of ["tall", "wide"]) expect(got.get(name), name).toEqual(want.get(name));
    }),
    few,
  );
});

test("what is written reads back as the same words, whole and entry by entry", async () => {
  await fc.assert(
    fc.asyncProperty(integers, async ({ graph, tensors, E }) => {
      const program = exportOnnx(graph.select(["tall", "same"]));
      const files = [
        await inTwoFiles(program, memoryWeights(tensors)),
        [await embedded(program, memoryWeights(tensors)), {}] as const,
      ];
      for (const [bytes, options] of files) {
        const imported = await importOnnx(bytes, options);
        verify(imported.graph);
        expect(imported.graph.nodes.map(({ op }) => op)).toEqual([ops.dequantize]);
        const read = await allOf(imported.weights);
        expect([...read.keys()].toSorted()).toEqual(["tall/scales", "words/signed"]);
        expect(read.get("words/signed")).toEqual(tensors.get("words"));
        const [first, last] = [await imported.weights.read("words/signed", [0, 1]), E - 1];
        const end = await imported.weights.read("words/signed", [last, E]);
        const whole = tensors.get("words")!.data;
        expect([...first.data, ...end.data]).toEqual([
          ...whole.slice(0, first.data.length),
          ...whole.slice(-end.data.length),
        ]);
      }
    }),
    few,
  );
});

test("words that others read, too, are in the file beside the integers", async () => {
  await fc.assert(
    fc.asyncProperty(integers, async (given) => {
      const got = await byRuntime(await embedded(exportOnnx(given.graph), memoryWeights(given.tensors)));
      const want = meant(given);
      for (const [name, tensor] of want) expect(got.get(name), name).toEqual(tensor);
    }),
    { numRuns: runs(10) },
  );
});

describe("integers that no tensor of the file could hold are decomposed", () => {
  const sizes = { bits: 4, E: 2, rows: 3, F: 3 } as const;
  const tensor = wordsOf(sizes, (i) => (i * 7) % 16);
  const scales = Tensor.of("f32", [2, 2, 3], (...index) => 1 + index[2]!);
  const graphOf = (words: Value): Graph =>
    new Graph("apart", [input("x", x.type)], [["y", dequantized(words, "y", sizes, 2)]]);

  test.each([
    ["of words that are computed", graphOf(ops.add(weight("w", tensor.type), weight("w", tensor.type))), 21],
    ["below opset 21", graphOf(weight("w", tensor.type)), 20],
  ])("%s", async (_, graph, opset) => {
    const tensors = new Map([
      ["w", tensor],
      ["y/scales", scales],
    ]);
    const program = exportOnnx(graph, { opset });
    expect(typesOf(program)).not.toContain("DequantizeLinear");
    const got = await byRuntime(await embedded(program, memoryWeights(tensors)));
    expect(got.get("y")).toEqual(meant({ graph, tensors }).get("y"));
  });

  test("but no experts, whose decomposition is much larger than the model", () => {
    for (const quantizeExperts of ["int8", "int4"] as const) {
      expect(() => exportOnnx(graphOf(weight("w", tensor.type)), { opset: 20, quantizeExperts })).toThrow(
        `opset: must be at least 21 for ${quantizeExperts}, which comes in blocks; got 20 [O1]`,
      );
    }
  });
});

/** Word `q` of matrix `e`. */
const word = (e: number, q: number): number => Math.imul(q + 1, 2_654_435_761 + e) >>> 0;

test("many matrices that end within a byte are written in parts, a few at a time", async () => {
  // Three matrices are less than a part's bytes, and would end within a byte.
  const sizes = { bits: 4, E: 5, rows: 3_499_999, F: 3 } as const;
  const Q = Math.ceil((sizes.rows * sizes.F * sizes.bits) / 32);
  const words = weight("words", { dtype: "u32", shape: [sizes.E, Q] });
  const graph = new Graph("parts", [], [["y", dequantized(words, "y", sizes, sizes.rows)]]);
  const [stored] = exportOnnx(graph).weights.filter(({ name }) => name === "words/signed");
  const asked: (readonly [number, number] | undefined)[] = [];
  const parts: Uint8Array[] = [];
  const source = {
    ...memoryWeights(new Map()),
    read(_: string, rows: readonly [number, number] = [0, sizes.E]): Promise<Tensor> {
      asked.push(rows);
      const part = Tensor.zeros({ dtype: "u32", shape: [rows[1] - rows[0], Q] });
      for (let i = 0; i < part.data.length; i++) part.data[i] = word(rows[0] + Math.floor(i / Q), i % Q);
      return Promise.resolve(part);
    },
  };
  for await (const part of stored!.parts(source)) parts.push(part);
  expect(asked).toEqual([
    [0, 2],
    [2, 4],
    [4, 5],
  ]);
  const bytes = Buffer.concat(parts);
  expect(bytes.length).toBe(stored!.bytes);
  const size = sizes.rows * sizes.F;
  // Where matrices meet, and in the middle.
  for (let e = 0; e < sizes.E; e++) {
    for (const i of [0, 1, 7, 8, 1_234_567, size - 2, size - 1]) {
      const field = (word(e, Math.floor(i / 8)) >>> (4 * (i % 8))) & 15;
      const at = e * size + i;
      expect((bytes[Math.floor(at / 2)]! >> (4 * (at % 2))) & 15, `${e}, ${i}`).toBe(field ^ 8);
    }
  }
});

test("the last byte of a tensor is filled up with zeros", async () => {
  const sizes = { bits: 4, E: 1, rows: 1, F: 3 } as const;
  const words = weight("words", { dtype: "u32", shape: [1, 1] });
  const graph = new Graph("three", [], [["y", dequantized(words, "y", sizes, 1)]]);
  const tensors = new Map([
    ["words", Tensor.from(words.type, [0x8f0])],
    ["y/scales", Tensor.of("f32", [1, 1, 3], () => 1)],
  ]);
  const { graph: written } = decodeModel(await embedded(exportOnnx(graph), memoryWeights(tensors)));
  const [tensor] = written!.initializer!.filter(({ name }) => name === "words/signed");
  // 0, 15 and 8 stand for -8, 7 and 0.
  expect([...tensor!.rawData!]).toEqual([0x78, 0x00]);
});
