/** Every backend against numbers recorded from the original implementation. */
import { afterAll, describe, expect, test } from "vitest";

import { onnx } from "../../backends/onnx/runtime.ts";
import { reference } from "../../backends/reference/index.ts";
import { dawn } from "../../backends/webgpu/dawn.ts";
import type { Tensor, WeightSource } from "../../ir/index.ts";
import { createModel } from "../../models/index.ts";
import { matchWeights } from "../../models/weights/match.ts";
import { openWeights } from "../../models/weights/open.ts";
import { type Golden, goldenPath, recorded, s32, tinyVmoe, tinyVmoeNoisy } from "../support/golden.ts";

/** Largest absolute differences of logits and relative ones of losses, per test/golden/README.md. */
const accepted = {
  reference: { logits: 2e-5, bfloat16: 1e-4, losses: 1e-6 },
  webgpu: { logits: 2e-4, bfloat16: 2e-3, losses: 1e-5 },
  onnx: { logits: 2e-5, bfloat16: 2e-3, losses: 1e-5 },
};

/** The original takes 1 - Phi and single gates in float32: these carry about 1e-6 of rounding of their own. */
const ownRounding = (output: string): number => (/load_loss|selected_gate$/.test(output) ? 1e-6 : 0);

const isNightly = Boolean(process.env["MOEC_NIGHTLY"]);

/**
 * Files of patched configurations; `byDay` are the cases on the backend that compiles kernels for each, `rounding` is
 * the original's own in its losses, relative.
 */
const files = [
  { what: "expert choice", file: "expert_choice.json", byDay: ["C1_round", "C1_round_bf16"] },
  { what: "Soft MoE", file: "soft_moe.json", byDay: ["num_slots_2"] },
  { what: "optimal transport", file: "kl_router.json", byDay: ["bpr_C0.4"] },
  { what: "E3", file: "e3.json", byDay: ["bpr_C0.5"], rounding: 4e-6 },
];

const mean = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b) / numbers.length;

interface Variant {
  readonly weights?: WeightSource;
  /** The draw of every sparse block. */
  readonly noise?: Tensor;
  /** The original's own rounding in its losses, relative. */
  readonly rounding?: number | undefined;
}

describe.each([
  ["reference", reference],
  ["webgpu", dawn],
  ["onnx", onnx()],
] as const)("%s", async (name, backend) => {
  const engine = await backend.open();
  afterAll(() => engine.close());
  const accept = accepted[name];

  async function expectGolden(
    golden: Golden,
    key: string,
    { weights, noise, rounding = 0 }: Variant = {},
  ): Promise<void> {
    const { image } = golden;
    const want = golden.cases.get(key)!;
    const [batch = 1, height = 1, width = 1] = image.type.shape;
    const model = createModel(want.config, {
      batch,
      imageSize: [height, width],
      noise: noise !== undefined,
    });
    const source = matchWeights(model.parameters, weights ?? golden.weights, "golden");
    const executable = await engine.compile(model.graph, source, { check: true });
    const inputs = new Map([["image", image]]);
    for (const { name: block } of noise ? model.blocks : []) inputs.set(`noise/${block}`, noise!);
    const outputs = await executable.run(inputs);
    expect(executable.report.readbacks).toBe(name === "webgpu" ? 0 : undefined);
    executable.dispose();

    const numbers = (output: string): number[] => Array.from(outputs.get(output)!.numbers());
    const { prediction = "logits" } = model;
    const scores = new Map([[prediction, want.metrics.get(prediction)!]]).set("logits", want.logits);
    for (const [output, classes] of scores) {
      const off = numbers(output).map((v, i) => Math.abs(v - classes[i]!));
      expect(off.length, output).toBe(classes.length);
      expect(Math.max(...off), output).toBeLessThan(key.includes("bf16") ? accept.bfloat16 : accept.logits);
    }
    for (const [output, tokens] of want.tokens) expect(numbers(output), output).toEqual(tokens);
    for (const [output, metric] of want.metrics) {
      if (scores.has(output)) continue;
      const got = metric.length === 1 ? [mean(numbers(output))] : numbers(output);
      expect(got.length, output).toBe(metric.length);
      const ratios = metric.map((v, i) => Math.abs(got[i]! - v) / (Math.abs(v) || 1));
      expect(Math.max(...ratios), output).toBeLessThan(accept.losses + ownRounding(output) + rounding);
    }
  }

  const tiny = tinyVmoe();
  test.each([...tiny.cases.keys()])("tiny V-MoE, %s", async (key) => {
    await expectGolden(tiny, key);
  });

  test("tiny V-MoE from its checkpoint", async () => {
    const weights = await openWeights(goldenPath("tiny_vmoe_ckpt"));
    await expectGolden(tiny, "bpr_C0.4", { weights });
    await weights.close();
  });

  const noisy = tinyVmoeNoisy();
  test.each([...noisy.golden.cases.keys()])("tiny V-MoE with the router's noise, %s", async (key) => {
    await expectGolden(noisy.golden, key, { noise: noisy.noise });
  });

  describe.each(files)("$what", ({ file, byDay, rounding }) => {
    const golden = recorded(file);
    const keys = [...golden.cases.keys()].filter(
      (key) => isNightly || name !== "webgpu" || byDay.includes(key),
    );
    test.each(keys)("%s", async (key) => {
      await expectGolden(golden, key, { rounding });
    });
  });

  test("V-MoE-S/32 at full size, slot by slot", async () => {
    await expectGolden(s32(2), "vanilla_C1.05");
  });
});
