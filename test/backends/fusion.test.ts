/**
 * Applications that share launches, and results in the place of operands, are what they are one by one and apart, in
 * fewer launches: bit for bit where the driver does not contract. WGSL lets a driver reassociate what it sees in one
 * kernel (Mesa makes (a b + c d) + e of two products and a term a b + (c d + e)), so numbers that round are compared in
 * chosen programs, and random programs are compared where nothing rounds. It also lets a driver contract a b + c into one
 * operation that rounds once, which those of many GPUs do; there the chosen programs are compared within rounding.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { type Profile, profiles } from "../../backends/webgpu/index.ts";
import {
  evaluate,
  Graph,
  input,
  ops,
  opset,
  type Shape,
  sizeOf,
  Tensor,
  type Value,
} from "../../ir/index.ts";
import { createModel } from "../../models/index.ts";
import { adapter } from "../support/adapter.ts";
import { type RandomProgram, randomProgram } from "../support/arbitrary.ts";
import { both, contracts, expectSame, labels, launches } from "../support/fusion.ts";
import { tinyVmoe } from "../support/golden.ts";
import { productOf } from "../support/product.ts";
import { runs } from "../support/runs.ts";
import { rows, stream, transposed } from "../support/streams.ts";

const [software, generic] = profiles as [Profile, Profile];

const f32 = (name: string, ...shape: number[]): Value => input(name, { dtype: "f32", shape });

const onCpu = await both(software);
const onGpu = await both({ ...generic, minWorkgroups: 1 });
const inParts = await both({
  ...generic,
  tuned: [{ ...productOf(5, 12, 12), tile: { wx: 8, wy: 8, tm: 4, tv: 1, bk: 4, parts: 2 } }],
});

test("the software driver does not contract", () => {
  expect(contracts && adapter.software).toBe(false);
});

/** Whether all that a program computes are eighths of eighths below a bound, so that no order of sums can matter. */
function isExact({ graph, inputs }: RandomProgram, bound = 2 ** 10): boolean {
  const values = graph.nodes.flatMap((node) => node.results);
  const all = graph.withOutputs(values.map((value, i) => [`v${i}`, value]));
  const tensors = [...evaluate(all, (value) => inputs.get(value.leaf!.name)).values()];
  return tensors.every((tensor) =>
    Array.from(tensor.numbers()).every((v) => Number.isInteger(v * 2 ** 10) && Math.abs(v) < bound),
  );
}

const exact = ["add", "subtract", "multiply", "maximum", "minimum", "compare", "select", "cast", "constant"];
const moving = ["broadcast", "transpose", "slice", "concat", "reshape", "patchify", "iota"];
const summing = ["matmul", "linear", "reduce_sum", "reduce_max", "cumsum"];
const among = [...exact, ...moving, ...moving, ...summing].map((name) => opset.get(name)!);

test("random programs of exact arithmetic", async () => {
  let [fewer, total] = [0, 0];
  const program = randomProgram({ maxNodes: 14, among, dtypes: ["f32", "bf16", "i32", "bool"] });
  await fc.assert(
    fc.asyncProperty(program.filter(isExact), async ({ graph, inputs }) => {
      const [fused, apart] = await expectSame(onCpu, graph, inputs, { bitwise: true });
      expect(fused).toBeLessThanOrEqual(apart);
      fewer += Number(fused < apart);
      total++;
    }),
    { numRuns: runs(15) },
  );
  expect(fewer / total).toBeGreaterThan(0.3);
});

test("random sums, moved and kept", async () => {
  const exactly = stream.filter((program) => isExact(program, 2 ** 20));
  await fc.assert(
    fc.asyncProperty(exactly, async ({ graph, inputs }) => {
      await expectSame(onCpu, graph, inputs, { bitwise: true });
    }),
    { numRuns: runs(10) },
  );
});

const spread = (x: Value, { type }: Value): Value => ops.broadcast(x, { shape: type.shape });
const number = (value: number, { type }: Value): Value =>
  ops.constant({ value, to: type.dtype, shape: type.shape });

