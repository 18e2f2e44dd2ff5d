/** Products of weights as they are stored, and whatever else reads packed weights, against the reference. */
import { describe, expect, test } from "vitest";

import { reference } from "../../backends/reference/index.ts";
import { dawn, dawnGpu } from "../../backends/webgpu/dawn.ts";
import { emitAll, supports } from "../../backends/webgpu/emit.ts";
import { compile, type Profile, profiles, webgpuOn } from "../../backends/webgpu/index.ts";
import type { LaunchedProduct } from "../../backends/webgpu/kernel.ts";
import { layWeights } from "../../backends/webgpu/weightLayout.ts";
import { packWeights, weightBytes } from "../../backends/webgpu/weights.ts";
import { Graph, input, ops, type Shape, Tensor, type Value, weight } from "../../ir/index.ts";
import {
  type Narrowed,
  narrowWeights,
  pipeline,
  runPasses,
  type WeightPrecision,
} from "../../passes/index.ts";
import { expectClose } from "../support/close.ts";
import { drawn, f32, inputsFor, layer, weightsFor } from "../support/moeLayer.ts";
import { someOf } from "../support/runs.ts";
import { memoryWeights } from "../support/weights.ts";

const gpu = await dawnGpu();
const [software, generic] = profiles as [Profile, Profile];

const single = (name: string, ...shape: number[]): Value => weight(name, f32(shape));

/** Numbers for the weights of `graph` that are not among `known`. */
const numbersFor = ({ weights }: Graph, known: ReadonlyMap<string, Tensor>): Map<string, Tensor> =>
  new Map(
    weights.map(({ leaf, type }) => [leaf!.name, known.get(leaf!.name) ?? drawn(leaf!.name, type.shape)]),
  );

/** Both backends' outputs of the same narrow program. */
async function compared(
  profile: Profile,
  { graph, weightsOf }: Narrowed,
  weights: ReadonlyMap<string, Tensor>,
  inputs: ReadonlyMap<string, Tensor>,
): Promise<{ readonly got: Tensor[]; readonly want: Tensor[] }> {
  const engines = [webgpuOn(() => Promise.resolve(gpu), profile), reference];
  const [got = [], want = []] = await Promise.all(
    engines.map(async (backend) => {
      const engine = await backend.open();
      try {
        const program = await engine.compile(graph, weightsOf(memoryWeights(weights)), { check: true });
        return [...(await program.run(inputs)).values()];
      } finally {
        engine.close();
      }
    }),
  );
  return { got, want };
}

const ways: readonly (readonly [string, WeightPrecision])[] = [
  ["half-weights", { precision: "half-weights" }],
  ["int8", { quantizeExperts: "int8" }],
  ["int4 and half-weights", { precision: "half-weights", quantizeExperts: "int4" }],
];

/** One expert; odd sizes; whole vectors that end within a block; several blocks, off every tile. */
const sizes: readonly (readonly [E: number, D: number, F: number])[] = [
  [1, 12, 20],
  [3, 7, 33],
  [2, 36, 68],
  [3, 100, 132],
];

const families: readonly (readonly [string, Profile])[] = [
  ["reg", software],
  ["tile", { ...generic, minWorkgroups: 1 }],
  // From buffers: one expert at a time of float16, two of integers.
  [
    "reg, in shards",
    {
      ...software,
      tiles: software.tiles.filter(({ strips }) => !strips),
      limits: { ...software.limits, maxStorageBufferBindingSize: 32_768 },
    },
  ],
];

describe.each(families)("family %s", (family, profile) => {
  test.each(ways)("experts of %s", async (_way, precision) => {
    const place = 1 + families.findIndex(([name]) => name === family);
    for (const [E, D, F] of someOf(sizes, place)) {
      const given = { G: 2, T: 9, E, D, F };
      const graph = layer(given, { k: Math.min(2, E), capacity: 5 });
      const narrow = narrowWeights(graph, precision);
      const { got, want } = await compared(profile, narrow, weightsFor(given), inputsFor(given));
      expectClose(got, want, dawn.tolerance);
    }
  });
});

