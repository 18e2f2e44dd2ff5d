/** Tuned tiles: any of them computes the same, each product gets its own, and tuning chooses by what it measures. */
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";

import { dawn, dawnGpu } from "../../backends/webgpu/dawn.ts";
import { emitAll } from "../../backends/webgpu/emit.ts";
import { type Profile, profileOf, profiles, type Tile, webgpuOn } from "../../backends/webgpu/index.ts";
import type { Launch } from "../../backends/webgpu/kernel.ts";
import { sameProduct, type TunedProduct } from "../../backends/webgpu/profile.ts";
import { type Bench, DeviceBench, type Work } from "../../backends/webgpu/tune/bench.ts";
import { tune, tuneBy, withChoices } from "../../backends/webgpu/tune/index.ts";
import { WorkingState } from "../../backends/webgpu/tune/workingState.ts";
import { packWeights } from "../../backends/webgpu/weights.ts";
import { CompileError, Graph, input, ops, Tensor, type Value } from "../../ir/index.ts";
import { narrowWeights, pipeline, runPasses } from "../../passes/index.ts";
import { Device } from "../../runtime/device.ts";
import { expectClose } from "../support/close.ts";
import { bothWays } from "../support/engines.ts";
import { layer } from "../support/moeLayer.ts";
import { productOf } from "../support/product.ts";
import { runs } from "../support/runs.ts";

const gpu = await dawnGpu();
const [software, generic] = profiles as [Profile, Profile];
const f32 = (name: string, ...shape: number[]): Value => input(name, { dtype: "f32", shape });

interface Sizes {
  readonly B: number;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly E: number;
}

/** Products of every kind: batched, with a bias, of a transposed factor, and of listed rows. */
function products({ B, M, N, K, E }: Sizes): Graph {
  const [x, w, b, y] = [f32("x", B, M, K), f32("w", K, N), f32("b", N), f32("y", B, K, N)];
  const heads = f32("heads", B, M, B, 4 * Math.ceil(K / 8));
  const experts = [f32("w1", E, K, N), f32("b1", E, N), f32("w2", E, N, K), f32("b2", E, K)] as const;
  const logits = f32("logits", B, M, E);
  const { tokens, slots, weights } = ops.routeTopExperts(logits, { k: 2, capacity: M, priority: "token" });
  const outputs = ops.expertMlp(ops.dispatch(x, tokens), ...experts, { approximate: "tanh" });
  return new Graph(
    "products",
    [x, w, b, y, heads, ...experts, logits],
    [
      ["batched", ops.matmul(x, y)],
      ["affine", ops.linear(x, w, b)],
      ["attention", ops.attention(heads, heads, heads)],
      ["experts", ops.combine(outputs, slots, weights)],
    ],
  );
}

const supports = (await webgpuOn(() => Promise.resolve(gpu)).open()).supports;

function launchesOf(graph: Graph, profile: Profile): readonly Launch[] {
  const lowered = runPasses(graph, pipeline({ supports }, [...graph.outputs.keys()]));
  const { once, always } = emitAll(lowered, profile, packWeights(lowered.weights, profile.limits));
  return [...once, ...always].map(({ launch }) => launch).filter(({ product }) => product);
}

const sizes = fc.record({
  B: fc.integer({ min: 1, max: 2 }),
  M: fc.integer({ min: 1, max: 40 }),
  N: fc.integer({ min: 1, max: 40 }),
  K: fc.integer({ min: 1, max: 40 }),
  E: fc.integer({ min: 2, max: 4 }),
});

/** Tiles of any shape that the families take. */
const anyTile = fc.oneof(
  fc.record({
    wx: fc.constantFrom(1, 3, 8, 16),
    wy: fc.integer({ min: 1, max: 4 }),
    tm: fc.integer({ min: 1, max: 9 }),
    tv: fc.constant(1),
    bk: fc.constant(0),
    split: fc.constantFrom(undefined, 2, 5),
  }),
  fc.record({
    wx: fc.constantFrom(3, 8, 16),
    wy: fc.integer({ min: 1, max: 8 }),
    tm: fc.constantFrom(4, 8, 12),
    tv: fc.integer({ min: 1, max: 2 }),
    bk: fc.constantFrom(4, 12, 16),
    split: fc.constantFrom(undefined, 2, 4),
    parts: fc.constantFrom(undefined, 2, 3),
  }),
);

