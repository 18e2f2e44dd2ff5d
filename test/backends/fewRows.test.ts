/** Experts whose tiles are filled to any row: each number of rows may be computed by a loop of its own. */
import { expect, test } from "vitest";

import { dawn } from "../../backends/webgpu/dawn.ts";
import { type Profile, profiles, type Tile, webgpuOn } from "../../backends/webgpu/index.ts";
import { evaluate, Graph, input, ops, Tensor, type Value, weight } from "../../ir/index.ts";
import { asCpu, gpu } from "../support/adapter.ts";
import { expectClose } from "../support/close.ts";
import { drawn, expertWeights, f32, weightsFor } from "../support/moeLayer.ts";
import { memoryWeights } from "../support/weights.ts";

const generic = profiles.find(({ name }) => name === "gpu-generic") as Profile;

const [D, F] = [12, 20];

/** Experts that get 0, 1, 2, ... `capacity` tokens each. */
function experts(
  capacity: number,
  leaf: typeof weight,
): { graph: Graph; given: ReadonlyMap<string, Tensor> } {
  const chosen = Array.from({ length: capacity + 1 }, (_, e) => Array<number>(e).fill(e)).flat();
  const T = chosen.length;
  const sizes = { G: 1, T, E: capacity + 1, D, F };
  const x = input("x", f32([1, T, D]));
  const choices = input("choices", { dtype: "i32", shape: [1, T, 1] });
  const weights = input("weights", f32([1, T, 1]));
  const layers = expertWeights(sizes, (name, shape) => leaf(name, f32(shape)));
  const attrs = { approximate: "tanh", through: "f32", capacity, priority: "token" } as const;
  const { y } = ops.seatedMlp(x, choices, weights, weights, ...layers, attrs);
  const given = new Map([
    ...weightsFor(sizes),
    ["x", drawn("x", [1, T, D])] as const,
    ["weights", Tensor.from(weights.type, Array<number>(T).fill(1))] as const,
    // Neighbours go to different experts.
    [
      "choices",
      Tensor.from(
        choices.type,
        chosen.map((_, i) => chosen[(i * 11) % T] as number),
      ),
    ] as const,
  ]);
  return { graph: new Graph("experts", [x, choices, weights, ...layers.filter(isInput)], [["y", y]]), given };
}

const isInput = ({ leaf }: Value): boolean => leaf?.kind === "input";

/** A GPU with one tile, in workgroup memory, of 8 rows for each vector of 4 that a thread has. */
const held = (tm: number, rest: Partial<Tile> = {}): Profile => ({
  ...generic,
  tiles: [{ wx: 8, wy: 2, tm, tv: 1, bk: 16, ...rest }],
});

test.each<readonly [string, number, string, typeof weight, Profile]>([
  ["weights", 28, "a CPU's", weight, asCpu],
  ["weights", 12, "a CPU's", weight, asCpu],
  ["weights", 7, "a CPU's", weight, asCpu],
  ["inputs", 19, "a CPU's", input, asCpu],
  ["weights", 25, "a GPU's, of 24 rows", weight, held(12)],
  ["weights", 17, "a GPU's, of two vectors of columns a thread", weight, held(8, { tv: 2 })],
])("experts that are %s, of at most %i rows, on tiles of %s", async (_, capacity, __, leaf, profile) => {
  const { graph, given } = experts(capacity, leaf);
  const loads = Array<number>(capacity + 1).fill(0);
  for (const e of given.get("choices")?.numbers() ?? []) loads[e]! += 1;
  expect(loads).toEqual([...loads.keys()]);
  const engine = await webgpuOn(() => Promise.resolve(gpu), profile).open();
  try {
    const names = new Set<string>(graph.weights.map((value) => value.leaf?.name ?? ""));
    const inputs = new Map([...given].filter(([name]) => !names.has(name)));
    const program = await engine.compile(graph, memoryWeights(given));
    const got = await program.run(inputs);
    const want = evaluate(graph, ({ leaf: own }) => given.get(own?.name ?? "")!);
    expectClose([...got.values()], [...want.values()], dawn.tolerance);
  } finally {
    engine.close();
  }
});
