/** The WebGPU backend beyond single ops: families of kernels, shards, counts, determinism, failures. */
import { afterAll, describe, expect, test } from "vitest";
import { globals } from "webgpu";

import type { Engine } from "../../backends/backend.ts";
import { dawn } from "../../backends/webgpu/dawn.ts";
import { compile, type Profile, profiles, type Tile, webgpuOn } from "../../backends/webgpu/index.ts";
import { defaultLimits, fits } from "../../backends/webgpu/profile.ts";
import { Graph, input, ops, Tensor, type Value } from "../../ir/index.ts";
import { createModel, mergeConfig, presets, randomWeights, routers } from "../../models/index.ts";
import { Device, mapModeWrite } from "../../runtime/device.ts";
import { adapter, gpu } from "../support/adapter.ts";
import { expectClose } from "../support/close.ts";
import { bothWays, noWeights } from "../support/engines.ts";
import { expectOneLine } from "../support/errors.ts";
import { tinyVmoe } from "../support/golden.ts";
import { productOf } from "../support/product.ts";
import { runs, someOf } from "../support/runs.ts";

const [software, generic] = profiles as [Profile, Profile];
const nvidia = profiles.find(({ name }) => name === "nvidia")!;

const withEngine = async <T>(
  profile: Profile | undefined,
  use: (engine: Engine) => Promise<T>,
): Promise<T> => {
  const engine = await webgpuOn(() => Promise.resolve(gpu), profile).open();
  try {
    return await use(engine);
  } finally {
    engine.close();
  }
};

const f32 = (name: string, ...shape: number[]): Value => input(name, { dtype: "f32", shape });
const eighths = (shape: readonly number[], step: number): Tensor =>
  Tensor.from(
    { dtype: "f32", shape },
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => ((i * step) % 101) / 50 - 1),
  );

/** Every tile that some profile has; how workgroups share an inner axis is for tiles.test.ts. */
const allTiles: readonly Tile[] = [
  ...new Map(
    profiles
      .flatMap(({ tiles }) => tiles)
      .filter(({ parts }) => parts === undefined)
      .map((tile) => [JSON.stringify(tile), tile]),
  ).values(),
];

/** M, N and K on and off every tile. */
const productSizes = [
  [64, 64, 64],
  [70, 100, 52],
  [33, 7, 130],
  [1, 20, 36],
] as const;

test.for(
  allTiles.map((tile): [string, Tile] => [
    `${tile.wx}x${tile.wy}x${tile.split ?? 1} ${tile.broadcast ? "broadcasting " : ""}threads of ${tile.tm}x${4 * tile.tv}, ${tile.bk || "no"} steps held`,
    tile,
  ]),
)("matrix products by %s, of sizes on and off the tile", async ([, tile], { skip }) => {
  skip(!fits(tile, adapter), "takes more threads, subgroups or workgroup memory than this adapter has");
  const { features, subgroupMinSize } = tile.broadcast ? software : generic;
  const tiles = [tile, generic.tiles.at(-1)!];
  const { limits } = adapter;
  // Software drivers compile what holds tiles for seconds.
  const sizes =
    tile.bk > 0 ? someOf(productSizes, 1).slice(0, runs(1)) : someOf(productSizes, allTiles.indexOf(tile));
  for (const [M, N, K] of sizes) {
    const tuned = [productOf(M, N, K, { batch: 2 }), productOf(2 * M, N, K)].map((each) => ({
      ...each,
      tile,
    }));
    await withEngine({ ...generic, limits, features, subgroupMinSize, tiles, tuned }, async (engine) => {
      const [x, w, b] = [f32("x", 2, M, K), f32("w", 2, K, N), f32("b", N)];
      const first = ops.slice(w, { start: [0, 0, 0], limit: [1, K, N] });
      const affine = ops.linear(x, ops.reshape(first, { shape: [K, N] }), b);
      const graph = new Graph(
        "products",
        [x, w, b],
        [
          ["product", ops.matmul(x, w)],
          ["affine", affine],
        ],
      );
      const inputs = new Map([
        ["x", eighths([2, M, K], 7)],
        ["w", eighths([2, K, N], 13)],
        ["b", eighths([N], 29)],
      ]);
      const { got, want } = await bothWays(engine, graph, inputs);
      expectClose(got, want, dawn.tolerance);
    });
  }
});

