/** One tiny ViT, saved by each format's own writer, gives the logits that its own model gives. */
import { readFileSync } from "node:fs";

import { describe, expect, test } from "vitest";

import { reference } from "../../backends/reference/index.ts";
import { Tensor, type WeightSource } from "../../ir/index.ts";
import { createModel, type Json, mergeConfig } from "../../models/index.ts";
import { matchWeights } from "../../models/weights/match.ts";
import { openWeights } from "../../models/weights/open.ts";
import { goldenPath } from "../support/golden.ts";

interface Recorded {
  readonly config: Json;
  readonly input_shape: readonly number[];
  readonly input: readonly number[];
  readonly logits: Readonly<Record<string, readonly (readonly number[])[]>>;
}

const { config, input_shape, input, logits } = JSON.parse(
  readFileSync(goldenPath("weights/vit.json"), "utf8"),
) as Recorded;
const image = Tensor.from({ dtype: "f32", shape: input_shape }, input);

async function logitsOf(weights: WeightSource, said: Json): Promise<number[]> {
  const engine = await reference.open();
  const [batch = 1, height = 1, width = 1] = input_shape;
  const { graph, parameters } = createModel(mergeConfig(said, config), { batch, imageSize: [height, width] });
  const program = await engine.compile(graph, matchWeights(parameters, weights, "file"), {
    outputs: ["logits"],
  });
  const outputs = await program.run(new Map([["image", image]]));
  return Array.from(outputs.get("logits")!.numbers());
}

const farthest = (got: readonly number[], want: readonly number[]): number =>
  Math.max(...want.map((v, i) => Math.abs(v - got[i]!)));

/** Each file, whose names it has, and whose logits. */
const files = [
  ["old.npz", "vision_transformer", "jax"],
  ["new.npz", "vision_transformer", "jax"],
  ["training.npz", "vision_transformer", "jax-bf16"],
  ["flax.msgpack", "vision_transformer", "jax"],
  ["flax-chunked.msgpack", "vision_transformer", "jax"],
  ["timm.safetensors", "timm", "timm"],
  ["timm-f64.safetensors", "timm", "timm"],
  ["timm-bf16.safetensors", "timm", "timm-bf16"],
  ["hf.safetensors", "hugging-face", "hugging-face"],
  ["hf-state.safetensors", "hugging-face", "hugging-face"],
] as const;

describe("logits", () => {
  test.each(files)("of %s, from %s", async (file, origin, whose) => {
    const weights = await openWeights(goldenPath(`weights/${file}`));
    expect(weights.origin).toBe(origin);
    const got = await logitsOf(weights, weights.config);
    expect(farthest(got, logits[whose]!.flat())).toBeLessThan(1e-5);
    await weights.close();
  });

  test("differ where GELU or epsilon is another's", async () => {
    const weights = await openWeights(goldenPath("weights/timm.safetensors"));
    const want = logits["timm"]!.flat();
    expect(farthest(await logitsOf(weights, {}), want)).toBeGreaterThan(1e-4);
    expect(farthest(logits["hugging-face"]!.flat(), want)).toBeGreaterThan(1e-4);
    await weights.close();
  });
});
