/** One program, one meaning: random models with every router agree on every backend, token by token. */
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";

import { reference } from "../backends/reference/index.ts";
import { CompileError, sizeOf, Tensor } from "../ir/index.ts";
import {
  capacityPolicies,
  createModel,
  type Json,
  type Model,
  normalDraws,
  probing,
  randomWeights,
  type Router,
  routers,
} from "../models/index.ts";
import { distance } from "./support/close.ts";
import { underTest } from "./support/engines.ts";
import { runs } from "./support/runs.ts";

/** Images of 8 x 8 pixels, patches of 4: with the class token 5 tokens an image. */
const imageSize = [8, 8] as const;

interface Drawn {
  readonly config: Json;
  readonly batch: number;
  readonly noise: boolean;
  readonly seed: number;
}

/** Buffers from almost nothing to everything, by every policy. */
const sized: fc.Arbitrary<Json> = fc.oneof(
  fc.record({
    capacity_factor: fc.constantFrom(0.2, 0.5, 1, 1.05, 2, 8),
    capacity_policy: fc.constantFrom(null, ...[...capacityPolicies.keys()].filter((p) => p !== "dropless")),
    capacity_multiple_of: fc.constantFrom(null, 4),
  }),
  fc.constant({ capacity_policy: "dropless" }),
  fc.record({ capacity: fc.integer({ min: 1, max: 9 }) }),
);

const served: fc.Arbitrary<Json> = fc.record({
  batch_priority: fc.boolean(),
  priority_by: fc.constantFrom("largest", "sum"),
});

/** Any options that a router takes, where each token makes `choices` at most. */
const optionsOf = (
  router: Router,
  { experts, choices }: { readonly experts: number; readonly choices: number },
): fc.Arbitrary<Json> =>
  fc
    .record({ size: sized, order: served, stream: fc.infiniteStream(fc.nat(2 ** 20)) })
    .map(({ size, order, stream }) => {
      const { name, keys } = router;
      const chooses = keys.includes("num_selected_experts");
      const own = router.sample({ experts, choices }, (n) => (stream.next().value as number) % n);
      // All gates of a softmax sum to 1: that orders nothing.
      const dispatcher = {
        ...size,
        ...(chooses && { ...order, ...(choices === experts && { priority_by: "largest" }) }),
      };
      return {
        name,
        noise_std: 1,
        ...(chooses && { num_selected_experts: choices }),
        ...(keys.includes("dispatcher") && { dispatcher }),
        ...own,
      };
    });

/** Small models: any number of experts and choices, any groups, with and without noise and shared experts. */
const drawn = (router: Router): fc.Arbitrary<Drawn> =>
  fc
    .record({
      experts: fc.integer({ min: 1, max: 9 }),
      choices: fc.integer({ min: 1, max: 4 }),
      common: fc.constantFrom(0, 0, 1, 2),
      classifier: fc.constantFrom("token", "gap"),
      layers: fc.constantFrom([0], [1], [0, 1]),
      groups: fc.integer({ min: 1, max: 3 }),
      groupImages: fc.integer({ min: 1, max: 3 }),
      noise: fc.boolean(),
      seed: fc.nat(2 ** 20),
    })
    .chain((sizes) => {
      const choices = Math.min(sizes.choices, sizes.experts);
      return optionsOf(router, { experts: sizes.experts, choices }).map((options) => ({ ...sizes, options }));
    })
    .map(({ experts, common, classifier, layers, groups, groupImages, noise, seed, options }) => ({
      batch: groups * groupImages,
      noise,
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
            num_shared_experts: common,
            layers,
            group_size: groupImages * (classifier === "token" ? 5 : 4),
            router: options,
          },
        },
      },
    }));

/** The model, unless its policy leaves an expert without a slot. */
function built({ config, batch, noise }: Drawn): Model | undefined {
  try {
    return createModel(config, { batch, imageSize, noise });
  } catch (error) {
    if (error instanceof CompileError && error.code === "M4") return undefined;
    throw error;
  }
}

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
  const each = Math.ceil(runs(models) / routers.size);

  test.each([...routers])("random models with %s", async (_, router) => {
    await fc.assert(
      fc.asyncProperty(drawn(router), async (given) => {
        const model = built(given);
        fc.pre(model !== undefined);
        const inputs = new Map(
          model.graph.inputs.map(({ leaf, type }) => {
            const name = leaf!.name;
            return [name, new Tensor(type, normalDraws(given.seed, name, sizeOf(type.shape)))];
          }),
        );
        const [got, want] = await Promise.all(
          [engine, oracle].map(async (one) => {
            const weights = randomWeights(probing(model.parameters), given.seed);
            const executable = await one.compile(model.graph, weights, { outputs: wanted(model) });
            const outputs = await executable.run(inputs);
            expect(executable.report.readbacks ?? 0).toBe(0);
            executable.dispose();
            return outputs;
          }),
        );
        const [logits, ...routing] = wanted(model) as [string, ...string[]];
        expect(distance(got!.get(logits)!, want!.get(logits)!)).toBeLessThan(allowed);
        for (const name of routing) expect(got!.get(name), name).toEqual(want!.get(name));
      }),
      { numRuns: each },
    );
  });
});
