/** Half precision: what is stored is rounded once, what is computed is float16, and routing is not. */
import { expect, test } from "vitest";

import { reference } from "../../backends/reference/index.ts";
import { Graph, input, ops, print, Tensor, verify, weight, type WeightSource } from "../../ir/index.ts";
import { createModel } from "../../models/index.ts";
import { matchWeights } from "../../models/weights/match.ts";
import { computeHalf, narrowWeights, prune } from "../../passes/index.ts";
import { tinyVmoe } from "../support/golden.ts";

const tiny = tinyVmoe();
const { config, logits } = tiny.cases.get("bpr_C0.4")!;
const model = createModel(config, { batch: 4, imageSize: [12, 12] });
const outputs = ["logits", ...model.blocks.map((block) => `${block.name}/slots`)];
const pruned = prune(outputs).run(model.graph, () => undefined);
const weights = matchWeights(model.parameters, tiny.weights, "golden");

async function run(graph: Graph, source: WeightSource): Promise<Map<string, Tensor>> {
  const engine = await reference.open();
  const executable = await engine.compile(graph, source);
  return executable.run(new Map([["image", tiny.image]]));
}

const rounded = (source: WeightSource): WeightSource => ({
  ...source,
  async read(name, rows) {
    const { type, numbers } = await source
      .read(name, rows)
      .then((t) => ({ type: t.type, numbers: t.numbers() }));
    return Tensor.from(type, Tensor.from({ ...type, dtype: "f16" }, numbers).numbers());
  },
});

const types = (graph: Graph): unknown => [...graph.inputs, ...graph.outputs.values()].map(({ type }) => type);

test("float16 storage means weights rounded to float16, bit for bit", async () => {
  const { graph: stored } = narrowWeights(pruned, { precision: "half-weights" });
  verify(stored);
  expect(stored.weights.every(({ type }) => type.dtype === "f16")).toBe(true);
  expect(await run(stored, weights)).toEqual(await run(pruned, rounded(weights)));
});

test("float16 arithmetic keeps inputs, outputs and routing in float32, and stays near", async () => {
  const half = computeHalf.run(pruned, () => undefined);
  verify(half);
  expect(types(half)).toEqual(types(pruned));
  const text = print(half);
  for (const line of text
    .split("\n")
    .filter((each) => / = (?:linear|layer_norm|attention|expert_mlp)\(/.test(each))) {
    expect(line).toMatch(/: f16\[/);
  }
  expect(text.split("\n").filter((line) => line.includes(" = gate_logits("))).toHaveLength(
    model.blocks.length,
  );
  expect(text).not.toMatch(/ = gate_logits\(.*: f16\[/);
  const got = await run(half, weights);
  expect(got.get("logits")!.type.dtype).toBe("f32");
  const off = Array.from(got.get("logits")!.numbers(), (v, i) => Math.abs(v - logits[i]!));
  expect(Math.max(...off)).toBeLessThan(2e-2);
  const exact = await run(pruned, weights);
  for (const output of outputs.slice(1)) expect(got.get(output), output).toEqual(exact.get(output));
});

test("a weight that two precisions want is stored once", () => {
  const [x, w] = [input("x", { dtype: "f32", shape: [2, 3] }), weight("w", { dtype: "f32", shape: [3, 3] })];
  const chosen = ops.topK(ops.matmul(x, w), { k: 1 }).values;
  const graph = new Graph(
    "shared",
    [x],
    [
      ["chosen", chosen],
      ["product", ops.matmul(x, w)],
    ],
  );
  const half = computeHalf.run(graph, () => undefined);
  verify(half);
  expect(half.weights.map(({ type }) => type.dtype)).toEqual(["f16"]);
  expect(half.outputs.get("chosen")!.type.dtype).toBe("f32");
});
