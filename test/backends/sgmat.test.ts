/**
 * Kernels of subgroup matrices: WebGPU takes them for every product of the presets, and what they compute is right with each
 * instruction written out as loops, for which any driver will do, and by the instruction itself where the adapter has it.
 */
import { afterAll, describe, expect, test } from "vitest";

import { openDawn } from "../../backends/webgpu/dawn.ts";
import { emitAll } from "../../backends/webgpu/emit.ts";
import { load } from "../../backends/webgpu/executable.ts";
import { compile, type Profile, profileOf, profiles, withUnsafe } from "../../backends/webgpu/index.ts";
import type { SubgroupMatrix, Tile } from "../../backends/webgpu/profile.ts";
import { validate } from "../../backends/webgpu/saveBundle.ts";
import { withoutUnsafe } from "../../backends/webgpu/targets.ts";
import { packWeights } from "../../backends/webgpu/weights.ts";
import { evaluate, Graph, input, ops, Tensor, type Value } from "../../ir/index.ts";
import { createModel, mergeConfig, presets } from "../../models/index.ts";
import type { DeviceMatrix } from "../../runtime/device.ts";
import type { DeviceModule } from "../../runtime/module.ts";
import { expectClose } from "../support/close.ts";
import { noWeights } from "../support/engines.ts";
import { runs } from "../support/runs.ts";

const f32 = (name: string, ...shape: number[]): Value => input(name, { dtype: "f32", shape });
const experimental = "chromium-experimental-subgroup-matrix";
const unsafe = profiles
  .map((profile) => withUnsafe(profile))
  .filter((profile) => !profiles.includes(profile));
const matrixTiles = ({ tiles }: Profile): readonly Tile[] => tiles.filter(({ matrix }) => matrix);

const usesMatrices = ({ kernels }: DeviceModule): number =>
  kernels.filter(({ wgsl }) => wgsl.includes("subgroupMatrixMultiplyAccumulate")).length;

test("four kinds of devices have matrices, with tiles that fit, and are what they were without", () => {
  expect(unsafe.map(({ name }) => name)).toEqual(["apple", "nvidia", "amd", "intel"]);
  for (const profile of unsafe) {
    expect(matrixTiles(profile).length).toBeGreaterThan(0);
    expect(profile.features).toContain(experimental);
    const safe = withoutUnsafe(profile);
    const before = profiles.find(({ name }) => name === profile.name)!;
    expect(safe.tiles).toEqual(before.tiles);
    expect(safe.features).not.toContain(experimental);
  }
});

test("a device must have the features and the very matrices", () => {
  const nvidia = unsafe.find(({ name }) => name === "nvidia")!;
  const has: DeviceMatrix = { componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 };
  const device = (features: readonly string[], matrices: readonly DeviceMatrix[]) => ({
    limits: nvidia.limits,
    vendor: "nvidia",
    software: false,
    features: new Set(features),
    subgroupMinSize: 32,
    matrices,
  });
  const of = (...facts: Parameters<typeof device>): number => {
    const described = device(...facts);
    return matrixTiles(withUnsafe(profileOf(described), described)).length;
  };
  expect(of(nvidia.features, [has])).toBe(matrixTiles(nvidia).length);
  expect(of(nvidia.features, [])).toBe(0);
  expect(of(nvidia.features, [{ ...has, resultComponentType: "f16" }])).toBe(0);
  expect(of(nvidia.features, [{ ...has, K: 8 }])).toBe(0);
  expect(
    of(
      nvidia.features.filter((feature) => feature !== "shader-f16"),
      [has],
    ),
  ).toBe(0);
});

describe.each(unsafe.map((profile) => [profile.name, profile] as const))("on %s", (_, profile) => {
  const few = { num_classes: 1000, encoder: { num_layers: 2, moe: { num_experts: 4, layers: [1] } } };

  test.each(["vmoe-s32-last2", "vmoe-b16-every2", "vmoe-l16-every2", "vmoe-h14-last5"])(
    "WebGPU takes the products of %s",
    async (name) => {
      const { graph } = createModel(mergeConfig(presets.get(name)!, few), { batch: 8 });
      const module = compile(graph, profile, { outputs: ["logits"] });
      expect(usesMatrices(module)).toBeGreaterThan(3);
      expect(module.features).toContain(experimental);
      await validate(module, profile);
    },
  );

  test("and of odd sizes; narrow ones, such as routers' logits, stay in float32", async () => {
    for (const [M, N, K, matrices] of [
      [120, 132, 100, 1],
      [1000, 130, 36, 0],
      [4096, 64, 768, 0],
      [257, 1284, 1284, 1],
    ] as const) {
      const [x, w, b] = [f32("x", M, K), f32("w", K, N), f32("b", N)];
      const graph = new Graph(
        "odd",
        [x, w, b],
        [["y", ops.gelu(ops.linear(x, w, b), { approximate: "tanh" })]],
      );
      const module = compile(graph, { ...profile, minWorkgroups: 1 });
      expect(usesMatrices(module), `${M} ${N} ${K}`).toBe(matrices);
      await validate(module, profile);
    }
  });
});