const formats = [
  ["float32", {}, 32],
  ["half-weights", { precision: "half-weights" }, 16],
  ["int8", { quantizeExperts: "int8" }, 8],
  ["int4", { quantizeExperts: "int4" }, 4],
] as const satisfies readonly (readonly [string, WeightPrecision, number])[];

test.each(formats)("experts of %s have tiles of their own", (_, precision, bits) => {
  const { graph } = narrowWeights(
    layer({ G: 2, T: 9, E: 3, D: 36, F: 68 }, { k: 2, capacity: 5 }),
    precision,
  );
  const lowered = runPasses(graph, pipeline({ supports }, [...graph.outputs.keys()]));
  const productsOf = (profile: Profile): LaunchedProduct[] => {
    const laid = layWeights(lowered, profile);
    const { always } = emitAll(laid.graph, profile, packWeights(laid.graph.weights, profile.limits, laid));
    return always.flatMap(({ launch: { product } }) => (product?.experts ? [product] : []));
  };
  const tile = { wx: 8, wy: 2, tm: 4, tv: 1, bk: 16 };
  for (const profile of [software, generic]) {
    const products = productsOf(profile);
    expect(products.map((product) => product.bits)).toEqual([bits, bits]);
    if (profile === software) continue;
    const tuned = formats.map(([, , each]) =>
      products.map((product) => ({ ...product, bits: each, tile: { ...tile, wx: each } })),
    );
    const chosen = productsOf({ ...profile, tuned: tuned.flat() });
    expect(chosen.map((product) => product.tile.wx)).toEqual([bits, bits]);
  }
});

/** Odd columns, and whole vectors; neither ends with a tile. */
const products: readonly (readonly [M: number, K: number, N: number])[] = [
  [18, 34, 7],
  [33, 68, 132],
];

const dense = families
  .slice(0, 2)
  .flatMap(([family, profile]) =>
    (["f32", "f16"] as const).map((dtype) => [family, dtype, profile] as const),
  );

test.each(dense)("family %s: dense layers of %s weights", async (_, dtype, profile) => {
  for (const [M, K, N] of products) {
    const x = input("x", f32([2, M, K]));
    const outputs: [string, Value][] = [
      ["linear", ops.linear(x, single("w", K, N), single("b", N))],
      ["matmul", ops.matmul(x, single("v", 2, K, N))],
      [
        "joined",
        ops.linear(
          x,
          ops.concat(ops.reshape(single("p", K, 1, N), { shape: [K, N] }), single("q", K, 5), { axis: 1 }),
          single("c", N + 5),
        ),
      ],
    ];
    const graph = new Graph("dense", [x], outputs);
    const narrow = narrowWeights(graph, dtype === "f16" ? { precision: "half-weights" } : {});
    const module = compile(narrow.graph, profile);
    expect(module.weights.every((part) => part.dtype === dtype)).toBe(true);
    // The weights of products have no copies.
    expect(module.once.map(({ label }) => label)).toEqual(dtype === "f16" ? ["cast", "cast"] : []);
    expect(module.weights.filter(({ joined = [] }) => joined.length > 1)).toHaveLength(1);
    // They lie in strips where the profile has tiles for these; elsewhere their rows are whole vectors.
    const factors = module.weights.filter(({ shape }) => shape.length > 1);
    expect(factors.map(({ strips, shape }) => (strips ? "in strips" : shape.at(-1)! % 4))).toEqual(
      Array(3).fill(profile === software ? "in strips" : 0),
    );
    const inputs = new Map([["x", drawn("x", [2, M, K])]]);
    const { got, want } = await compared(profile, narrow, numbersFor(graph, new Map()), inputs);
    expectClose(got, want, dawn.tolerance);
  }
});

test("a weight that more than products read is not padded: it would lie there twice", () => {
  const [x, w] = [input("x", f32([5, 6])), single("w", 6, 7)];
  const sums = ops.reduceSum(ops.transpose(w, { perm: [1, 0] }));
  const bias = ops.reshape(sums, { shape: [7] });
  const y = ops.linear(x, w, bias);
  const { once, weights } = compile(new Graph("both", [x], [["y", y]]), software);
  expect(weights.map(({ shape }) => shape)).toEqual([[6, 7]]);
  expect(once.map(({ label }) => label)).not.toContain("slice");
});

