/** The experts' second layer in parts, which the launch that adds up choices adds up, too: right, and the same bits every time. */
import { expect, test } from "vitest";

import { dawn, dawnGpu } from "../../backends/webgpu/dawn.ts";
import { compile, type Profile, profiles, webgpuOn } from "../../backends/webgpu/index.ts";
import {
  evaluate,
  Graph,
  input,
  ops,
  type Shape,
  sizeOf,
  Tensor,
  type Value,
  weight,
} from "../../ir/index.ts";
import { normalDraws } from "../../models/random.ts";
import { expectClose } from "../support/close.ts";
import { memoryWeights } from "../support/weights.ts";

const gpu = await dawnGpu();
const generic = profiles.find(({ name }) => name === "gpu-generic") as Profile;

/** Of listed tiles of 8 rows, so that the estimate has a long inner axis shared. */
const shared: Profile = {
  ...generic,
  tiles: [{ wx: 8, wy: 2, tm: 4, tv: 1, bk: 16 }, generic.tiles.at(-1)!],
};

/** Bindings that hold some experts' layers, so that each layer is several launches. */
const inShards = (experts: number, layer: number): Profile => ({
  ...shared,
  limits: { ...shared.limits, maxStorageBufferBindingSize: experts * layer * 4 },
});

interface Sizes {
  readonly T: number;
  readonly k: number;
  readonly E: number;
  readonly D: number;
  readonly F: number;
  readonly through: "f32" | "bf16";
}

interface Layer {
  readonly graph: Graph;
  readonly given: ReadonlyMap<string, Tensor>;
}

/** Both ops of routed experts on as many choices, of one of which something more is made in passing. */
function layerOf({ T, k, E, D, F, through }: Sizes): Layer {
  const given = new Map<string, Tensor>();
  const of = (leaf: typeof input, name: string, shape: Shape, number?: (i: number) => number): Value => {
    const drawn = normalDraws(0, name, sizeOf(shape));
    const numbers = Array.from(drawn, (n, i) => number?.(i) ?? n);
    const type = { dtype: name === "choices" ? "i32" : "f32", shape } as const;
    given.set(name, Tensor.from(type, numbers));
    return leaf(name, type);
  };
  const [x, logits] = [of(input, "x", [1, T, D]), of(input, "logits", [1, T, E])];
  const experts = [
    of(weight, "w1", [E, D, F]),
    of(weight, "b1", [E, F]),
    of(weight, "w2", [E, F, D]),
    of(weight, "b2", [E, D]),
  ] as const;
  // The last tokens of some experts are dropped.
  const capacity = Math.ceil((0.9 * T * k) / E);
  const attrs = { approximate: "tanh", through } as const;
  const plan = ops.routeTopExperts(logits, { k, capacity, priority: "token" });
  const routed = ops.routedMlp(x, plan.tokens, plan.slots, plan.weights, ...experts, attrs);
  const choices = of(input, "choices", [1, T, k], (i) => (Math.floor(i / k) ** 2 + (i % k)) % E);
  const weights = of(input, "weights", [1, T, k], (i) => 1 / (1 + (i % k)));
  const seated = ops.seatedMlp(x, choices, weights, weights, ...experts, {
    ...attrs,
    capacity,
    priority: "gate",
  });
  return {
    graph: new Graph(
      "experts",
      [x, logits, choices, weights],
      [
        ["routed", ops.add(routed, x)],
        ["seated", seated.y],
      ],
    ),
    given,
  };
}

const usual: Sizes = { T: 21, k: 2, E: 3, D: 36, F: 264, through: "f32" };
const layer = usual.D * usual.F;

test.each<readonly [string, Profile, Partial<Sizes>, number]>([
  ["two choices of few experts", shared, {}, 2],
  ["one choice, in more parts", shared, { k: 1, E: 5, F: 1028 }, 4],
  ["more choices than are loaded together, in bfloat16", shared, { T: 9, k: 10, E: 12, through: "bf16" }, 2],
  ["an inner axis as long in the first layer", shared, { D: 264 }, 2],
  ["weights in shards", inShards(2, layer), {}, 2],
])("%s", async (_, profile, sizes, parts) => {
  const { graph, given } = layerOf({ ...usual, ...sizes });
  const { launches, kernels } = compile(graph, profile);
  const deep = (label: string): number[] =>
    launches.flatMap((launch) => (launch.label === label ? [launch.workgroups[2]] : []));
  expect(new Set(deep("experts, second layer"))).toEqual(new Set([parts]));
  expect(new Set(deep("experts, first layer"))).toEqual(new Set([1]));
  // Sums are rounded once, where they are whole.
  const multiplying = launches.filter(({ label }) => label.startsWith("experts"));
  expect(multiplying.filter(({ kernel }) => /bfloat/.test(kernels[kernel]!.wgsl))).toEqual([]);
  const engine = await webgpuOn(() => Promise.resolve(gpu), profile).open();
  try {
    const executable = await engine.compile(graph, memoryWeights(given));
    const [got, again] = [
      [...(await executable.run(given)).values()],
      [...(await executable.run(given)).values()],
    ];
    const want = [...evaluate(graph, ({ leaf }) => given.get(leaf!.name)).values()];
    expectClose(got, want, dawn.tolerance, [{ ...usual, ...sizes }.through]);
    expect(again.map(({ data }) => data)).toEqual(got.map(({ data }) => data));
  } finally {
    engine.close();
  }
});