/** What may follow a product [M, N], of a row [N], a column [M, 1] and a matrix [M, N]. */
const epilogues: Readonly<Record<string, (m: Value, row: Value, column: Value, x: Value) => Value>> = {
  "a residual": (m, _row, _column, x) => ops.add(m, x),
  "a bias by hand, a column, and GELU": (m, row, column) =>
    ops.gelu(ops.add(ops.add(m, spread(row, m)), spread(column, m)), { approximate: "tanh" }),
  "a number": (m) => ops.multiply(m, number(0.3, m)),
  "rounding, and a residual": (m, _row, _column, x) =>
    ops.add(ops.cast(ops.cast(m, { to: "bf16" }), { to: "f32" }), x),
  "half precision": (m) => ops.cast(m, { to: "f16" }),
  // For the numbers below no decision, and no integer, is near where rounding would make another.
  "a decision": (m, row, _column, x) =>
    ops.select(ops.compare(m, x, { is: "lt" }), spread(row, m), ops.exp(m)),
  "an integer": (m, _row, _column, x) => ops.cast(ops.multiply(ops.add(m, x), number(100, m)), { to: "i32" }),
  "itself moved": (m, _row, _column, x) =>
    ops.add(ops.transpose(ops.transpose(x, { perm: [1, 0] }), { perm: [1, 0] }), m),
  "the part of another": (m, _row, _column, x) => {
    const [M = 1, N = 1] = m.type.shape;
    const twice = ops.concat(x, ops.tanh(x), { axis: 0 });
    return ops.divide(m, ops.exp(ops.slice(twice, { start: [M, 0], limit: [2 * M, N] })));
  },
  "both erf and tanh": (m, _row, _column, x) =>
    ops.maximum(ops.gelu(m, { approximate: "none" }), ops.gelu(ops.erf(x), { approximate: "tanh" })),
  "another product": (m, _row, _column, x) =>
    ops.minimum(m, ops.matmul(ops.matmul(m, ops.transpose(m, { perm: [1, 0] })), x)),
  "a view of itself": (m, _row, _column, x) => {
    const [M = 1, N = 1] = m.type.shape;
    return ops.add(ops.reshape(ops.tanh(ops.reshape(m, { shape: [N, M] })), { shape: [M, N] }), x);
  },
};

const producers: Readonly<Record<string, (x: Value, w: Value, row: Value) => Value>> = {
  linear: (x, w, row) => ops.linear(x, w, row),
  matmul: (x, w) => ops.matmul(x, w),
  "layer norm": (x, w, row) => ops.layerNorm(ops.matmul(x, w), row, row, { epsilon: 1e-6 }),
  "an elementwise map": (x, w) => ops.tanh(ops.matmul(x, w)),
  "linear in bfloat16": (x, w, row) => {
    const [a, b, c] = [x, w, row].map((value) => ops.cast(value, { to: "bf16" })) as [Value, Value, Value];
    return ops.cast(ops.linear(a, b, c), { to: "f32" });
  },
  "linear of moved rows": (x, w, row) => {
    // Patches of 3 x 2 pixels of two channels, which leave pixels out; small, as what rounds is a share of the largest.
    const [M = 1] = x.type.shape;
    const pixels = ops.concat(x, ops.tanh(x), { axis: 1 });
    const image = ops.reshape(pixels, { shape: [M, 4, 3, 2] });
    return ops.reshape(ops.linear(ops.patchify(image, { height: 3, width: 2 }), w, row), {
      shape: [M, row.type.shape[0] ?? 1],
    });
  },
  attention: (x, w) => {
    const [M = 1] = x.type.shape;
    const y = ops.matmul(x, w);
    const N = y.type.shape[1] ?? 1;
    const heads = ops.reshape(y, { shape: [1, M, 1, N] });
    return ops.reshape(ops.attention(heads, heads, heads), { shape: [M, N] });
  },
  "experts of few tokens": (x, w) => {
    const tokens = ops.matmul(x, w);
    const [M = 1, N = 1] = tokens.type.shape;
    const part = (height: number, width: number, shape: Shape): Value =>
      ops.reshape(ops.slice(w, { start: [0, 0], limit: [height, width] }), { shape });
    const { y } = ops.seatedMlp(
      ops.reshape(tokens, { shape: [1, M, N] }),
      ops.constant({ value: 1, to: "i32", shape: [1, M, 1] }),
      ops.reshape(ops.slice(x, { start: [0, 0], limit: [M, 1] }), { shape: [1, M, 1] }),
      ops.reshape(ops.slice(x, { start: [0, 0], limit: [M, 1] }), { shape: [1, M, 1] }),
      part(8, N, [2, N, 4]),
      part(1, 8, [2, 4]),
      part(8, N, [2, 4, N]),
      part(2, N, [2, N]),
      { capacity: 3, priority: "token", approximate: "tanh", through: "f32" },
    );
    return ops.reshape(y, { shape: [M, N] });
  },
};

