/** Narrow weights: each is near what it stands for, by a stated share; parts of them are those parts. */
import fc from "fast-check";
import { expect, test } from "vitest";

import { evaluate, Graph, input, ops, sizeOf, Tensor, verify, weight } from "../../ir/index.ts";
import { legalize, type Narrowed, narrowWeights, type WeightPrecision } from "../../passes/index.ts";
import { runs } from "../support/runs.ts";
import { memoryWeights } from "../support/weights.ts";

const block = 32;

/** Experts' weights of any magnitude, with columns of zeros and entries far above the others. */
const experts = fc
  .record({
    E: fc.integer({ min: 1, max: 3 }),
    D: fc.integer({ min: 1, max: 70 }),
    F: fc.integer({ min: 1, max: 9 }),
    power: fc.integer({ min: -30, max: 12 }),
    zero: fc.nat(8),
    draws: fc.infiniteStream(fc.double({ min: -1, max: 1, noNaN: true })),
  })
  .map(({ E, D, F, power, zero, draws }) => {
    const drawn = (...shape: number[]): Tensor =>
      Tensor.of("f32", shape, (...index) => {
        if (index.at(-1) === zero) return 0;
        const draw = draws.next().value as number;
        return draw * 2 ** power * (Math.abs(draw) > 0.95 ? 50 : 1);
      });
    const tensors = new Map([
      ["w1", drawn(E, D, F)],
      ["b1", drawn(E, F)],
      ["w2", drawn(E, F, D)],
      ["b2", drawn(E, D)],
    ]);
    const [w1, b1, w2, b2] = [...tensors].map(([name, { type }]) => weight(name, type));
    const x = input("x", { dtype: "f32", shape: [1, E, 1, D] });
    const y = ops.expertMlp(x, w1!, b1!, w2!, b2!, { approximate: "tanh" });
    const graph = new Graph(
      "experts",
      [x],
      [
        ["y", y],
        ["w1", w1!],
        ["w2", w2!],
        ["b1", b1!],
      ],
    );
    return { graph, tensors };
  });

/** What the weights of a narrow program stand for, by their names in the program that it was. */
async function meant({ graph, weightsOf }: Narrowed, tensors: ReadonlyMap<string, Tensor>) {
  const source = weightsOf(memoryWeights(tensors));
  const read = new Map<string, Tensor>();
  for (const { leaf, type } of graph.weights) {
    const tensor = await source.read(leaf!.name);
    read.set(leaf!.name, tensor.type.dtype === type.dtype ? tensor : Tensor.from(type, tensor.numbers()));
  }
  const [x] = graph.inputs;
  return evaluate(graph, ({ leaf }) =>
    leaf!.kind === "input" ? Tensor.zeros(x!.type) : read.get(leaf!.name),
  );
}

test.each([
  ["int8", 127],
  ["int4", 7],
] as const)("%s is within half a step, which is a block's largest magnitude over %i", async (to, largest) => {
  await fc.assert(
    fc.asyncProperty(experts, async ({ graph, tensors }) => {
      const narrow = narrowWeights(graph, { quantizeExperts: to });
      verify(narrow.graph);
      const values = await meant(narrow, tensors);
      expect(values.get("b1")).toEqual(tensors.get("b1"));
      for (const name of ["w1", "w2"]) {
        const { type, data } = tensors.get(name)!;
        const [, rows = 1, F = 1] = type.shape;
        const got = values.get(name)!.numbers();
        const keyOf = (i: number): number =>
          (Math.floor(i / F / rows) * rows + Math.floor((Math.floor(i / F) % rows) / block)) * F + (i % F);
        const most = new Map<number, number>();
        for (const [i, v] of data.entries())
          most.set(keyOf(i), Math.max(most.get(keyOf(i)) ?? 0, Math.abs(v)));
        for (const [i, v] of data.entries()) {
          const step = most.get(keyOf(i))! / largest;
          // Scales of the least floats there are have few bits of their own.
          expect(Math.abs(got[i]! - v)).toBeLessThanOrEqual((step / 2) * (1 + 2 ** -16) + 2 ** -142);
        }
      }
    }),
    { numRuns: runs(100) },
  );
});