test("workgroups share a long inner axis where blocks are few, in two launches with the same bits every time", async () => {
  await withEngine({ ...generic, minWorkgroups: 256 }, async (engine) => {
    for (const [M, N, K, launches] of [
      [60, 96, 1540, 2],
      [64, 36, 2048, 2],
      [60, 96, 100, 1],
      [60, 95, 1540, 1],
    ] as const) {
      const [x, w, b, y] = [f32("x", M, K), f32("w", K, N), f32("b", N), f32("y", M, N)];
      const affine = ops.add(y, ops.gelu(ops.linear(x, w, b), { approximate: "tanh" }));
      const graph = new Graph("long", [x, w, b, y], [["affine", affine]]);
      const inputs = new Map([
        ["x", eighths([M, K], 7)],
        ["w", eighths([K, N], 13)],
        ["b", eighths([N], 29)],
        ["y", eighths([M, N], 31)],
      ]);
      const executable = await engine.compile(graph, noWeights);
      expect(executable.report.launches).toBe(launches);
      const [first, again] = [await executable.run(inputs), await executable.run(inputs)];
      expect(again.get("affine")!.bytes).toEqual(first.get("affine")!.bytes);
      executable.dispose();
      const { got, want } = await bothWays(engine, graph, inputs);
      expectClose(got, want, dawn.tolerance);
    }
  });
});

test("attention and experts on the tiles of GPUs", async () => {
  await withEngine({ ...generic, minWorkgroups: 1 }, async (engine) => {
    const values = [f32("q", 1, 18, 2, 20), f32("k", 1, 18, 2, 20), f32("v", 1, 18, 2, 20)] as const;
    const [G, T, E, k, capacity, D, F] = [2, 9, 3, 2, 5, 20, 36];
    const parameters = [f32("w1", E, D, F), f32("b1", E, F), f32("w2", E, F, D), f32("b2", E, D)] as const;
    const [x, logits] = [f32("x", G, T, D), f32("logits", G, T, E)];
    const plan = ops.routeTopExperts(logits, { k, capacity, priority: "gate" });
    const outputs = ops.expertMlp(ops.dispatch(x, plan.tokens), ...parameters, { approximate: "tanh" });
    const graph = new Graph(
      "parts",
      [...values, x, logits, ...parameters],
      [
        ["attention", ops.attention(...values)],
        ["experts", ops.combine(outputs, plan.slots, plan.weights)],
      ],
    );
    const inputs = new Map(
      graph.inputs.map(({ leaf, type }, i) => [leaf!.name, eighths(type.shape, 7 + 2 * i)]),
    );
    // Gates that rounding alone could tell apart would leave to the device which token comes first.
    inputs.set(
      "logits",
      Tensor.of("f32", [G, T, E], (g, t, e) => 2 * Math.cos(((g * T + t) * E + e) ** 2)),
    );
    const { got, want } = await bothWays(engine, graph, inputs);
    expectClose(got, want, dawn.tolerance);
  });
});

/** Distance of the tiny model's logits from the original's. */
async function logitsOff(engine: Engine, name: string): Promise<number> {
  const { image, weights, cases } = tinyVmoe();
  const { config, logits } = cases.get(name)!;
  const executable = await engine.compile(
    createModel(config, { batch: 4, imageSize: [12, 12] }).graph,
    weights,
  );
  const outputs = await executable.run(new Map([["image", image]]));
  executable.dispose();
  return Math.max(...Array.from(outputs.get("logits")!.numbers(), (v, i) => Math.abs(v - logits[i]!)));
}

test.each(profiles.slice(1).map((profile) => [profile.name, profile] as const))(
  "the tiny model by the kernels of profile %s",
  async (_, profile) => {
    await withEngine(profile, async (engine) => {
      expect(await logitsOff(engine, "bpr_C0.4")).toBeLessThan(2e-4);
    });
  },
);

const limited = (bytes: number): Profile => ({
  ...software,
  limits: { ...software.limits, maxStorageBufferBindingSize: bytes },
});

test("expert weights beyond the binding limit are bound in shards; others are an error that names them", async () => {
  // One expert's layer is 2 KiB, four experts' 8 KiB; the largest other tensor is that of queries, keys and values, 7.5 KiB.
  await withEngine(limited(7936), async (engine) => {
    expect(await logitsOff(engine, "bpr_C0.4")).toBeLessThan(2e-4);
  });
  const error: unknown = await withEngine(limited(1024), (engine) => logitsOff(engine, "bpr_C0.4")).catch(
    (e: unknown) => e,
  );
  expect(expectOneLine(error).message).toMatch(
    /must fit one binding of 1024 bytes here; it is f32\[.*\] \[B3\]$/,
  );
});

