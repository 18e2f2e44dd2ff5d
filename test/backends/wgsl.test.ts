/**
 * Every kernel's text: it is valid for every profile, by Dawn's null backend, which needs no GPU; and it is what
 * was last looked at, as the files under test/golden/wgsl.
 */
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";

import { dawnGpu } from "../../backends/webgpu/dawn.ts";
import { emitAll } from "../../backends/webgpu/emit.ts";
import { profiles, webgpuOn } from "../../backends/webgpu/index.ts";
import type { Launch } from "../../backends/webgpu/kernel.ts";
import { kernels } from "../../backends/webgpu/kernels/index.ts";
import { withAccess } from "../../backends/webgpu/lower.ts";
import { mayBindWritable } from "../../backends/webgpu/places.ts";
import type { Profile } from "../../backends/webgpu/profile.ts";
import { layWeights } from "../../backends/webgpu/weightLayout.ts";
import { packWeights } from "../../backends/webgpu/weights.ts";
import { Graph, input, ops, type Value, weight } from "../../ir/index.ts";
import { createModel, mergeConfig, presets, randomWeights } from "../../models/index.ts";
import { Device } from "../../runtime/device.ts";
import { legalCase } from "../support/arbitrary.ts";
import { noWeights } from "../support/engines.ts";
import { seed } from "../support/runs.ts";

const nullGpu = await dawnGpu(["backend=null"]);

const all = [...kernels.values()];

/** Those that no other profile is like. */
const distinct = profiles.filter(({ name }) => ["cpu-vulkan", "gpu-generic", "minimum"].includes(name));

describe.each(distinct.map((profile) => [profile.name, profile] as const))(
  "profile %s",
  async (_, profile) => {
    const device = await Device.open(nullGpu, profile);
    // Subgroups of the null device are smaller than those of any other, which only matters where kernels run.
    const { subgroupMinSize } = device;
    const engine = await webgpuOn(() => Promise.resolve(nullGpu), { ...profile, subgroupMinSize }).open();
    afterAll(() => {
      engine.close();
      device.close();
    });

    test.each(all.map(({ op }) => [op.name, op] as const))(
      "%s compiles for random sizes",
      async (_name, op) => {
        for (const c of fc.sample(legalCase(op, { maxSize: 40 }), { numRuns: 4, seed })) {
          const results = op.apply(c.params, c.attrs).map((value, i): [string, Value] => [`r${i}`, value]);
          const graph = new Graph(op.name, c.params, results);
          const executable = await engine.compile(graph, noWeights);
          expect(executable.report.launches).toBeGreaterThanOrEqual(0);
          executable.dispose();
          // A memory plan may put what a launch reads and what it writes into one buffer.
          for (const { launch } of emitAll(graph, profile, packWeights([], profile.limits)).always) {
            const access = launch.bindings.map((binding) =>
              mayBindWritable(launch, binding) ? "read_write" : binding.access,
            );
            await device.pipeline({ ...launch, wgsl: withAccess(launch.wgsl, access), access });
          }
        }
      },
    );

    // Full widths, few layers and experts: every kernel of the model, none of its bulk.
    const few = { encoder: { num_layers: 2, moe: { num_experts: 4, layers: [1] } } };
    test.each(["vmoe-s32-last2", "vmoe-b16-every2", "vmoe-h14-last5", "vmoe-15b"])(
      "%s compiles, in two blocks",
      async (name) => {
        for (const batch_priority of [false, true]) {
          const patch = { encoder: { moe: { router: { dispatcher: { batch_priority } } } } };
          const config = mergeConfig(mergeConfig(presets.get(name)!, few), { ...patch, num_classes: 10 });
          const { graph, parameters } = createModel(config, { batch: 2 });
          const zeros = parameters.map((p) => ({ ...p, init: { kind: "constant", value: 0 } as const }));
          const executable = await engine.compile(graph, randomWeights(zeros, 0), { outputs: ["logits"] });
          expect(executable.report.launches).toBeGreaterThan(20);
          executable.dispose();
        }
      },
    );
  },
);