/** A tile of its own for each product of a graph; the layers of experts may get two of unequal heights. */
const tuned = fc.tuple(sizes, fc.array(anyTile, { minLength: 8, maxLength: 8 })).map(([size, tiles]) => {
  const graph = products(size);
  const base: Profile = { ...software, limits: generic.limits };
  const table = launchesOf(graph, base).map(({ product }, i): TunedProduct => {
    const { tile: _, samples: __, ...key } = product!;
    return { ...key, tile: tiles[i % tiles.length] as Tile };
  });
  return { graph, table, profile: { ...base, tuned: table } };
});

const heightOf = ({ wy, tm }: Tile): number => wy * tm;

test("each product gets the tile that was tuned for it, where a kernel of that tile computes it", () => {
  let honoured = 0;
  fc.assert(
    fc.property(tuned, ({ graph, table, profile }) => {
      const launches = launchesOf(graph, profile);
      const heights = new Set(
        launches.flatMap(({ product }) => (product!.experts > 0 ? [heightOf(product!.tile)] : [])),
      );
      // Both layers read the rows of one list.
      expect(heights.size).toBe(1);
      for (const { label, product } of launches) {
        const { tile } = table.find((each) => sameProduct(each, product!))!;
        const { M, N, K, batch, experts } = product!;
        const tiled = N % 4 === 0 && K % 4 === 0 && M % 4 === 0;
        if (experts > 0 || (tile.bk > 0 && !tiled)) continue;
        // Where products of a batch are counted, parts of an inner axis cannot be.
        const shares = batch === 1 && !label.startsWith("attention");
        expect(shares || product!.tile.parts === undefined).toBe(true);
        if (tile.parts !== undefined && !shares) continue;
        honoured++;
        // As many blocks of rows, as low as they can be.
        const blocks = Math.ceil(M / heightOf(tile)) * tile.wy;
        expect(product!.tile).toEqual(tile.bk === 0 ? { ...tile, tm: Math.ceil(M / blocks) } : tile);
      }
    }),
  );
  expect(honoured).toBeGreaterThan(100);
});

test("products mean the same by any tiles", async () => {
  await fc.assert(
    fc.asyncProperty(tuned, fc.nat(), async ({ graph, profile }, drawn) => {
      const engine = await webgpuOn(() => Promise.resolve(gpu), profile).open();
      try {
        const inputs = new Map(
          graph.inputs.map(({ leaf, type }, i) => [
            leaf!.name,
            Tensor.of(type.dtype, type.shape, (...at) => {
              const sum = at.reduce((all, index, axis) => all + index * (7 + 2 * axis), drawn % 97);
              return (((sum + 3 * i) * 37) % 101) / 50 - 1;
            }),
          ]),
        );
        const { got, want } = await bothWays(engine, graph, inputs);
        expectClose(got, want, dawn.tolerance);
      } finally {
        engine.close();
      }
    }),
    { numRuns: runs(3) },
  );
});

test("rows of experts that are no vectors are all multiplied, however high the tiles of their list", async () => {
  // 18 columns are no vectors, so that no tile in workgroup memory serves; the rule lists rows for one.
  const graph = products({ B: 1, M: 192, N: 36, K: 18, E: 2 });
  const profile: Profile = { ...generic, minWorkgroups: 1 };
  const engine = await webgpuOn(() => Promise.resolve(gpu), profile).open();
  try {
    const inputs = new Map(
      graph.inputs.map(({ leaf, type }) => [
        leaf!.name,
        Tensor.of(
          type.dtype,
          type.shape,
          (...at) => ((at.reduce((a, i) => 31 * a + i, 7) * 13) % 101) / 50 - 1,
        ),
      ]),
    );
    const { got, want } = await bothWays(engine, graph, inputs);
    expectClose(got, want, dawn.tolerance);
  } finally {
    engine.close();
  }
});