describe("a run of the tiny model", async () => {
  const engine = await dawn.open();
  const { image, weights, cases } = tinyVmoe();
  const { graph } = createModel(cases.get("bpr_C0.4")!.config, { batch: 4, imageSize: [12, 12] });
  const executable = await engine.compile(graph, weights);
  afterAll(() => engine.close());

  test("is one submit and one read, after everything else, as counted at the API", async () => {
    const calls: string[] = [];
    const spied = (type: "GPUQueue" | "GPUBuffer", name: string): (() => void) => {
      const { prototype } = (globals as unknown as Record<string, { prototype: Record<string, unknown> }>)[
        type
      ]!;
      const original = prototype[name] as (...args: unknown[]) => unknown;
      prototype[name] = function spy(this: unknown, ...args: unknown[]): unknown {
        // Mapping for the next run's inputs reads nothing.
        calls.push(args[0] === mapModeWrite ? "staging for the next run" : name);
        return original.apply(this, args);
      };
      return () => void (prototype[name] = original);
    };
    const restore = [spied("GPUQueue", "submit"), spied("GPUBuffer", "mapAsync")];
    await executable.run(new Map([["image", image]])).finally(() => restore.forEach((undo) => undo()));
    expect(calls).toEqual(["submit", "staging for the next run", "mapAsync"]);
    expect(executable.report).toMatchObject({ submits: 1, readbacks: 0 });
  });

  test("gives the same bits every time, also when runs overlap", async () => {
    const results = await Promise.all(
      Array.from({ length: 20 }, () => executable.run(new Map([["image", image]]))),
    );
    for (const outputs of results) {
      for (const [name, tensor] of results[0]!) expect(outputs.get(name)!.bytes, name).toEqual(tensor.bytes);
    }
  });

  test("reports its launches by scope", () => {
    const { launches, launchesByScope } = executable.report;
    expect([...launchesByScope!.values()].reduce((a, b) => a + b)).toBe(launches);
    expect(launchesByScope!.get("Encoder/encoderblock_0/LayerNorm_0")).toBe(1);
  });

  test("refuses inputs that do not fit", async () => {
    await expect(executable.run(new Map())).rejects.toThrow(
      "input image: must be f32[4, 12, 12, 3]; got nothing [B1]",
    );
    const wrong = new Map([["image", eighths([4, 12, 12, 1], 1)]]);
    await expect(executable.run(wrong)).rejects.toThrow(
      "input image: must be f32[4, 12, 12, 3]; got f32[4, 12, 12, 1] [B1]",
    );
  });
});

test("an MoE layer is five launches, its norm among them, however many experts there are", async () => {
  const { cases } = tinyVmoe();
  const { config } = cases.get("bpr_C0.4")!;
  await withEngine(undefined, async (engine) => {
    for (const num_experts of [4, 16]) {
      for (const [live, bfloat16] of [
        [false, false],
        [false, true],
        [true, true],
      ] as const) {
        const patch = { encoder: { moe: { num_experts, router: { dispatcher: { bfloat16 } } } } };
        const model = createModel(mergeConfig(config, patch), { batch: 4, imageSize: [12, 12], live });
        const outputs = ["logits", "encoderblock_1/slots"];
        const executable = await engine.compile(model.graph, randomWeights(model.parameters, 0), { outputs });
        const { launchesByScope } = executable.report;
        for (const block of ["encoderblock_1", "encoderblock_3"]) {
          const inside = [...launchesByScope!].filter(([scope]) => scope.startsWith(`Encoder/${block}/Moe`));
          expect(inside.reduce((sum, [, count]) => sum + count, 0)).toBe(5);
          expect(launchesByScope!.has(`Encoder/${block}/LayerNorm_1`)).toBe(false);
        }
        executable.dispose();
      }
    }
  });
});

test.each([
  ["NoisyTopExpertsPerItemRouter", 5],
  ["TopKRenormalisedRouter", 5],
  ["SoftmaxAfterTopKRouter", 5],
  ["SwitchRouter", 5],
  ["SigmoidBiasRouter", 5],
  ["GroupLimitedRouter", 5],
  ["ThresholdRouter", 5],
  ["HashRouter", 6],
  ["RandomRouter", 6],
  ["BalancedAssignmentRouter", 7],
] as const)("an MoE layer by %s is %i launches, its norm among them", (name, launches) => {
  const config = presets.get("vmoe-s32-last2-e8")!;
  const dispatcher = { capacity_factor: 1.05, bfloat16: true };
  const router = { name, ...(routers.get(name)?.keys.includes("dispatcher") && { dispatcher }) };
  for (const num_experts of [8, 32]) {
    const without = mergeConfig(config, { encoder: { moe: { num_experts, router: null } } });
    const { graph } = createModel(mergeConfig(without, { encoder: { moe: { router } } }), {
      batch: 8,
    });
    for (const profile of [software, nvidia]) {
      const module = compile(graph, profile, { outputs: ["logits"] });
      const inside = module.launches.filter(({ scope }) => /encoderblock_7\/(LayerNorm_1|Moe)/.test(scope));
      expect(inside, profile.name).toHaveLength(launches);
    }
  }
});