/** The launches of `value`, and of what it is made of as far as that is not among the inputs. */
function emit(value: Value, profile: Profile): readonly Launch[] {
  const laid = layWeights(new Graph("shown", [], [["r", value]]), profile);
  const weights = packWeights(laid.graph.weights, profile.limits, laid);
  const { once, always } = emitAll(laid.graph, profile, weights);
  return [...once, ...always].map(({ launch }) => launch);
}

const f32 = (...shape: number[]): Value => input("x", { dtype: "f32", shape });
const i32 = (...shape: number[]): Value => input("i", { dtype: "i32", shape });

const bf16 = (...shape: number[]): Value => input("b", { dtype: "bf16", shape });
const single = (name: string, ...shape: number[]): Value => weight(name, { dtype: "f32", shape });
const experts = [f32(8, 512, 2048), f32(8, 2048), f32(8, 2048, 512), f32(8, 512)] as const;

/** The gates of the two experts of largest gate and preference, which lies apart for each expert. */
const preferredOf = (scores: Value): Value => {
  const gates = ops.softmax(scores);
  const preferred = ops.add(gates, ops.broadcast(single("preference", 8), { shape: gates.type.shape }));
  return ops.take(gates, ops.topK(preferred, { k: 2 }).indices);
};

/** Applications of the kernels worth reading, at sizes of real models. */
const shown: Readonly<Record<string, Value>> = {
  "add-f32": ops.add(f32(8, 50, 512), f32(8, 50, 512)),
  "cast-bf16": ops.cast(f32(8, 50, 512), { to: "bf16" }),
  gelu: ops.gelu(f32(8, 50, 2048), { approximate: "tanh" }),
  transpose: ops.transpose(f32(8, 7, 32, 7, 96), { perm: [0, 1, 3, 2, 4] }),
  concat: ops.concat(f32(8, 1, 512), f32(8, 49, 512), { axis: 1 }),
  softmax: ops.softmax(f32(400, 8)),
  "softmax-added-to": ops.add(ops.softmax(f32(400, 8)), f32(400, 8)),
  "layer-norm": ops.layerNorm(f32(8, 50, 512), f32(512), f32(512), { epsilon: 1e-6 }),
  "top-k": ops.topK(f32(8, 400), { k: 400 }).values,
  linear: ops.linear(f32(8, 50, 512), f32(512, 2048), f32(2048)),
  "linear-of-weights": ops.linear(f32(8, 50, 2048), single("w", 2048, 500), f32(500)),
  "linear-long": ops.gelu(ops.linear(f32(50, 2048), f32(2048, 512), f32(512)), { approximate: "tanh" }),
  "linear-half-weights": ops.linear(
    f32(8, 50, 512),
    ops.cast(weight("w", { dtype: "f16", shape: [512, 2048] }), { to: "f32" }),
    f32(2048),
  ),
  "matmul-int8": ops.matmul(
    f32(8, 108, 512),
    ops.dequantize(input("i", { dtype: "u32", shape: [8, 262_144] }), f32(8, 16, 2048), {
      bits: 8,
      rows: 512,
      block: 32,
    }),
  ),
  "matmul-int8-of-weights": ops.matmul(
    f32(8, 16, 512),
    ops.dequantize(weight("w", { dtype: "u32", shape: [8, 65_536] }), single("scales", 8, 16, 512), {
      bits: 8,
      rows: 512,
      block: 32,
    }),
  ),
  "matmul-int4": ops.matmul(
    f32(8, 108, 512),
    ops.dequantize(input("i", { dtype: "u32", shape: [8, 131_072] }), f32(8, 16, 2048), {
      bits: 4,
      rows: 512,
      block: 32,
    }),
  ),
  "matmul-odd": ops.matmul(f32(3, 5, 7), f32(3, 7, 9)),
  "linear-gelu": ops.gelu(ops.linear(f32(8, 50, 512), f32(512, 2048), f32(2048)), { approximate: "tanh" }),
  "scale-shift-cast": ops.cast(
    ops.add(
      ops.multiply(f32(8, 50, 512), ops.constant({ value: 0.125, to: "f32", shape: [8, 50, 512] })),
      ops.broadcast(f32(512), { shape: [8, 50, 512] }),
    ),
    { to: "bf16" },
  ),
  "patch-embedding": ops.linear(
    ops.patchify(f32(8, 224, 224, 3), { height: 32, width: 32 }),
    f32(3072, 512),
    f32(512),
  ),
  patchify: ops.patchify(f32(8, 224, 224, 3), { height: 32, width: 32 }),
  attention: ops.attention(f32(8, 50, 8, 64), f32(8, 50, 8, 64), f32(8, 50, 8, 64)),
  "self-attention": ops.selfAttention(f32(8, 50, 1536), { heads: 8, width: 64 }),
  "linear-one-row": ops.linear(f32(1, 512), f32(512, 1000), f32(1000)),
  "route-by-gate": ops.routeTopExperts(f32(1, 400, 8), { k: 2, capacity: 108, priority: "gate" }).tokens,
  "norm-and-gate": ops.normAndGate(f32(1, 400, 512), f32(512), f32(512), f32(512, 8), {
    epsilon: 1e-6,
    k: 2,
    through: "bf16",
  }).items,
  // The last workgroup is not full.
  "norm-and-gate-odd": ops.normAndGate(f32(5, 79, 70), f32(70), f32(70), f32(70, 8), {
    epsilon: 1e-6,
    k: 2,
    through: "f32",
  }).items,
  "norm-and-logits": ops.normAndLogits(f32(5, 79, 70), f32(70), f32(70), f32(70, 6), {
    epsilon: 1e-6,
    through: "bf16",
  }).items,
  "norm-and-logits-with-a-choice": preferredOf(
    ops.normAndLogits(f32(1, 400, 512), f32(512), f32(512), f32(512, 8), { epsilon: 1e-6, through: "bf16" })
      .logits,
  ),
  "rows-of-scores": preferredOf(f32(1, 400, 8)),
  take: ops.take(f32(3, 8), i32(3, 2)),
  "seated-mlp": ops.seatedMlp(bf16(1, 400, 512), i32(1, 400, 2), f32(1, 400, 2), f32(1, 400, 2), ...experts, {
    capacity: 108,
    priority: "gate",
    approximate: "tanh",
    through: "bf16",
  }).y,
  "seated-mlp-of-weights": ops.seatedMlp(
    f32(1, 400, 512),
    i32(1, 400, 2),
    f32(1, 400, 2),
    f32(1, 400, 2),
    single("w1", 8, 512, 2048),
    single("b1", 8, 2048),
    single("w2", 8, 2048, 512),
    single("b2", 8, 512),
    { capacity: 108, priority: "gate", approximate: "tanh", through: "f32" },
  ).y,
  "seated-mlp-within": ops.seatedMlpWithin(
    f32(4, 197, 384),
    i32(4, 197, 2),
    f32(4, 197, 2),
    f32(4, 197, 2),
    i32(3),
    ...([f32(300, 384, 96), f32(300, 96), f32(300, 96, 384), f32(300, 384)] as const),
    { capacity: 8, approximate: "tanh", through: "f32" },
  ).y,
  "routed-mlp": ops.routedMlp(f32(1, 400, 512), i32(1, 8, 108), i32(1, 400, 2), f32(1, 400, 2), ...experts, {
    approximate: "tanh",
    through: "bf16",
  }),
};

test.each(
  profiles
    .slice(0, 2)
    .flatMap((profile) =>
      Object.entries(shown).map(([name, value]) => [profile.name, name, profile, value] as const),
    ),
)("%s/%s.wgsl", async (_, name, profile, value) => {
  const launches = emit(value, profile);
  const text = launches.map(
    ({ label, workgroups, wgsl }) => `// ${label}: ${workgroups.join(" x ")} workgroups\n${wgsl}`,
  );
  await expect(text.join("\n")).toMatchFileSnapshot(`../golden/wgsl/${profile.name}/${name}.wgsl`);
});
