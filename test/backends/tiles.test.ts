/** Family `tile`: products are right whatever the shape of tiles, and however threads and workgroups share an inner axis. */
import { expect, test } from "vitest";

import { dawn, dawnGpu } from "../../backends/webgpu/dawn.ts";
import { compile, type Profile, profiles, webgpuOn } from "../../backends/webgpu/index.ts";
import type { Tile } from "../../backends/webgpu/profile.ts";
import { Graph, input, ops, Tensor, type Value } from "../../ir/index.ts";
import { expectClose } from "../support/close.ts";
import { bothWays } from "../support/engines.ts";

const gpu = await dawnGpu();
const generic = profiles.find(({ name }) => name === "gpu-generic") as Profile;
const f32 = (name: string, ...shape: number[]): Value => input(name, { dtype: "f32", shape });

/** A product of sizes off every tile. */
function affine(M: number, N: number, K: number): Graph {
  const [x, w, b] = [f32("x", M, K), f32("w", K, N), f32("b", N)];
  return new Graph("affine", [x, w, b], [["y", ops.gelu(ops.linear(x, w, b), { approximate: "tanh" })]]);
}

/** Products of rows that are listed by expert. */
function experts(T: number, D: number, F: number, E: number): Graph {
  const [x, logits] = [f32("x", 1, T, D), f32("logits", 1, T, E)];
  const weights = [f32("w1", E, D, F), f32("b1", E, F), f32("w2", E, F, D), f32("b2", E, D)] as const;
  const plan = ops.routeTopExperts(logits, { k: 2, capacity: T - 3, priority: "token" });
  const outputs = ops.expertMlp(ops.dispatch(x, plan.tokens), ...weights, { approximate: "tanh" });
  return new Graph(
    "experts",
    [x, logits, ...weights],
    [["y", ops.combine(outputs, plan.slots, plan.weights)]],
  );
}

/** A product of a factor on its side, and one of many. */
function attention(T: number, S: number, H: number, W: number): Graph {
  const [q, k, v] = [f32("q", 1, T, H, W), f32("k", 1, S, H, W), f32("v", 1, S, H, W)];
  return new Graph("attention", [q, k, v], [["y", ops.attention(q, k, v)]]);
}

test.each<readonly [string, Tile, Graph]>([
  ["of several rows and columns a thread", { wx: 8, wy: 2, tm: 8, tv: 2, bk: 16 }, affine(37, 132, 52)],
  [
    "that threads and workgroups share",
    { wx: 8, wy: 2, tm: 4, tv: 1, bk: 16, split: 4, parts: 3 },
    affine(13, 36, 1120),
  ],
  [
    "of listed rows, shared by threads",
    { wx: 8, wy: 2, tm: 4, tv: 1, bk: 16, split: 2 },
    experts(21, 36, 44, 3),
  ],
  ["of a factor on its side", { wx: 8, wy: 4, tm: 4, tv: 1, bk: 16 }, attention(13, 24, 2, 20)],
])("tiles %s", async (_, tile, graph) => {
  const profile: Profile = { ...generic, attention: "three launches", tiles: [tile] };
  const texts = compile(graph, profile).kernels.map(({ wgsl }) => wgsl);
  expect(texts.filter((wgsl) => wgsl.includes("> held:")).length).toBe(graph.name === "affine" ? 1 : 2);
  expect(texts.some((wgsl) => wgsl.includes("> parts:"))).toBe(tile.parts !== undefined);
  const engine = await webgpuOn(() => Promise.resolve(gpu), profile).open();
  try {
    const inputs = new Map(
      graph.inputs.map(({ leaf, type }, i) => [
        leaf!.name,
        Tensor.of(type.dtype, type.shape, (...at) => {
          const drawn = at.reduce((a, n) => 31 * a + n, 7 + i) * 13;
          return ((drawn % 101) / 50 - 1) / 4;
        }),
      ]),
    );
    const { got, want } = await bothWays(engine, graph, inputs);
    expectClose(got, want, dawn.tolerance);
  } finally {
    engine.close();
  }
});