test.each([...routers])("as many launches for many experts as for few by %s", (_, router) => {
  const launchesFor = (experts: number): number => {
    const options = {
      ...router.sample({ experts, choices: 1 }, () => 0),
      ...(router.keys.includes("dispatcher") && { dispatcher: { capacity_factor: 1 } }),
      ...(router.keys.includes("num_selected_experts") && { num_selected_experts: 1 }),
    };
    const moe = { num_experts: experts, layers: [1], router: null };
    const few = mergeConfig(tinyVmoe().cases.get("bpr_C0.4")!.config, { encoder: { moe } });
    const config = mergeConfig(few, { encoder: { moe: { router: { ...options, name: router.name } } } });
    const { graph } = createModel(config, { batch: 4, imageSize: [12, 12] });
    return compile(graph, generic, { outputs: ["logits"] }).launches.length;
  };
  expect(launchesFor(16)).toBe(launchesFor(4));
});

test("more experts than a workgroup has threads where nobody asks for more", async () => {
  const [T, k, experts] = [40, 2, 300];
  const choices = Tensor.of("i32", [1, T, k], (_, t, j) => (7 * t + 61 * j) % experts);
  const order = Tensor.of("i32", [1, T], (_, t) => (3 * t) % T);
  const values = [input("choices", choices.type), input("order", order.type)] as const;
  const { tokens, slots } = ops.assignSlots(...values, { experts, capacity: 1 });
  const graph = new Graph("seats", values, [
    ["tokens", tokens],
    ["slots", slots],
  ]);
  const inputs = new Map([
    ["choices", choices],
    ["order", order],
  ]);
  await withEngine(undefined, async (engine) => {
    const { got, want } = await bothWays(engine, graph, inputs);
    expect(got.map(({ data }) => data)).toEqual(want.map(({ data }) => data));
  });
});

test("a device has no more threads in a workgroup than along x", async () => {
  const found = await gpu.requestAdapter();
  const { maxComputeInvocationsPerWorkgroup } = found!.limits;
  const own = new Device(
    await found!.requestDevice({ requiredLimits: { maxComputeInvocationsPerWorkgroup } }),
  );
  const { maxComputeWorkgroupSizeX } = own.gpu.limits;
  expect(own.limits.maxComputeInvocationsPerWorkgroup).toBeLessThanOrEqual(maxComputeWorkgroupSizeX);
  const limits = { ...defaultLimits, maxComputeInvocationsPerWorkgroup: maxComputeWorkgroupSizeX + 1 };
  expect(() => own.ensure("a program", { limits, features: [] })).toThrow(
    "needs maxComputeInvocationsPerWorkgroup",
  );
  own.close();
});

test("a lost device is an error that names the program, at once and ever after", async () => {
  const engine = await dawn.open();
  const x = f32("x", 4);
  const executable = await engine.compile(new Graph("exponential", [x], [["y", ops.exp(x)]]), noWeights);
  const inputs = new Map([["x", eighths([4], 1)]]);
  const running = executable.run(inputs);
  engine.close();
  const outcome: unknown = await running.catch((error: unknown) => error);
  const later: unknown = await executable.run(inputs).catch((error: unknown) => error);
  expect(expectOneLine(later).message).toMatch(/^exponential: the device was lost \(destroyed.*\) \[B5\]$/);
  expect(outcome instanceof Map || expectOneLine(outcome).code === "B5").toBe(true);
});

test("a value beyond the device is an error that names it", async () => {
  await withEngine(undefined, async (engine) => {
    const x = f32("huge", 2 ** 16, 2 ** 16);
    const graph = new Graph("huge", [x], [["y", ops.exp(x)]]);
    await expect(engine.compile(graph, noWeights)).rejects.toThrow(
      /^input huge: must fit one binding of \d+ bytes here; it is f32\[65536, 65536\] \[B3\]$/,
    );
  });
});

test("without a GPU object or an adapter the reason is said", async () => {
  await expect(webgpuOn(() => Promise.resolve(undefined)).open()).rejects.toThrow(/no WebGPU \[B2\]$/);
  const none = { requestAdapter: () => Promise.resolve(null) } as unknown as GPU;
  await expect(webgpuOn(() => Promise.resolve(none)).open()).rejects.toThrow(
    "webgpu: there is no adapter [B2]",
  );
});
