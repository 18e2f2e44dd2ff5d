/** Experts whose tiles are filled to any row: each number of rows may be computed by a loop of its own. */
import { expect, test } from "vitest";

import { dawn } from "../../backends/webgpu/dawn.ts";
import { webgpuOn } from "../../backends/webgpu/index.ts";
import { evaluate, Graph, input, ops, Tensor, type Value, weight } from "../../ir/index.ts";
import { asCpu, gpu } from "../support/adapter.ts";
import { expectClose } from "../support/close.ts";
import { drawn, expertWeights, f32, weightsFor } from "../support/moeLayer.ts";
import { memoryWeights } from "../support/weights.ts";

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
  const { y } = ops.seatedMlp(x, choices, weights, ...layers, attrs);
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

test.each([
  ["weights", 28, weight],
  ["weights", 12, weight],
  ["weights", 7, weight],
  ["inputs", 19, input],
] as const)("experts that are %s, of at most %i rows", async (_, capacity, leaf) => {
  const { graph, given } = experts(capacity, leaf);
  const loads = Array<number>(capacity + 1).fill(0);
  for (const e of given.get("choices")?.numbers() ?? []) loads[e]! += 1;
  expect(loads).toEqual([...loads.keys()]);
  const engine = await webgpuOn(() => Promise.resolve(gpu), asCpu).open();
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
