/** One program, one meaning: random models with random routers agree on every backend, token by token. */
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";

import { reference } from "../backends/reference/index.ts";
import { Tensor } from "../ir/index.ts";
import { createModel, type Json, type Model, normalDraws, probing, randomWeights } from "../models/index.ts";
import { distance } from "./support/close.ts";
import { underTest } from "./support/engines.ts";
import { runs } from "./support/runs.ts";

/** Images of 8 x 8 pixels, patches of 4: with the class token 5 tokens an image. */
const imageSize = [8, 8] as const;

interface Drawn {
  readonly config: Json;
  readonly batch: number;
  readonly groupImages: number;
  readonly seed: number;
}

/** Small models: any number of experts and choices, capacities from almost nothing to everything, both orders. */
const drawn: fc.Arbitrary<Drawn> = fc
  .record({
    experts: fc.integer({ min: 1, max: 9 }),
    choices: fc.integer({ min: 1, max: 4 }),
    factor: fc.constantFrom(0.2, 0.5, 1, 1.05, 2, 8),
    multiple: fc.constantFrom(null, 4),
    batchPriority: fc.boolean(),
    classifier: fc.constantFrom("token", "gap"),
    layers: fc.constantFrom([0], [1], [0, 1]),
    groups: fc.integer({ min: 1, max: 3 }),
    groupImages: fc.integer({ min: 1, max: 3 }),
    seed: fc.nat(2 ** 20),
  })
  .map(
    ({
      experts,
      choices,
      factor,
      multiple,
      batchPriority,
      classifier,
      layers,
      groups,
      groupImages,
      seed,
    }) => ({
      batch: groups * groupImages,
      groupImages,
      seed,
      config: {
        name: "VisionTransformerMoe",
        num_classes: 6,
        patch_size: [4, 4],
        hidden_size: 8,
        classifier,
        encoder: {
          num_layers: 2,
          mlp_dim: 12,
          num_heads: 2,
          moe: {
            num_experts: experts,
            layers,
            group_size: groupImages * (classifier === "token" ? 5 : 4),
            router: {
              name: "NoisyTopExpertsPerItemRouter",
              num_selected_experts: Math.min(choices, experts),
              dispatcher: {
                name: "einsum",
                capacity_factor: factor,
                capacity_multiple_of: multiple,
                batch_priority: batchPriority,
              },
            },
          },
        },
      },
    }),
  );

const wanted = ({ blocks }: Model): string[] => [
  "logits",
  ...blocks.flatMap(({ name }) => [`${name}/tokens`, `${name}/slots`]),
];

/** What errors of single ops add up to over two blocks. */
const depth = 5;

describe.each(underTest)("$name", async ({ load, tolerance, models }) => {
  const backend = await load();
  const engine = await backend.open();
  const oracle = await reference.open();
  afterAll(() => engine.close());
  const allowed = depth * (tolerance ?? backend.tolerance).f32;

  test("random models with random routers", async () => {
    await fc.assert(
      fc.asyncProperty(drawn, async ({ config, batch, seed }) => {
        const model = createModel(config, { batch, imageSize });
        const shape = [batch, ...imageSize, 3];
        const pixels = normalDraws(seed, "image", batch * 8 * 8 * 3);
        const inputs = new Map([["image", new Tensor({ dtype: "f32", shape }, pixels)]]);
        const [got, want] = await Promise.all(
          [engine, oracle].map(async (each) => {
            const weights = randomWeights(probing(model.parameters), seed);
            const executable = await each.compile(model.graph, weights, { outputs: wanted(model) });
            const outputs = await executable.run(inputs);
            executable.dispose();
            return outputs;
          }),
        );
        const [logits, ...routing] = wanted(model) as [string, ...string[]];
        expect(distance(got!.get(logits)!, want!.get(logits)!)).toBeLessThan(allowed);
        for (const name of routing) expect(got!.get(name), name).toEqual(want!.get(name));
      }),
      { numRuns: runs(models) },
    );
  });
});