test.each([8, 4] as const)("integers of %i bits are taken out of any words by other ops, too", (bits) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { minLength: 1, maxLength: 9 }), (all) => {
      const words = Tensor.from({ dtype: "u32", shape: [1, all.length] }, all);
      const rows = (all.length * 32) / bits;
      const scales = Tensor.of("f32", [1, Math.ceil(rows / 3), 1], (_, row) => 1 + row);
      const [w, s] = [input("words", words.type), input("scales", scales.type)];
      const graph = new Graph("integers", [w, s], [["y", ops.dequantize(w, s, { bits, rows, block: 3 })]]);
      const lowered = legalize((op) => !op.decompose).run(graph, () => undefined);
      const run = (program: Graph): unknown =>
        evaluate(program, ({ leaf }) => (leaf!.name === "words" ? words : scales)).get("y");
      expect(run(lowered)).toEqual(run(graph));
    }),
  );
});

test("float16 is within 2^-11 of a weight, or 2^-25 of a very small one", async () => {
  await fc.assert(
    fc.asyncProperty(experts, async ({ graph, tensors }) => {
      // Weights beyond float16's numbers are refused when they are stored.
      fc.pre([...tensors.values()].every(({ data }) => data.every((v) => Math.abs(v) < 65_520)));
      const values = await meant(narrowWeights(graph, { precision: "half-weights" }), tensors);
      for (const name of ["w1", "w2", "b1"]) {
        const got = values.get(name)!.numbers();
        for (const [i, v] of tensors.get(name)!.data.entries())
          expect(Math.abs(got[i]! - v)).toBeLessThanOrEqual(Math.max(2 ** -25, Math.abs(v) * 2 ** -11));
      }
    }),
    { numRuns: runs(100) },
  );
});

test("any experts are read alone", async () => {
  await fc.assert(
    fc.asyncProperty(
      experts,
      fc.constantFrom("int8", "int4"),
      fc.nat(2),
      async ({ graph, tensors }, to, at) => {
        const narrow = narrowWeights(graph, { quantizeExperts: to });
        const source = narrow.weightsOf(memoryWeights(tensors));
        const integers = narrow.graph.weights.filter(({ leaf }) => leaf!.name.includes("/"));
        expect(integers).toHaveLength(4);
        for (const { leaf, type } of integers) {
          expect(source.tensors.get(leaf!.name)).toEqual(type);
          const [E = 1, ...rest] = type.shape;
          const [start, size] = [at % E, sizeOf(rest)];
          const whole = await source.read(leaf!.name);
          expect(whole.type).toEqual(type);
          const part = await source.read(leaf!.name, [start, E]);
          expect(part.type).toEqual({ ...type, shape: [E - start, ...rest] });
          expect(part.data).toEqual(whole.data.slice(start * size));
        }
      },
    ),
  );
});

const x = input("x", { dtype: "f32", shape: [1, 1, 1, 2] });
const leaves = [
  weight("w1", { dtype: "f32", shape: [1, 2, 2] }),
  weight("b1", { dtype: "f32", shape: [1, 2] }),
  weight("w2", { dtype: "f32", shape: [1, 2, 2] }),
  weight("b2", { dtype: "f32", shape: [1, 2] }),
] as const;
const small = new Graph("small", [x], [["y", ops.expertMlp(x, ...leaves, { approximate: "tanh" })]]);

test.each<[WeightPrecision, number, RegExp]>([
  [{ quantizeExperts: "int8" }, Number.POSITIVE_INFINITY, /^w1: has Infinity, .* \[W3\]$/],
  [{ quantizeExperts: "int4" }, Number.NaN, /^w1: has NaN, .* \[W3\]$/],
])("%o refuses %d", async (precision, value, message) => {
  const tensors = new Map(
    leaves.map(({ leaf, type }) => [leaf!.name, Tensor.of("f32", type.shape, () => value)]),
  );
  const { weightsOf } = narrowWeights(small, precision);
  await expect(weightsOf(memoryWeights(tensors)).read(`w1/${precision.quantizeExperts}`)).rejects.toThrow(
    message,
  );
});

test("nothing narrow is asked for: the program and its weights are the same", () => {
  const source = memoryWeights(new Map());
  const { graph, weightsOf } = narrowWeights(small, { precision: "single" });
  expect(graph).toBe(small);
  expect(weightsOf(source)).toBe(source);
});
