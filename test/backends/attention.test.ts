/** Attention in one launch: every way to cut it, for sizes on and off its blocks, is what the reference computes. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { dawn, dawnGpu } from "../../backends/webgpu/dawn.ts";
import { type Profile, profiles, webgpuOn } from "../../backends/webgpu/index.ts";
import {
  attentionBlocks,
  attentionBlocksFor,
  type AttentionSizes,
} from "../../backends/webgpu/kernels/flashAttention.ts";
import { Graph, input, ops, Tensor, type Value } from "../../ir/index.ts";
import { expectClose } from "../support/close.ts";
import { bothWays, noWeights } from "../support/engines.ts";
import { runs, seed } from "../support/runs.ts";

const gpu = await dawnGpu();
const generic = profiles.find(({ name }) => name === "gpu-generic")!;
const f32 = (name: string, ...shape: number[]): Value => input(name, { dtype: "f32", shape });

/** Widths of heads; the software driver takes long to compile kernels of the larger ones. */
const widths = runs(1) > 1 ? [4, 8, 20, 32, 36, 64, 76, 80, 96, 128] : [4, 8, 20, 32, 36, 64];

/** Sizes on and off the blocks; half of them with as many keys as queries, which then lie in one tensor. */
const anySizes = fc
  .record({
    B: fc.integer({ min: 1, max: 2 }),
    T: fc.oneof(fc.integer({ min: 1, max: 70 }), fc.constantFrom(1, 16, 32)),
    S: fc.oneof(fc.integer({ min: 1, max: 140 }), fc.constantFrom(1, 32)),
    H: fc.integer({ min: 1, max: 3 }),
    W: fc.constantFrom(...widths, 128),
    joined: fc.boolean(),
  })
  .map(({ joined, ...sizes }): AttentionSizes => (joined ? { ...sizes, S: sizes.T } : sizes));

const device = (KiB: number, minWorkgroups: number): Profile => ({
  ...generic,
  limits: { ...generic.limits, maxComputeWorkgroupStorageSize: 1024 * KiB },
  minWorkgroups,
});

/** Queries, keys and values whose scores reach some hundreds: only powers by the largest score are finite. */
function random(graph: Graph, start: number): ReadonlyMap<string, Tensor> {
  let state = start;
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  return new Map(
    graph.inputs.map(({ leaf, type }) => {
      const scale = leaf!.name === "v" ? 1 : 6;
      const size = type.shape.reduce((a, b) => a * b, 1);
      return [
        leaf!.name,
        Tensor.from(
          type,
          Array.from({ length: size }, () => scale * next()),
        ),
      ];
    }),
  );
}

/** What is added takes the result's place in memory: a row stored where another belongs changes what is added to it. */
async function expectAttention(profile: Profile, { B, T, S, H, W }: AttentionSizes, start: number) {
  const [q, k, v] = [f32("q", B, T, H, W), f32("k", B, S, H, W), f32("v", B, S, H, W)];
  const [qkv, x] = [f32("qkv", B, T, 3 * H * W), f32("x", B, T, H, W)];
  const mixed = T === S ? ops.selfAttention(qkv, { heads: H, width: W }) : ops.attention(q, k, v);
  const inputs = T === S ? [qkv, x] : [q, k, v, x];
  const graph = new Graph("attention", inputs, [["y", ops.add(mixed, ops.softmax(x))]]);
  const engine = await webgpuOn(() => Promise.resolve(gpu), profile).open();
  try {
    const executable = await engine.compile(graph, noWeights);
    expect(executable.report.launches).toBe(2);
    executable.dispose();
    const { got, want } = await bothWays(engine, graph, random(graph, start));
    expectClose(got, want, dawn.tolerance);
  } finally {
    engine.close();
  }
}

describe.each(
  attentionBlocks.map(
    (blocks) => [`${blocks.wx}x${blocks.wy} threads of ${blocks.tm} rows`, blocks] as const,
  ),
)("by %s", (_, blocks) => {
  // Devices and sizes for which these blocks are chosen: those to which they give workgroups just enough.
  const chosen = fc
    .sample(fc.tuple(fc.constantFrom(16, 32), anySizes), { numRuns: 2000, seed })
    .map(([KiB, sizes]) => {
      const { B, T, H } = sizes;
      return [device(KiB, B * H * Math.ceil(T / (blocks.wy * blocks.tm))), sizes] as const;
    })
    .filter(([profile, sizes]) => attentionBlocksFor(sizes, profile) === blocks);

  test("there are sizes for which they are chosen", () => {
    expect(chosen).not.toEqual([]);
  });

  const tried = chosen.slice(0, Math.min(runs(1), 12));
  test.each(tried.map(([profile, sizes]) => [JSON.stringify(sizes), profile, sizes] as const))(
    "%s",
    async (_name, profile, sizes) => {
      await expectAttention(profile, sizes, 1 + attentionBlocks.indexOf(blocks));
    },
  );
});