/** Uses of float16 weights by what reads whole buffers, by elements, by moves, by views of parts, and as outputs. */
const uses: Readonly<Record<string, (w: (...shape: number[]) => Value, x: Value) => Value>> = {
  "a norm": (w, x) => ops.layerNorm(ops.cast(x, { to: "f16" }), w(6), w(6), { epsilon: 1e-6 }),
  "a cast": (w, x) => ops.multiply(x, ops.broadcast(ops.cast(w(6), { to: "f32" }), { shape: [5, 6] })),
  "a move": (w) => ops.transpose(w(3, 7), { perm: [1, 0] }),
  "a part": (w) =>
    ops.reduceSum(ops.slice(ops.reshape(w(8, 64), { shape: [512] }), { start: [128], limit: [256] })),
  "its beginning": (w) => ops.reduceSum(ops.slice(w(3, 5), { start: [0, 0], limit: [2, 5] })),
  "a product of float16": (w, x) => ops.linear(ops.cast(x, { to: "f16" }), w(6, 9), w(9)),
  "a left factor": (w) => ops.matmul(w(3, 5), w(5, 4)),
  "a product, and elements": (w, x) => {
    const factor = ops.cast(w(6, 6), { to: "f32" });
    return ops.add(ops.matmul(x, factor), ops.slice(factor, { start: [0, 0], limit: [5, 6] }));
  },
  "an output": (w) => ops.reshape(w(3, 5), { shape: [15] }),
};

test.each(Object.entries(uses))("a packed weight for %s", async (_, use) => {
  const names: string[] = [];
  const tensors = new Map<string, Tensor>();
  const w = (...shape: number[]): Value => {
    const name = `w${names.push("") - 1}`;
    tensors.set(name, Tensor.from({ dtype: "f16", shape }, drawn(name, shape).numbers()));
    return weight(name, { dtype: "f16", shape });
  };
  const x = input("x", f32([5, 6]));
  const graph = new Graph("use", [x], [["y", use(w, x)]]);
  const inputs = new Map([["x", drawn("x", [5, 6])]]);
  const { got, want } = await compared(software, { graph, weightsOf: (source) => source }, tensors, inputs);
  expectClose(got, want, dawn.tolerance);
});

test("float16 weights lie in half the bytes, whatever their number", () => {
  const shapes: readonly Shape[] = [[], [1], [3, 5], [128]];
  const graph = new Graph(
    "sizes",
    [],
    shapes.map((shape, i) => [`r${i}`, ops.cast(weight(`w${i}`, { dtype: "f16", shape }), { to: "f32" })]),
  );
  expect(compile(graph, software).weights.map(({ place }) => place.bytes)).toEqual([4, 4, 32, 256]);
});

test("halves that are read part by part start with words", async () => {
  const type = { dtype: "f16", shape: [3, 2 ** 22 + 1] } as const;
  const [, entry] = type.shape;
  const graph = new Graph("halves", [], [["y", ops.cast(weight("w", type), { to: "f32" })]]);
  const large = 2 ** 30;
  const limits = { ...software.limits, maxStorageBufferBindingSize: large, maxBufferSize: large };
  const { parts } = packWeights(graph.weights, limits);
  const source = {
    ...memoryWeights(new Map()),
    read: (_: string, [start, stop]: readonly [number, number] = [0, 3]): Promise<Tensor> =>
      Promise.resolve(Tensor.zeros({ dtype: "f16", shape: [stop - start, entry] })),
  };
  const got: (readonly [offset: number, bytes: number])[] = [];
  for await (const { offset, bytes } of weightBytes(parts, source, 0)) got.push([offset, bytes.byteLength]);
  expect(got).toEqual([
    [0, 4 * entry],
    [4 * entry, 2 * entry + 2],
  ]);
});
