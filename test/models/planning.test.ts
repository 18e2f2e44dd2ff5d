/** Capacity planning: what a trace says is lost is what a run loses, and plans keep their promises. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { reference } from "../../backends/reference/index.ts";
import { memorySource } from "../../files/bytes.ts";
import { ops, type Shape, Tensor } from "../../ir/index.ts";
import {
  capacitiesOf,
  checkTraceable,
  createModel,
  demandOf,
  dropless,
  joinTraces,
  type Json,
  type LayerTrace,
  mergeConfig,
  planCapacities,
  readTrace,
  routeOutputs,
  routesOf,
  type RoutingTrace,
  shareAt,
  traceOf,
  traceTensors,
} from "../../models/index.ts";
import { readSafetensors, writeSafetensors } from "../../models/weights/safetensors.ts";
import { applied } from "../../testing/program.ts";
import { tinyVmoe } from "../support/golden.ts";
import { runs } from "../support/runs.ts";

const i32 = (shape: Shape, numbers: ArrayLike<number>): Tensor =>
  Tensor.from({ dtype: "i32", shape }, numbers);

/** Random demand, ties and choices that do not count among it. */
const layers = fc
  .record({
    images: fc.integer({ min: 1, max: 3 }),
    tokens: fc.integer({ min: 1, max: 7 }),
    experts: fc.integer({ min: 1, max: 4 }),
    k: fc.integer({ min: 1, max: 3 }),
  })
  .filter(({ experts, k }) => k <= experts)
  .chain(({ images, tokens, experts, k }) => {
    const [shape, count] = [[images, tokens, k], images * tokens * k];
    return fc.record({
      layer: fc
        .record({
          asked: fc.array(fc.integer({ min: -1, max: experts - 1 }), { minLength: count, maxLength: count }),
          weights: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: count, maxLength: count }),
        })
        .map(({ asked, weights }): LayerTrace => {
          // A token's first choice weighs most, as routers make it.
          const sorted = Array.from({ length: images * tokens }, (_, t) =>
            weights.slice(t * k, (t + 1) * k).toSorted((a, b) => b - a),
          ).flat();
          return {
            experts,
            choices: Tensor.from({ dtype: "i32", shape }, asked),
            weights: Tensor.from({ dtype: "f32", shape }, sorted),
          };
        }),
      groupSize: fc.integer({ min: 1, max: images * tokens }),
      capacity: fc.integer({ min: 1, max: 8 }),
      priority: fc.constantFrom("token" as const, "gate" as const),
    });
  });

test("what a trace says of a capacity is what assign_slots does with it", () => {
  fc.assert(
    fc.property(layers, ({ layer, groupSize, capacity, priority }) => {
      const { experts, choices, weights } = layer;
      const k = choices.type.shape[2]!;
      const demand = demandOf("block", layer, { groupSize, priority });
      const used = demand.groups * groupSize * k;
      const [asked, weighed] = [choices, weights].map((each) =>
        Array.from(each.numbers().subarray(0, used)),
      ) as [number[], number[]];
      const order = Array.from({ length: demand.groups }, (_, g) => {
        const tokens = Array.from({ length: groupSize }, (_t, t) => t);
        const first = (t: number): number => weighed[(g * groupSize + t) * k]!;
        return priority === "token" ? tokens : tokens.toSorted((a, b) => first(b) - first(a));
      }).flat();
      const [G, T] = [demand.groups, groupSize];
      const [, seated] = applied(ops.assignSlots, [i32([G, T, k], asked), i32([G, T], order)], {
        experts,
        capacity,
      });
      const slots = Array.from(seated!.numbers());
      const total = asked.reduce((n, e) => n + (e < 0 ? 0 : 1), 0);
      const kept = slots.reduce((n, slot) => n + (slot < 0 ? 0 : 1), 0);
      expect(shareAt(demand.dropped, capacity)).toBeCloseTo(total > 0 ? 1 - kept / total : 0, 10);
      const mass = (keeps: (i: number) => boolean): number =>
        weighed.reduce((sum, w, i) => sum + (keeps(i) ? w : 0), 0);
      const all = mass((i) => asked[i]! >= 0);
      const lost = all > 0 ? 1 - mass((i) => slots[i]! >= 0) / all : 0;
      expect(shareAt(demand.lostWeight, capacity)).toBeCloseTo(lost, 10);
      const unserved = Array.from({ length: G * T }, (_, t) => {
        const own = slots.slice(t * k, (t + 1) * k);
        return own.every((slot) => slot < 0) && asked.slice(t * k, (t + 1) * k).some((e) => e >= 0);
      }).filter(Boolean).length;
      expect(shareAt(demand.unserved, capacity)).toBeCloseTo(unserved / (G * T), 10);
    }),
    { numRuns: runs(200) },
  );
});

/** The tiny model of the original's recordings, routed by demand alone. */
const config = (patch: Json): Json =>
  mergeConfig(tinyVmoe().cases.get("vanilla_C1.05")!.config, {
    encoder: { moe: { router: { dispatcher: { ...patch } } } },
  });

/** The trace of the recorded images, one a run. */
async function traced(given: Json): Promise<RoutingTrace> {
  const { image, weights } = tinyVmoe();
  const [images = 1, height = 1, width = 1] = image.type.shape;
  const model = createModel(dropless(given), { batch: 1, imageSize: [height, width] });
  const program = await (await reference.open()).compile(model.graph, weights);
  const size = height * width * 3;
  const parts: RoutingTrace[] = [];
  for (let i = 0; i < images; i++) {
    const one = new Tensor(
      { dtype: "f32", shape: [1, height, width, 3] },
      image.data.slice(i * size, (i + 1) * size),
    );
    parts.push(traceOf(model, await program.run(new Map([["image", one]])), 1));
  }
  return joinTraces(parts);
}