/** Element e of a matrix in vectors of a tile. */
const element = (tile: string, at: string, stride: string, width: number): string =>
  `${tile}[${at} + e / ${width}u * ${stride} + e % ${width}u / 4u][e % 4u]`;

const loop = (count: number, body: string): string => `for (var e = 0u; e < ${count}u; e++) { ${body} }`;

/** The text of a kernel with each instruction of subgroup matrices as loops, which every thread of a subgroup repeats. */
function writtenOut(wgsl: string): string {
  if (!wgsl.includes("subgroupMatrix")) return wgsl;
  const [, size = "1"] = /@subgroup_size\((\d+)\)/.exec(wgsl) ?? [];
  const [, N = 0, M = 0] = (/subgroup_matrix_result<f32, (\d+), (\d+)>/.exec(wgsl) ?? []).map(Number);
  const [, K = 0] = (/subgroup_matrix_left<\w+, (\d+),/.exec(wgsl) ?? []).map(Number);
  return wgsl
    .replace(/enable (?!f16)\w+;\n/g, "")
    .replace(/diagnostic.*\n/, "")
    .replace(/ @subgroup_size\(\d+\)/, "")
    .replace(/,? ?@builtin\(subgroup_id\) subgroup: u32/, "")
    .replace(/(fn main\(.*\{\n)/, `$1  let subgroup = lane / ${size}u;\n`)
    .replace(/subgroup_matrix_result<f32, \d+, \d+>/, `array<f32, ${M * N}>`)
    .replace(
      /let (\w+) = subgroupMatrixLoad<subgroup_matrix_(left|right)<.*?>, row_major>\(&(\w+), (.*), (\d+u)\);/g,
      (_, name: string, side: string, tile: string, at: string, stride: string) => {
        const [count, width] = side === "left" ? [M * K, K] : [K * N, N];
        const read = `${name}[e] = f32(${element(tile, at, stride, width)});`;
        return `var ${name}: array<f32, ${count}>; ${loop(count, read)}`;
      },
    )
    .replace(
      /(sums\[\d+\]) = subgroupMatrixMultiplyAccumulate\((\w+), (\w+), .*\);/g,
      (_, sum: string, a: string, b: string) =>
        loop(
          M * N,
          `for (var k = 0u; k < ${K}u; k++) { ${sum}[e] += ${a}[e / ${N}u * ${K}u + k] * ${b}[k * ${N}u + e % ${N}u]; }`,
        ),
    )
    .replace(
      /subgroupMatrixStore<row_major>\(&(\w+), (.*), (sums\[\d+\]), (\d+u)\);/g,
      (_, tile: string, at: string, sum: string, stride: string) =>
        `if (lane % ${size}u == 0u) { ${loop(M * N, `${element(tile, at, stride, N)} = ${sum}[e];`)} }`,
    );
}

/** `profile` where products go by `tile`, or by it without parts. */
const by = (profile: Profile, tile: Tile): Profile => ({
  ...profile,
  minWorkgroups: 1,
  tiles: [tile, { ...tile, parts: undefined }, { wx: 8, wy: 8, tm: 4, tv: 1, bk: 0 }],
});

/** Matrices [M, K] and [K, N], and layers of experts. */
const [M, N, D, E] = [70, 132, 128, 3];
const innerOf = ({ parts }: Tile): number => (parts ? 1028 : 52);

function bothKinds(tile: Tile): Graph {
  const K = innerOf(tile);
  const [x, w, b] = [f32("x", M, K), f32("w", K, N), f32("b", N)];
  const rows = f32("rows", 1, M, D);
  const experts = [f32("w1", E, D, N), f32("b1", E, N), f32("w2", E, N, D), f32("b2", E, D)] as const;
  const logits = f32("logits", 1, M, E);
  const plan = ops.routeTopExperts(logits, { k: 2, capacity: 60, priority: "token" });
  const outputs = ops.expertMlp(ops.dispatch(rows, plan.tokens), ...experts, { approximate: "tanh" });
  return new Graph(
    "matrices",
    [x, w, b, rows, logits, ...experts],
    [
      ["affine", ops.gelu(ops.linear(x, w, b), { approximate: "tanh" })],
      ["experts", ops.combine(outputs, plan.slots, plan.weights)],
    ],
  );
}

/** Numbers that float16 has, of which only the sums round, times 1 + `more`. */
const numbersFor = ({ inputs }: Graph, more = 0): Map<string, Tensor> =>
  new Map(
    inputs.map(({ leaf, type }, i) => [
      leaf!.name,
      Tensor.of(type.dtype, type.shape, (...at) => {
        const sum = at.reduce((all, index, axis) => all + index * (7 + 2 * axis), 3 * i);
        return ((((sum * 37) % 101) - 50) / 128) * (1 + more);
      }),
    ]),
  );

const referenceOf = (graph: Graph, inputs: ReadonlyMap<string, Tensor>): Tensor[] => [
  ...evaluate(graph, ({ leaf }) => inputs.get(leaf?.name ?? "")!).values(),
];

/** With each instruction as loops, for which the adapter needs no more than float16. */
const asLoops = (module: DeviceModule): DeviceModule => {
  const kernels = module.kernels.map((kernel) => ({ ...kernel, wgsl: writtenOut(kernel.wgsl) }));
  expect(usesMatrices({ ...module, kernels })).toBe(0);
  return { ...module, kernels, features: module.features.filter((feature) => feature === "shader-f16") };
};
const small = { component: "f16", subgroup: 8 } as const;
const shapes: readonly (readonly [string, Omit<Tile, "matrix">, SubgroupMatrix])[] = [
  ["8x16x16", { wx: 2, wy: 2, tm: 2, tv: 1, bk: 32 }, { M: 8, N: 16, K: 16, ...small }],
  ["16x16x16, in parts", { wx: 2, wy: 1, tm: 1, tv: 2, bk: 16, parts: 2 }, { M: 16, N: 16, K: 16, ...small }],
  ["8x8x8", { wx: 2, wy: 1, tm: 2, tv: 3, bk: 16 }, { M: 8, N: 8, K: 8, ...small }],
  [
    "8x8x8 of float32",
    { wx: 1, wy: 2, tm: 1, tv: 2, bk: 8 },
    { M: 8, N: 8, K: 8, subgroup: 8, component: "f32" },
  ],
];

describe("on this machine's adapter", async () => {
  const device = await openDawn(true);
  afterAll(() => device.close());
  const own = profileOf(device);
  const offered = withUnsafe(own, device);

  async function run(module: DeviceModule, inputs: ReadonlyMap<string, Tensor>): Promise<Tensor[]> {
    const executable = await load(device, module, noWeights);
    const got = [...(await executable.run(inputs)).values()];
    executable.dispose();
    return got;
  }

  async function expectRight(
    tile: Tile,
    profile: Profile,
    change = (module: DeviceModule) => module,
  ): Promise<void> {
    const graph = bothKinds(tile);
    const module = compile(graph, by(profile, tile));
    expect(usesMatrices(module)).toBeGreaterThanOrEqual(2);
    const inputs = numbersFor(graph);
    const got = await run(change(module), inputs);
    // The second layer's factors are rounded.
    expectClose(got, referenceOf(graph, inputs), { f32: 1e-3, f16: 1e-3, bf16: 1e-3 });
  }

  /** Products of numbers that float16 lacks are off by no more than docs/decisions/0015 says. */
  async function expectWithinBound(
    tile: Tile,
    profile: Profile,
    change = (module: DeviceModule) => module,
  ): Promise<void> {
    const K = innerOf(tile);
    const [x, w] = [f32("x", M, K), f32("w", K, N)];
    const graph = new Graph("product", [x, w], [["y", ops.matmul(x, w)]]);
    const module = compile(graph, by(profile, tile));
    expect(usesMatrices(module)).toBe(1);
    const inputs = numbersFor(graph, 1 / 3000);
    const magnitudes = new Map(
      [...inputs].map(([name, { type, data }]) => [name, Tensor.from(type, Array.from(data, Math.abs))]),
    );
    const [got, want, terms] = [
      ...(await run(change(module), inputs)),
      ...referenceOf(graph, inputs),
      ...referenceOf(graph, magnitudes),
    ].map((tensor) => tensor.numbers());
    const shares = Array.from(want!, (v, i) => Math.abs(got![i]! - v) / terms![i]!);
    expect(Math.max(...shares)).toBeLessThanOrEqual(2 ** -10 + K * 2 ** -24);
  }

  test.for(shapes.slice(0, runs(2)))(
    "products by matrices %s, written out, are right",
    async ([, shape, matrix], { skip }) => {
      skip(matrix.component === "f16" && !device.features.has("shader-f16"), "this adapter has no float16");
      const tile: Tile = { ...shape, matrix };
      await expectRight(tile, own, asLoops);
      await expectWithinBound(tile, own, asLoops);
    },
  );

  const real = matrixTiles(offered);
  test.skipIf(real.length === 0)(
    "products by the adapter's own matrices are right, where it has any",
    async () => {
      for (const tile of real) {
        await expectRight(tile, offered);
        await expectWithinBound(tile, offered);
      }
    },
  );
});

const nvidia = unsafe.find(({ name }) => name === "nvidia")!;
test("nvidia-unsafe/linear-gelu.wgsl", async () => {
  const x = input("x", { dtype: "f32", shape: [8, 50, 512] });
  const value = ops.gelu(ops.linear(x, f32("w", 512, 2048), f32("b", 2048)), { approximate: "tanh" });
  const graph = new Graph("shown", [], [["r", value]]);
  const text = emitAll(graph, nvidia, packWeights([], nvidia.limits)).always.map(
    ({ launch: { label, workgroups, wgsl } }) => `// ${label}: ${workgroups.join(" x ")} workgroups\n${wgsl}`,
  );
  await expect(text.join("\n")).toMatchFileSnapshot("../golden/wgsl/nvidia-unsafe/linear-gelu.wgsl");
});