const shape = ({ wx, wy, tm }: Tile): string => `${wx}x${wy}x${tm}`;
const costly = ({ product }: Launch): number => (product!.experts > 0 ? 100 : 1);

/** What a pretended device is like. */
interface Machine {
  /** Milliseconds that it takes to build a kernel, in which it is idle. */
  readonly building?: number;
  /** How many times slower it is after so many milliseconds of load. */
  readonly slowness?: (busy: number) => number;
}

/** Takes what `msOf` says for a launch, as many times as it is slow, and as much of the time. */
function pretended(
  msOf: (launch: Launch) => number,
  { building = 0, slowness = () => 1 }: Machine = {},
): { bench: Bench; now: () => number; timed: Launch[]; events: string[] } {
  let [time, began, ended] = [0, 0, 0];
  const now = (): number => time;
  const timed: Launch[] = [];
  const events: string[] = [];
  const state = new WorkingState(undefined, now);
  const sum = (works: readonly Work[], times: readonly number[]): number =>
    works.reduce((all, [launch], i) => all + msOf(launch!) * (times[i] ?? 1), 0);
  const busy = (ms: number): number => {
    if (time - ended > 5) began = time;
    const taken = ms * slowness(time - began);
    ended = time += taken;
    return taken;
  };
  return {
    timed,
    events,
    now,
    bench: {
      build: async (launches) => {
        events.push("build");
        time += building * launches.length;
        return Promise.resolve();
      },
      time: async (works, times) => {
        events.push("time");
        timed.push(...works.flat());
        const ms = sum(works, times);
        return state.in(
          () => Promise.resolve(busy(Math.max(1, ms))),
          () => Promise.resolve({ ms: busy(ms), results: [] }),
        );
      },
      compare: ([a, b], times) => Promise.resolve([sum(a, times), sum(b, times)]),
    },
  };
}