describe.each(["token", "gate"] as const)("seated by %s", (priority) => {
  const given = config({ batch_priority: priority === "gate" });
  const { image, weights } = tinyVmoe();
  const [batch = 1, height = 1, width = 1] = image.type.shape;

  /** Drop rates of the first sparse block, whose input no drop has changed. */
  const dropsOf = async (capacities: Readonly<Record<string, number>>): Promise<number> => {
    const model = createModel(given, { batch, imageSize: [height, width], capacities });
    const program = await (await reference.open()).compile(model.graph, weights);
    const outputs = await program.run(new Map([["image", image]]));
    expect(routeOutputs(model).every((name) => outputs.has(name))).toBe(true);
    return routesOf(model, outputs)[0]!.dropRate;
  };

  test("a plan's drop rate is the run's, and no fewer slots would do", async () => {
    const trace = await traced(given);
    const model = createModel(given, { batch, imageSize: [height, width] });
    for (const dropRate of [0, 0.1, 0.3]) {
      const [first, ...rest] = planCapacities(model, batch, { dropRate, priority }, trace);
      const capacities = capacitiesOf([first!, ...rest]);
      expect(await dropsOf(capacities)).toBeCloseTo(first!.dropRate!, 10);
      expect(first!.dropRate!).toBeLessThanOrEqual(dropRate);
      if (first!.capacity === 1) continue;
      expect(await dropsOf({ ...capacities, [first!.block]: first!.capacity - 1 })).toBeGreaterThan(dropRate);
    }
  });

  test("a budget is kept, and no slot that it leaves would save more", async () => {
    const trace = await traced(given);
    const model = createModel(given, { batch, imageSize: [height, width] });
    const all = planCapacities(model, batch, { dropRate: 0, priority }, trace);
    const full = all.reduce((sum, { gflops }) => sum + gflops, 0);
    let lost = Number.POSITIVE_INFINITY;
    for (const share of [0.3, 0.5, 0.8, 1]) {
      const plan = planCapacities(model, batch, { gflops: share * full, priority }, trace);
      expect(plan.reduce((sum, { gflops }) => sum + gflops, 0)).toBeLessThanOrEqual(share * full * 1.000001);
      const now = plan.reduce((sum, { lostWeight }) => sum + lostWeight!, 0);
      expect(now).toBeLessThanOrEqual(lost);
      lost = now;
    }
    expect(lost).toBe(0);
  });
});

test("serving by gate loses no more weight than serving by position", () => {
  fc.assert(
    fc.property(layers, ({ layer, groupSize, capacity }) => {
      // With one choice a token, the largest gates of each expert are the ones that stay.
      const one = (priority: "token" | "gate"): number =>
        shareAt(demandOf("block", layer, { groupSize, k: 1, priority }).lostWeight, capacity);
      expect(one("gate")).toBeLessThanOrEqual(one("token") + 1e-12);
    }),
    { numRuns: runs(100) },
  );
});

test("capacities fill up to the tile", () => {
  const model = createModel(config({}), { batch: 4, imageSize: [32, 32] });
  for (const { configured, capacity } of planCapacities(model, 4, { tile: 32 })) {
    expect(capacity % 32).toBe(0);
    expect(capacity - configured).toBeLessThan(32);
  }
});

test("a trace survives a file", async () => {
  const trace = await traced(config({}));
  const parts: Uint8Array[] = [];
  await writeSafetensors(traceTensors(trace), (bytes) => Promise.resolve(void parts.push(bytes.slice())));
  const file = await readSafetensors(memorySource("trace", Buffer.concat(parts)));
  expect(await readTrace(file, "trace")).toEqual(trace);
});

const choosing = createModel(
  mergeConfig(mergeConfig(config({}), { encoder: { moe: { router: null } } }), {
    encoder: {
      moe: { router: { name: "NoisyTopItemsPerExpertRouter", dispatcher: { capacity_factor: 1 } } },
    },
  }),
  { imageSize: [32, 32] },
);
const dense = createModel(mergeConfig(config({}), { encoder: { moe: null } }), { imageSize: [32, 32] });
const model = createModel(config({}), { batch: 1, imageSize: [32, 32] });

test.each([
  ["a goal without a trace", () => planCapacities(model, 1, { dropRate: 0.1 }), /needs a trace/],
  ["two goals", () => planCapacities(model, 1, { dropRate: 0.1, gflops: 1 }), /not both/],
  ["a rate of 1", () => planCapacities(model, 1, { dropRate: 1 }), /below 1; got 1/],
  ["half a tile", () => planCapacities(model, 1, { tile: 0.5 }), /tile: must be an integer/],
  [
    "a block that is not sparse",
    () => createModel(config({}), { capacities: { encoderblock_0: 4 } }),
    /sparse blocks; got encoderblock_0/,
  ],
  [
    "tokens that do not choose",
    () => checkTraceable(choosing, "it"),
    /it: has no choices to plan for: NoisyTopItemsPerExpertRouter/,
  ],
  ["a dense model", () => checkTraceable(dense, "it"), /it: has no sparse block/],
] as const)("refuses %s", (_, act, message) => {
  expect(act).toThrow(message);
});
