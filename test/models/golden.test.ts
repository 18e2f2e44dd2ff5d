/** The reference against numbers recorded from the original implementation. */
import { expect, test } from "vitest";

import { evaluate, type Tensor } from "../../ir/index.ts";
import { createModel } from "../../models/index.ts";
import { type Golden, s32, tinyVmoe } from "../support/golden.ts";

/** Largest absolute difference of float32 computations from the original, per test/golden/README.md. */
const accept = { logits: 2e-5, bfloat16Logits: 1e-4, lossesRelative: 1e-6 };

async function run({ image, weights, cases }: Golden, name: string): Promise<Map<string, Tensor>> {
  const [batch = 1, height = 1, width = 1] = image.type.shape;
  const { graph } = createModel(cases.get(name)!.config, { batch, imageSize: [height, width] });
  const tensors = new Map<string, Tensor>([["image", image]]);
  for (const value of graph.weights) tensors.set(value.leaf!.name, await weights.read(value.leaf!.name));
  return evaluate(graph, (leaf) => tensors.get(leaf.leaf!.name));
}

function expectGolden(golden: Golden, name: string, outputs: ReadonlyMap<string, Tensor>): void {
  const want = golden.cases.get(name)!;
  const numbers = (output: string): number[] => Array.from(outputs.get(output)!.numbers());
  const off = numbers("logits").map((v, i) => Math.abs(v - want.logits[i]!));
  expect(off.length).toBe(want.logits.length);
  expect(Math.max(...off)).toBeLessThan(name.includes("bf16") ? accept.bfloat16Logits : accept.logits);
  for (const [output, tokens] of want.tokens) expect(numbers(output)).toEqual(tokens);
  for (const [output, losses] of [...want.metrics, ["auxiliary_loss", want.auxiliaryLoss] as const]) {
    for (const [g, loss] of losses.entries()) {
      expect(Math.abs(numbers(output)[g]! / loss - 1), output).toBeLessThan(accept.lossesRelative);
    }
  }
}

const tiny = tinyVmoe();

test.each([...tiny.cases.keys()])("tiny V-MoE, %s", async (name) => {
  expectGolden(tiny, name, await run(tiny, name));
});

test("V-MoE-S/32 at full size, slot by slot", async () => {
  const golden = s32(2);
  expectGolden(golden, "vanilla_C1.05", await run(golden, "vanilla_C1.05"));
});