describe("tuning", () => {
  const graph = products({ B: 2, M: 32, N: 96, K: 64, E: 4 });

  test("chooses the fastest tile of each product, one for both layers of experts", async () => {
    const { bench, now } = pretended(({ product }) => (shape(product!.tile) === "16x1x8" ? 1 : 2));
    const { profile, subjects } = await tuneBy(bench, graph, software, { now, budgetMs: 1e9 });
    expect(subjects.map(({ faster }) => faster && shape(faster.tile))).toEqual(Array(5).fill("16x1x8"));
    expect(subjects.find(({ products: all }) => all.length === 2)?.label).toMatch(/^experts/);
    expect(profile.tuned).toHaveLength(6);
    for (const { product } of launchesOf(graph, profile)) expect(shape(product!.tile)).toBe("16x1x8");
  });

  test("builds all kernels of a product before one is timed, where that is fast", async () => {
    const { bench, now, events } = pretended(() => 10, { building: 5 });
    const { subjects } = await tuneBy(bench, graph, software, { now, budgetMs: 1e9 });
    const turns = events.filter((event, i) => event !== events[i - 1]);
    expect(turns).toEqual(Array.from({ length: 1 + subjects.length }, () => ["build", "time"]).flat());
    expect(subjects.every(({ left }) => left === 0)).toBe(true);
  });

  test("slow building leaves time for measuring, of each product, and keeps to the budget", async () => {
    const building = 300;
    const { bench, now, events } = pretended(({ product }) => product!.tile.tm / 10, { building });
    const { subjects, ms } = await tuneBy(bench, graph, software, { now, budgetMs: 20_000 });
    expect(ms).toBeLessThan(20_000 + 5 * building);
    expect(subjects.every(({ measured }) => measured >= 2)).toBe(true);
    expect(subjects.some(({ left }) => left > 0)).toBe(true);
    const built = events.filter((event, i) => event === "build" && events[i + 1] === "time").length;
    expect(built).toBeGreaterThan(subjects.length);
  });

  test.each([
    ["is slow after it was idle", (busy: number) => (busy < 150 ? 6 : 1)],
    ["becomes faster all the time", (busy: number) => 1 + 40 / (1 + busy / 1000)],
    ["becomes slower all the time", (busy: number) => 1 + busy / 4000],
  ])("finds the fastest tile of a device that %s", async (_, slowness) => {
    // 8x1x2 is measured early, 8x8x4 late.
    for (const [fastest, next] of [
      ["8x1x2", "8x8x4"],
      ["16x1x8", "8x1x2"],
      ["8x8x4", "16x1x8"],
    ] as const) {
      const taking = ({ product }: Launch): number =>
        ({ [fastest]: 4, [next]: 4.4 })[shape(product!.tile)] ?? 6;
      const { bench, now } = pretended(taking, { building: 10, slowness });
      const { subjects } = await tuneBy(bench, graph, software, { now, budgetMs: 1e9 });
      expect(subjects.map(({ faster }) => faster && shape(faster.tile))).toEqual(Array(5).fill(fastest));
    }
  });

  test("keeps the rule's tile where another is hardly faster, and forgets what it chose before", async () => {
    const { bench, now } = pretended(({ product }) => (shape(product!.tile) === "16x1x8" ? 0.96 : 1));
    const before = await tuneBy(
      pretended(({ product }) => (product!.tile.tm === 2 ? 1 : 2)).bench,
      graph,
      software,
      { budgetMs: 1e9 },
    );
    expect(before.profile.tuned).toHaveLength(6);
    const { profile, subjects } = await tuneBy(bench, graph, before.profile, { now, budgetMs: 1e9 });
    expect(subjects.every(({ faster }) => faster === undefined)).toBe(true);
    expect(profile).toEqual(software);
  });

  test("begins with the costliest, keeps to the budget, and leaves what it did not reach as it was", async () => {
    const { bench, now, timed } = pretended(costly);
    const old: TunedProduct = { ...productOf(1, 1, 1), tile: software.tiles[0]! };
    const { profile, subjects, ms } = await tuneBy(
      bench,
      graph,
      { ...software, tuned: [old] },
      { now, budgetMs: 1000 },
    );
    expect(ms).toBeLessThan(1000 + 200);
    expect(subjects[0]?.label).toMatch(/^experts/);
    expect(timed.filter(({ product }) => product!.experts > 0).length).toBeGreaterThanOrEqual(8);
    expect(subjects.some(({ left }) => left > 0)).toBe(true);
    expect(profile.tuned).toEqual([old]);

    const little = await tuneBy(bench, graph, software, { now, budgetMs: 150 });
    expect(little.ms).toBeLessThan(150 + 250);
    expect(little.subjects.map(({ rule }) => rule !== undefined)).toEqual([true, ...Array(4).fill(false)]);

    const none = await tuneBy(bench, graph, software, { now, budgetMs: 0 });
    expect(none.profile).toEqual(software);
    expect(none.subjects.every(({ rule, measured }) => rule === undefined && measured === 0)).toBe(true);
  });

  test("passes over tiles that the device refuses, and counts them", async () => {
    const { bench, now } = pretended(({ product }) => {
      if (product!.tile.wx === 16) throw new CompileError("B4", "kernel", "is refused");
      return product!.tile.tm;
    });
    const { subjects } = await tuneBy(bench, graph, software, { now, budgetMs: 1e9 });
    expect(subjects.every(({ refused }) => refused > 0)).toBe(true);
    expect(subjects.every(({ faster }) => faster?.tile.wx !== 16 && faster?.tile.tm === 2)).toBe(true);
  });

  test("a lost device is an error", async () => {
    const { bench } = pretended(({ product }) => {
      if (product!.tile.tm !== 8) throw new CompileError("B5", "kernel", "the device was lost");
      return 1;
    });
    await expect(tuneBy(bench, graph, software, {})).rejects.toThrow(/was lost/);
  });

  test("choices of one program stay when another is tuned", async () => {
    const fast = pretended(({ product }) => (product!.tile.tm === 2 ? 1 : 2)).bench;
    const first = await tuneBy(fast, graph, software, { budgetMs: 1e9 });
    const other = products({ B: 2, M: 20, N: 96, K: 64, E: 4 });
    const second = await tuneBy(fast, other, first.profile, { budgetMs: 1e9 });
    expect(second.profile.tuned?.slice(0, 6)).toEqual(first.profile.tuned);
    expect(second.profile.tuned!.length).toBeGreaterThan(6);
    expect(withChoices(first.profile, second.subjects)).toEqual(second.profile);
  });

  describe("on a device", async () => {
    const device = await Device.open(gpu);
    afterAll(() => device.close());

    test("times launches in its working state", async () => {
      const own = profileOf(device);
      const works = [launchesOf(graph, own).slice(0, 1)];
      const submitsBy = async (state: WorkingState): Promise<number> => {
        const bench = new DeviceBench(device, own, state);
        const before = device.counts.submits;
        await bench.time(works, [1]);
        await bench.compare([works, works], [1]);
        bench.close();
        return device.counts.submits - before;
      };
      const cold = await submitsBy(new WorkingState(0));
      // By a clock that counts how often it is asked a load takes 1 ms, and 2 ms pass until the next.
      let time = 0;
      expect(await submitsBy(new WorkingState(20, () => time++))).toBe(cold + 8);
    });

    test("takes the parts of experts' second layer for one result", async () => {
      const tile: Tile = { wx: 8, wy: 2, tm: 4, tv: 1, bk: 16 };
      const deep = products({ B: 1, M: 12, N: 264, K: 36, E: 2 });
      const second = (parts?: number): Launch => {
        const layers = [productOf(12, 264, 36, { experts: 2 }), productOf(12, 36, 264, { experts: 2 })];
        const table = layers.map((each) => ({ ...each, tile: { ...tile, parts } }));
        const launches = launchesOf(deep, { ...generic, tuned: table });
        return launches.find(({ label }) => label === "experts, second layer")!;
      };
      const [whole, shared] = [second(), second(2)];
      expect([whole, shared].map(({ workgroups }) => workgroups[2])).toEqual([1, 2]);
      const bench = new DeviceBench(device, generic, new WorkingState(0));
      const { results } = await bench.time([[whole]], [1]);
      const { ms } = await bench.time([[shared]], [1], { best: Infinity, expected: results });
      expect(ms).toBeGreaterThan(0);
      bench.close();
    });

    test("multiplies by numbers where weights are words of float16, too", async () => {
      const given = layer({ G: 2, T: 9, E: 3, D: 36, F: 68 }, { k: 2, capacity: 5 });
      const { graph: narrow } = narrowWeights(given, { precision: "half-weights" });
      const [first] = launchesOf(narrow, generic).filter(({ product }) => product!.bits === 16);
      const bench = new DeviceBench(device, generic, new WorkingState(0));
      const { results } = await bench.time([[first!]], [1]);
      bench.close();
      const [row, next] = [results[0]!.slice(0, 68), results[0]!.slice(68, 136)];
      expect([...row, ...next].every(Number.isFinite)).toBe(true);
      // By zeros all rows would be the bias.
      expect(row).not.toEqual(next);
    });

    test("measures what the program launches, and nothing fails", async () => {
      const own = profileOf(device);
      // A clock that stands still for a few tiles, so that a slow driver measures as many as a fast one.
      let shown = 0;
      const { subjects } = await tune(graph, device, own, {
        budgetMs: 1,
        progress: () => shown++,
        now: () => (shown < 12 ? 0 : 1),
      });
      // Both layers of experts are one; how many products attention has is the profile's choice.
      expect(subjects).toHaveLength(launchesOf(graph, own).length - 1);
      for (const { rule, refused, products: all, launches } of subjects) {
        expect(rule?.ms).toBeGreaterThan(0);
        expect(refused).toBe(0);
        expect(launches).toBe(all.length);
      }
      expect(subjects.reduce((sum, { measured }) => sum + measured, 0)).toBeGreaterThan(3);
      device.check("after tuning");
    });
  });
});