/** Everything follows an affine map; the other producers store as it does, but for the lanes and the place. */
const few = ["a bias by hand, a column, and GELU", "rounding, and a residual", "a decision"];
const combinations = [
  ["CPU", onCpu, "linear", 12, Object.keys(epilogues)],
  ["CPU", onCpu, "linear", 7, few],
  ["CPU", onCpu, "matmul", 12, few],
  ["CPU", onCpu, "layer norm", 12, few],
  ["CPU", onCpu, "an elementwise map", 7, few],
  ["CPU", onCpu, "attention", 12, few],
  ["CPU", onCpu, "linear in bfloat16", 12, few],
  ["CPU", onCpu, "linear of moved rows", 12, few],
  ["CPU", onCpu, "experts of few tokens", 12, few],
  ["GPU", onGpu, "linear of moved rows", 7, few],
  ["GPU", onGpu, "linear", 12, few],
  ["GPU", onGpu, "layer norm", 7, few],
  ["GPU", onGpu, "attention", 7, few],
  ["GPU in parts", inParts, "linear", 12, few],
] as const;

test.each(combinations)("for a %s: what follows $2 of width $3", async (_, engines, producer, N, names) => {
  const [M, K] = [5, 12];
  const [x, w, row, column] = [f32("x", M, K), f32("w", K, N), f32("row", N), f32("column", M, 1)];
  const others = names.map((__, n) => f32(`other${n}`, M, N));
  const outputs = names.map((name, n): [string, Value] => {
    // Each on a product of its own: of one that several use, nothing can be made in passing.
    const made = producers[producer]!(ops.add(x, number(n, x)), w, row);
    // What a launch of every run makes may be replaced in its place.
    return [name, epilogues[name]!(made, row, column, ops.softmax(others[n]!))];
  });
  expect(replacing(outputs.map(([, value]) => value))).not.toEqual([]);
  const graph = new Graph("epilogues", [x, w, row, column, ...others], outputs);
  const inputs = new Map(
    graph.inputs.map(({ leaf, type }, n) => [
      leaf!.name,
      Tensor.from(
        type,
        Array.from({ length: sizeOf(type.shape) }, (__, i) => Math.sin(1.37 * i + n)),
      ),
    ]),
  );
  const [fused, apart] = await expectSame(engines, graph, inputs);
  expect(fused).toBeLessThan(0.8 * apart);
});

test("the tiny model", async () => {
  const { image, weights, cases } = tinyVmoe();
  const { graph } = createModel(cases.get("bpr_C0.4")!.config, { batch: 4, imageSize: [12, 12] });
  const names = [...graph.outputs.keys()].filter((name) => !name.endsWith("loss"));
  const inputs = new Map([["image", image]]);
  const [fused, apart] = await expectSame(onCpu, graph.select(names), inputs, { weights });
  expect(fused).toBeLessThan(apart);
  // One thread makes the losses of few tokens, and the driver sees all of their products.
  const losses = [...graph.outputs.keys()].filter((name) => !names.includes(name));
  await expectSame(onCpu, graph.select(losses), inputs, { weights, bitwise: false });
});

/** The labels of those that write in the place of an operand. */
const replacing = (outputs: readonly Value[], profile = software): string[] =>
  launches(outputs, profile).flatMap(({ label, bindings }) =>
    bindings.flatMap(({ replaces }) => (replaces ? [label] : [])),
  );

