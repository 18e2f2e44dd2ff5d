/** Memory plans: what is needed at the same time lies apart, what a launch binds is legal, and little is wasted. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  type ArenaPlan,
  leastBytes,
  type Pair,
  planArenas,
  type Tenant,
} from "../../backends/webgpu/arenas.ts";
import { emitAll, supports } from "../../backends/webgpu/emit.ts";
import { anyGpu, compile, type Profile, profiles } from "../../backends/webgpu/index.ts";
import type { Scratch } from "../../backends/webgpu/kernel.ts";
import { lower } from "../../backends/webgpu/lower.ts";
import { originOf } from "../../backends/webgpu/views.ts";
import { layWeights } from "../../backends/webgpu/weightLayout.ts";
import { packWeights } from "../../backends/webgpu/weights.ts";
import { Graph, ops, type Value, weight } from "../../ir/index.ts";
import { createModel, presets } from "../../models/index.ts";
import { pipeline, runPasses } from "../../passes/index.ts";
import type { DeviceModule, ModuleLaunch, Place } from "../../runtime/module.ts";
import { randomProgram } from "../support/arbitrary.ts";
import { runs } from "../support/runs.ts";
import { stream } from "../support/streams.ts";

const overlap = (a: Place, b: Place): boolean =>
  a.buffer === b.buffer && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;

/** What WebGPU and the limits have against a launch: nothing. */
function faults({ kernels, buffers, limits }: DeviceModule, launch: ModuleLaunch): string[] {
  const { bindings, workgroups, label } = launch;
  const { access } = kernels[launch.kernel]!;
  const stored = bindings.filter((place) => !buffers[place.buffer]!.image);
  const found = (what: string, holds: boolean): string[] => (holds ? [] : [`${label}: ${what}`]);
  return [
    ...found("count", access.length === bindings.length),
    ...found("too many", stored.length <= limits.maxStorageBuffersPerShaderStage),
    ...found("grid", Math.max(...workgroups) <= limits.maxComputeWorkgroupsPerDimension),
    ...bindings.flatMap((place, i) => [
      ...found("alignment", place.offset % 256 === 0),
      ...found("size", !stored.includes(place) || place.bytes <= limits.maxStorageBufferBindingSize),
      ...found("range", place.offset + place.bytes <= buffers[place.buffer]!.bytes),
      ...bindings.flatMap((other, j) => [
        ...found("bound both ways", place.buffer !== other.buffer || access[i] === access[j]),
        ...found("writable overlap", i === j || access[i] === "read" || !overlap(place, other)),
      ]),
    ]),
  ];
}

/**
 * Follows what every byte holds: a launch reads only what its values' own launches have written since anything else
 * did, in a first run and in a second; and what a result replaces, the same run has made, all of it there.
 */
function expectSound(lowered: Graph, profile: Profile, module: DeviceModule): void {
  const laid = layWeights(lowered, profile);
  const { graph } = laid;
  const launches = emitAll(graph, profile, packWeights(graph.weights, profile.limits, laid));
  const holds = new Map<Value | Scratch, Place>();
  const write = (owner: Value | Scratch, place: Place): void => {
    for (const [other, there] of holds) if (other !== owner && overlap(place, there)) holds.delete(other);
    holds.set(owner, place);
  };
  const inputs = graph.inputs.map((value, i) => [value, module.inputs[i]!.place] as const);
  const outputs = [...graph.outputs.values()].map((value, i) => [value, module.outputs[i]!.place] as const);
  const step = (what: string, owner: Value | Scratch, place: Place, writes: boolean): void => {
    if ("type" in owner && owner.leaf?.kind === "weight") return;
    if (writes) write(owner, place);
    const there = holds.get(owner);
    if (!there || !overlap(there, place)) throw new Error(`${what} has been overwritten`);
  };
  const fresh = new Set<Value | Scratch>();
  const follow = (emitted: typeof launches.once, placed: readonly ModuleLaunch[]): void => {
    fresh.clear();
    for (const [i, { launch }] of emitted.entries()) {
      for (const writes of [false, true]) {
        for (const [j, { resource, access, name, replaces }] of launch.bindings.entries()) {
          const reads = access === "read" || replaces;
          if (writes ? access === "read" : !reads) continue;
          const { kernel, bindings } = placed[i]!;
          const place = bindings[j]!;
          if (writes && module.kernels[kernel]!.access[j] !== "read_write")
            throw new Error(`${name} is read-only`);
          const used = (!writes && replaces) || resource;
          const value = "weight" in used ? used.weight : used;
          const owner = "type" in value ? originOf(value).value : value;
          step(`${launch.label}, ${name}`, owner, place, writes);
          if (writes) fresh.add(owner);
          else if (replaces) expect([fresh.has(replaces), holds.get(replaces)]).toEqual([true, place]);
        }
      }
    }
  };
  follow(launches.once, module.once);
  for (let run = 0; run < 2; run++) {
    for (const [value, place] of inputs) step("input", value, place, true);
    for (const [value, place] of inputs) step("input", value, place, false);
    follow(launches.always, module.launches);
    for (const [value, place] of outputs) step("output", originOf(value).value, place, false);
  }
}

/** A sound plan of a graph that may need lowering. */
function expectPlanned(graph: Graph, profile: Profile): DeviceModule {
  const lowered = runPasses(graph, pipeline({ supports }, [...graph.outputs.keys()]));
  const module = lower(lowered, profile);
  expect([...module.once, ...module.launches].flatMap((launch) => faults(module, launch))).toEqual([]);
  expectSound(lowered, profile, module);
  expect(module.memory.planned).toBeGreaterThanOrEqual(module.memory.least);
  return module;
}