describe("what shares a launch", () => {
  const [x, w, b] = [f32("x", 4, 8), f32("w", 8, 8), f32("b", 8)];
  const y = ops.linear(x, w, b);

  test("a chain ends in one launch; nothing is made twice", () => {
    const positive = ops.exp(y);
    expect(labels([ops.gelu(ops.add(y, x), { approximate: "tanh" })])).toEqual(["linear + add + gelu"]);
    expect(labels([ops.add(positive, x), ops.multiply(positive, x)])).toEqual([
      "linear + exp",
      "add",
      "multiply",
    ]);
    expect(labels([ops.multiply(positive, positive)])).toEqual(["linear + exp + multiply"]);
    expect(labels([y, ops.exp(y)])).toEqual(["linear", "exp"]);
    // Of a part that two read, each may take the part itself, but not what it is a part of.
    const part = ops.slice(ops.add(y, x), { start: [0, 0], limit: [2, 8] });
    const made = labels([ops.softmax(part), ops.exp(part)]).filter(Boolean);
    expect(made).toEqual(["linear + add", "softmax", "slice + exp"]);
  });

  test("rows that are only moved are read where they are", () => {
    const image = f32("image", 2, 6, 6, 2);
    const patches = ops.patchify(image, { height: 2, width: 2 });
    expect(labels([ops.linear(patches, w, b)])).toEqual(["linear"]);
    expect(labels([ops.linear(patches, w, b), patches])).toEqual(["patchify", "linear"]);
    const first = ops.slice(ops.reshape(y, { shape: [2, 2, 8] }), { start: [0, 0, 0], limit: [2, 1, 8] });
    expect(labels([ops.linear(ops.reshape(first, { shape: [2, 8] }), w, b)])).toEqual(["linear", "linear"]);
  });

  test("an op of several results takes in what follows its first, unless another is read before", () => {
    const seated = (): { readonly y: Value; readonly slots: Value } =>
      ops.seatedMlp(
        f32("tokens", 1, 4, 8),
        input("choices", { dtype: "i32", shape: [1, 4, 1] }),
        f32("weights", 1, 4, 1),
        f32("urgency", 1, 4, 1),
        f32("w1", 2, 8, 4),
        f32("b1", 2, 4),
        f32("w2", 2, 4, 8),
        f32("b2", 2, 8),
        { capacity: 2, priority: "token", approximate: "tanh", through: "f32" },
      );
    const [kept, read] = [seated(), seated()];
    const residual = f32("residual", 1, 4, 8);
    expect(labels([ops.add(kept.y, residual), kept.slots])).toEqual(["seated_mlp + add"]);
    const scores = ops.cast(read.slots, { to: "f32" });
    expect(labels([ops.add(read.y, ops.broadcast(scores, { shape: [1, 4, 8] }))])).toEqual([
      "seated_mlp",
      "cast",
      "broadcast + add",
    ]);
    expect(labels([ops.add(read.y, residual), scores])).toEqual(["seated_mlp", "add", "cast"]);
  });

  test("numbers and repetitions are in no buffer, however often they are used", () => {
    const wide = spread(b, x);
    const half = number(0.5, x);
    expect(labels([ops.multiply(ops.add(x, wide), half), ops.multiply(ops.subtract(x, wide), half)])).toEqual(
      ["broadcast + add + multiply", "broadcast + subtract + multiply"],
    );
  });

  test("what a broadcast repeats is made once before it, and what no input changes once for all runs", () => {
    expect(labels([ops.add(x, spread(ops.exp(b), x))])).toEqual(["exp", "broadcast + add"]);
    expect(labels([ops.concat(ops.exp(x), ops.tanh(x), { axis: 0 })])).toEqual(["exp + tanh + concat"]);
    const kept = number(2, x);
    expect(labels([ops.add(x, ops.exp(kept))])).toEqual(["constant", "exp", "add"]);
  });

  test("no launch binds more buffers than the device lets it", () => {
    const many = Array.from({ length: 12 }, (_, i) => f32(`x${i}`, 4, 8));
    const total = many.reduce((sum, one) => ops.add(sum, one), y);
    for (const most of [4, 5, 8]) {
      const profile = { ...software, limits: { ...software.limits, maxStorageBuffersPerShaderStage: most } };
      const bound = launches([total], profile).map(({ bindings }) => bindings);
      expect(Math.max(...bound.map(({ length }) => length))).toBeLessThanOrEqual(most);
      // What is replaced is bound as the result.
      const held = bound.map((bindings) => bindings.flatMap(({ replaces }) => (replaces ? [1, 1] : [1])));
      expect(Math.max(...held.map(({ length }) => length))).toBe(most);
    }
  });
});

/** What is made of a value of every run, which lies in a buffer, besides inputs; and which launches replace it in place. */
describe("what takes the place of its operand", () => {
  // Longer rows than a thread would hold, so that each application over rows is a launch.
  const N = 320;
  const [x, w, row, other] = [f32("x", 4, N), f32("w", N, N), f32("row", N), f32("other", 4, N)];
  const product = ops.linear(x, w, row);
  const cases: Readonly<Record<string, readonly [(made: Value) => readonly Value[], ...labels: string[]]>> = {
    "a sum, after all else has read the term": [
      (made) => [ops.softmax(made), ops.add(product, made)],
      "linear + add",
    ],
    "only the last sum": [
      (made) => [ops.add(product, made), ops.gelu(ops.add(made, other), { approximate: "tanh" })],
      "add + gelu",
    ],
    "a view": [
      (made) => {
        const flat = ops.reshape(made, { shape: [4 * N] });
        return [ops.reshape(ops.add(ops.reshape(product, { shape: [4 * N] }), flat), { shape: [2, 2 * N] })];
      },
      "linear + add",
    ],
    "a value used twice": [(made) => [ops.multiply(ops.add(product, made), made)], "linear + add + multiply"],
    "one of two": [(made) => [ops.add(made, ops.add(ops.softmax(other), product))], "linear + add + add"],
    "one sum after the other": [
      (made) => {
        const sum = ops.add(product, made);
        return [ops.add(sum, ops.linear(ops.softmax(sum), w, row))];
      },
      "linear + add",
      "linear + add",
    ],
    "another type of as many bits": [
      (made) => [ops.cast(ops.add(product, made), { to: "bf16" })],
      "linear + add + cast",
    ],
    "integers are no floats": [(made) => [ops.cast(ops.add(product, made), { to: "i32" })]],
    "inputs stay": [() => [ops.add(product, other)]],
    "so does what no input changes": [
      (made) => [ops.add(made, ops.softmax(ops.constant({ value: 1, to: "f32", shape: [4, N] }))), made],
    ],
    "outputs stay": [(made) => [ops.add(product, made), made]],
    "and views of them": [(made) => [ops.add(product, made), ops.reshape(made, { shape: [N, 4] })]],
    "and parts of them": [(made) => [ops.add(product, made), rows(made, 2)]],
    "what a part of it is read for later": [(made) => [ops.add(product, made), ops.softmax(rows(made, 2))]],
    "and before, too": [
      (made) => {
        const part = rows(made, 2);
        return [ops.softmax(part), ops.add(product, made), ops.cumsum(part)];
      },
    ],
    "a part": [(made) => [ops.add(ops.linear(rows(x, 0), w, row), rows(made, 2))]],
    "what is read moved": [(made) => [ops.add(product, transposed(made))]],
    "what is read moved, too": [(made) => [ops.add(ops.add(product, made), transposed(made))]],
    "what a part of it is a factor of": [
      (made) => [ops.add(made, ops.matmul(f32("few", 4, 2), rows(made, 0)))],
    ],
    "a left factor": [(made) => [ops.add(made, ops.linear(made, w, row))]],
  };
  test.each(Object.entries(cases))("%s", (_, [make, ...want]) => {
    const outputs = make(ops.softmax(x));
    expect(replacing(outputs)).toEqual(want);
    expect(replacing(outputs, { ...software, fuses: false })).toEqual([]);
  });
});