const [software] = profiles as [Profile];
describe.each([...presets])("%s", (_, config) => {
  // The larger batch fills the preset's groups.
  test.each(process.env["MOEC_NIGHTLY"] ? [1, 8] : [8])(
    "batch %i: a sound plan within 1.15 times the largest live set",
    (batch) => {
      const { graph } = createModel(config, { batch });
      const { memory } = expectPlanned(graph.select(["logits"]), anyGpu);
      expect(memory.planned / memory.least).toBeLessThanOrEqual(1.15);
    },
  );
});

test("random programs, some of whose inputs are weights", () => {
  fc.assert(
    fc.property(randomProgram({ maxNodes: 16 }), fc.nat(), ({ graph }, mask) => {
      const fixed = graph.inputs.filter((_, i) => (mask >> (i % 20)) & 1);
      const names = new Map(fixed.map((value) => [value, weight(value.leaf!.name, value.type)]));
      const replaced = graph.replace(names);
      const inputs = graph.inputs.filter((value) => !names.has(value));
      expectPlanned(new Graph("random", inputs, replaced.outputs), software);
    }),
  );
});

test("random sums, moved and kept, some of which take the place of a term", () => {
  let [replaced, total] = [0, 0];
  fc.assert(
    fc.property(stream, fc.nat(15), ({ graph }, mask) => {
      const fixed = graph.inputs.filter((_, i) => (mask >> i) & 1);
      const names = new Map(fixed.map((value) => [value, weight(value.leaf!.name, value.type)]));
      const inputs = graph.inputs.filter((value) => !names.has(value));
      const program = new Graph("sums", inputs, graph.replace(names).outputs);
      expectPlanned(program, anyGpu);
      const { always } = emitAll(program, anyGpu, packWeights(program.weights, anyGpu.limits));
      total++;
      replaced += Number(always.some(({ launch }) => launch.bindings.some(({ replaces }) => replaces)));
    }),
    { numRuns: runs(100) },
  );
  expect(replaced / total).toBeGreaterThan(0.15);
});

test("a part of a value that can be bound there is a view, and keeps the value's memory", () => {
  const x = weight("x", { dtype: "f32", shape: [4, 64] });
  const rows = (start: number, limit: number, columns = 64): Value =>
    ops.slice(x, { start: [start, 0], limit: [limit, columns] });
  const graph = new Graph(
    "parts",
    [],
    [
      ["view", ops.softmax(rows(1, 3))],
      ["copy", ops.softmax(rows(1, 3, 32))],
    ],
  );
  const { once } = compile(graph, software);
  expect(once.map(({ label }) => label)).toEqual(["softmax", "slice", "softmax"]);
  expect(once[0]!.bindings[0]).toEqual({ buffer: 0, offset: 256, bytes: 512 });
});

/** Tenants with pairs of them that overlap in time, as launches have them. */
const crowds = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 5000 }), fc.nat(30), fc.nat(8)), { minLength: 1, maxLength: 40 })
  .map((list) => list.map(([bytes, from, length]): Tenant => ({ bytes, from, to: from + length })))
  .chain((tenants) =>
    fc.tuple(
      fc.constant(tenants),
      fc.array(
        fc.record({
          tenants: fc.tuple(fc.nat(tenants.length - 1), fc.nat(tenants.length - 1)),
          strict: fc.boolean(),
        }),
        { maxLength: 60 },
      ),
    ),
  )
  .map(([tenants, pairs]) => ({ tenants, pairs: pairs.filter(({ tenants: [a, b] }) => a !== b) }));

const sizesOf = ({ arenas }: ArenaPlan): number => arenas.reduce((a, b) => a + b, 0);

test("any crowd of tenants is placed apart", () => {
  fc.assert(
    fc.property(crowds, ({ tenants, pairs }: { tenants: readonly Tenant[]; pairs: readonly Pair[] }) => {
      const limit = 16_384;
      const plan = planArenas(tenants, pairs, limit);
      const place = (i: number): Place => ({
        ...plan.spots[i]!,
        buffer: plan.spots[i]!.arena,
        bytes: tenants[i]!.bytes,
      });
      for (const [i, { bytes }] of tenants.entries()) {
        expect(place(i).offset % 256).toBe(0);
        expect(place(i).offset + bytes).toBeLessThanOrEqual(plan.arenas[place(i).buffer]!);
      }
      const together = tenants.flatMap((a, i) =>
        tenants.flatMap((b, j) => (i < j && a.from <= b.to && b.from <= a.to ? [[i, j] as const] : [])),
      );
      expect(together.filter(([i, j]) => overlap(place(i), place(j)))).toEqual([]);
      const strict = pairs.filter((pair) => pair.strict).map((pair) => pair.tenants);
      expect(strict.filter(([a, b]) => place(a).buffer === place(b).buffer)).toEqual([]);
      for (const bytes of plan.arenas) expect(bytes).toBeLessThanOrEqual(limit);
      expect(sizesOf(plan)).toBeGreaterThanOrEqual(leastBytes(tenants));
      expect(planArenas(tenants, pairs, limit)).toEqual(plan);
    }),
  );
});

test("the least is the largest sum of what is there at once", () => {
  fc.assert(
    fc.property(crowds, ({ tenants }) => {
      const at = Array.from({ length: 40 }, (_, time) =>
        tenants
          .filter(({ from, to }) => from <= time && time <= to)
          .reduce((sum, { bytes }) => sum + bytes, 0),
      );
      expect(leastBytes(tenants)).toBe(Math.max(...at));
    }),
  );
});
