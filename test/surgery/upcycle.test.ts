/** Upcycled models start as the dense ones they are made of, by every router that sends tokens whole. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { Tensor } from "../../ir/index.ts";
import {
  configOf,
  createModel,
  type Json,
  mergeConfig,
  parseBlocks,
  parseConfig,
  routers,
  type Trained,
  upcycled,
} from "../../models/index.ts";
import { expectRefusal } from "../support/errors.ts";
import { runs } from "../support/runs.ts";
import { answers, denseConfig, distance, imageSize, numbersOf, trainedOf } from "../support/trained.ts";

/** Slots are mixtures of tokens; and an ensemble's model class is another. */
const others = new Set(["SoftRouter", "NoisyTopExpertsPerItemEnsembleRouter"]);
const whole = [...routers.keys()].filter((name) => !others.has(name));

const routing = (patch: Json): Json => ({ encoder: { moe: { router: patch } } });
const dropless = routing({ dispatcher: { capacity_policy: "dropless", capacity_factor: null } });
/** What leaves no token without a slot, by routers that are told otherwise; BASE is not told. */
const roomy: Readonly<Record<string, (experts: number) => readonly Json[]>> = {
  BalancedAssignmentRouter: () => [],
  NoisyTopItemsPerExpertRouter: (experts) => [
    routing({ dispatcher: { capacity_factor: experts, capacity_multiple_of: null } }),
  ],
};

interface Sizes {
  readonly layers: number;
  readonly experts: number;
  readonly classifier: string;
  readonly seed: number;
}

const sizes: fc.Arbitrary<Sizes> = fc.record({
  layers: fc.integer({ min: 1, max: 3 }),
  experts: fc.integer({ min: 2, max: 5 }),
  classifier: fc.constantFrom("token", "gap", "map"),
  seed: fc.nat(1000),
});

/** Logits of a dense model, and of one upcycled from it; with the tokens that its blocks left unserved. */
async function compared(
  { layers, experts, classifier, seed }: Sizes,
  options: { readonly router?: string; readonly renormalise?: boolean },
  overrides: readonly Json[],
): Promise<{ readonly error: number; readonly unserved: number }> {
  const dense = await trainedOf(denseConfig(layers, { classifier }), seed);
  const blocks = Array.from({ length: layers }, (_, i) => i);
  const sparse = upcycled(dense, { experts, blocks, seed, overrides, imageSize, ...options });
  const slots = blocks.map((block) => `encoderblock_${block}/slots`);
  const [want, got] = [await answers(dense), await answers(sparse, ["logits", ...slots])];
  const perToken = createModel(sparse.config, { batch: 3, imageSize }).graph.outputs.get(slots[0]!)!;
  const k = perToken.type.shape[2]!;
  const unserved = slots.flatMap((name) => {
    const all = got.get(name)!;
    return Array.from({ length: all.length / k }, (_, t) => all.slice(t * k, (t + 1) * k)).filter((choices) =>
      choices.every((slot) => slot < 0),
    );
  });
  return { error: distance(got.get("logits"), want.get("logits")), unserved: unserved.length };
}

describe("with weights renormalised", () => {
  test.each(whole)("%s starts as the dense model", async (router) => {
    await fc.assert(
      fc.asyncProperty(sizes, async (drawn) => {
        const overrides = roomy[router]?.(drawn.experts) ?? [dropless];
        const { error, unserved } = await compared(drawn, { router, renormalise: true }, overrides);
        expect(unserved).toBe(0);
        expect(error).toBeLessThan(1e-5);
      }),
      { numRuns: runs(6) },
    );
  });
});

test("renormalised weights sum to 1 over the choices that have a slot, and are 0 elsewhere", async () => {
  const { config, weights, name } = upcycled(await trainedOf(denseConfig(1)), {
    experts: 4,
    blocks: [0],
    renormalise: true,
    imageSize,
    overrides: [routing({ dispatcher: { capacity_factor: 0.4, capacity_multiple_of: null } })],
  });
  const outputs = ["encoderblock_0/slots", "encoderblock_0/weights"];
  const got = await answers({ config, weights, name }, outputs);
  const [slots, scales] = outputs.map((output) => got.get(output)!);
  const strays: unknown[] = [];
  const sums = { served: [] as number[], unserved: [] as number[] };
  for (let t = 0; t < slots!.length; t += 2) {
    const choices = [0, 1].map((j) => ({ slot: slots![t + j]!, scale: scales![t + j]! }));
    strays.push(...choices.filter(({ slot, scale }) => slot < 0 && scale !== 0));
    const served = choices.some(({ slot }) => slot >= 0);
    sums[served ? "served" : "unserved"].push(choices[0]!.scale + choices[1]!.scale);
  }
  expect(strays).toEqual([]);
  for (const sum of sums.served) expect(sum).toBeCloseTo(1, 6);
  expect(sums.unserved.every((sum) => sum === 0)).toBe(true);
  expect(Math.min(sums.served.length, sums.unserved.length)).toBeGreaterThan(0);
  expect(slots!.filter((slot) => slot < 0).length).toBeGreaterThan(2 * sums.unserved.length);
});

test("as they are, gates of all experts sum to 1 as well", async () => {
  await fc.assert(
    fc.asyncProperty(sizes, async (drawn) => {
      const all = routing({ num_selected_experts: drawn.experts });
      const { error, unserved } = await compared(drawn, {}, [dropless, all]);
      expect(unserved).toBe(0);
      expect(error).toBeLessThan(1e-5);
    }),
    { numRuns: runs(10) },
  );
});

test("as they are, gates of some experts do not", async () => {
  const drawn = { layers: 2, experts: 4, classifier: "token", seed: 3 };
  expect((await compared(drawn, {}, [dropless])).error).toBeGreaterThan(1e-3);
});

const bf16 = (_: string, tensor: Tensor): Tensor =>
  Tensor.from({ ...tensor.type, dtype: "bf16" }, tensor.numbers());

describe("what is made", () => {
  const options = { experts: 3, blocks: [1], seed: 7, imageSize };

  test("experts are the MLP, in the file's dtype, whole or row by row; the rest is as it was", async () => {
    const dense = await trainedOf(denseConfig(2), 0, bf16);
    const { weights } = upcycled(dense, options);
    for (const part of ["Dense_0/kernel", "Dense_0/bias", "Dense_1/kernel", "Dense_1/bias"]) {
      const name = `Encoder/encoderblock_1/Moe/Mlp/${part}`;
      const mlp = await dense.weights.read(`Encoder/encoderblock_1/Mlp/${part}`);
      const type = { dtype: "bf16", shape: [3, ...mlp.type.shape] };
      expect(weights.tensors.get(name)).toEqual(type);
      const [all, some] = [await weights.read(name), await weights.read(name, [1, 3])];
      expect(all.type).toEqual(type);
      expect(Array.from(all.data)).toEqual([...mlp.data, ...mlp.data, ...mlp.data]);
      expect(some.type.shape).toEqual([2, ...mlp.type.shape]);
      expect(Array.from(some.data)).toEqual([...mlp.data, ...mlp.data]);
    }
    const kernel = "Encoder/encoderblock_0/Mlp/Dense_0/kernel";
    expect((await weights.read(kernel)).data).toEqual((await dense.weights.read(kernel)).data);
  });

  test("routers are drawn from the seed, small", async () => {
    const dense = await trainedOf(denseConfig(2));
    const kernel = async (seed: number): Promise<number[]> => {
      const { weights } = upcycled(dense, { ...options, seed });
      return Array.from((await weights.read("Encoder/encoderblock_1/Moe/Router/dense/kernel")).numbers());
    };
    const drawn = await kernel(7);
    expect(drawn).toEqual(await kernel(7));
    expect(drawn).not.toEqual(await kernel(8));
    expect(Math.max(...drawn.map(Math.abs))).toBeLessThan(2.3 / Math.sqrt(8));
  });

  test("the configuration is the paper's but for what is said", async () => {
    const { config } = upcycled(await trainedOf(denseConfig(2)), { ...options, renormalise: true });
    expect(parseConfig(config).encoder.moe).toMatchObject({
      num_experts: 3,
      layers: [1],
      renormalise: true,
      router: { num_selected_experts: 2, dispatcher: { capacity_factor: 1.05, bfloat16: false } },
    });
  });

  test("shared experts start without effect", async () => {
    const drawn = { layers: 1, experts: 3, classifier: "token", seed: 5 };
    const shared = { encoder: { moe: { num_shared_experts: 2 } } };
    const { error } = await compared(drawn, { renormalise: true }, [dropless, shared]);
    expect(error).toBeLessThan(1e-5);
  });
});

const shapes = (of: Json): unknown =>
  createModel(of, { imageSize }).parameters.map(({ name, shape }) => [name, shape]);

test("a configuration is read off the weights of any dense model", async () => {
  const some = fc.record({
    classifier: fc.constantFrom("token", "gap", "map"),
    representation_size: fc.constantFrom(null, 6),
    num_classes: fc.constantFrom(null, 5),
    layers: fc.integer({ min: 1, max: 12 }),
    norm: fc.boolean(),
    positions: fc.constantFrom("learned", "none"),
  });
  await fc.assert(
    fc.asyncProperty(some, async ({ layers, norm, positions, ...more }) => {
      const base = denseConfig(layers, more);
      const encoder = { attention_qk_norm: norm, position_emb: { name: positions } };
      const config = mergeConfig(base, { encoder });
      const { weights } = await trainedOf(config);
      expect(shapes(configOf(weights, "weights"))).toEqual(shapes(config));
    }),
    { numRuns: runs(15) },
  );
});

test("where heads are joined, they are of 64 numbers", async () => {
  const { weights } = await trainedOf(denseConfig(1));
  const joined = new Map(weights.tensors);
  const shape = { dtype: "f32", shape: [192, 192] } as const;
  joined.set("Encoder/encoderblock_0/SelfAttention/query/kernel", shape);
  expect(configOf({ ...weights, tensors: joined }, "weights")).toMatchObject({ encoder: { num_heads: 3 } });
});

test.each([
  ["every2", 12, [1, 3, 5, 7, 9, 11]],
  ["every3", 8, [2, 5]],
  ["last2", 8, [5, 7]],
  ["last5", 24, [15, 17, 19, 21, 23]],
  ["last2", 12, [9, 11]],
  ["3, 1", 4, [3, 1]],
] as const)("%s of %i blocks", (text, layers, blocks) => {
  expect(parseBlocks(text, layers)).toEqual(blocks);
});

test.each([
  ["last5", 8],
  ["every9", 8],
  ["8", 8],
  ["", 8],
  ["1,,2", 8],
  ["odd", 8],
  ["every0", 8],
])("%s of %i blocks are none", (text, layers) => {
  expectRefusal(() => parseBlocks(text, layers), "blocks");
});

const made = (trained: Trained, more: object): unknown =>
  upcycled(trained, { experts: 3, blocks: [1], imageSize, ...more });

test("what cannot be upcycled is refused in one line", async () => {
  const dense = await trainedOf(denseConfig(2));
  const sparse = upcycled(dense, { experts: 3, blocks: [1], imageSize });
  expectRefusal(() => made(sparse, {}), "sparse already");
  expectRefusal(() => made(dense, { router: "MagicRouter" }), "MagicRouter");
  expectRefusal(
    () => made(dense, { experts: 1, overrides: [routing({ num_selected_experts: 2 })] }),
    "num_selected",
  );
  expectRefusal(() => made({ ...dense, config: denseConfig(3) }, {}), "encoderblock_2");
  expectRefusal(() => configOf(sparse.weights, "sparse.npz"), "sparse.npz");
  expectRefusal(() => configOf({ ...dense.weights, tensors: new Map() }, "empty"), "empty");
  expect((await numbersOf(sparse)).size).toBe((await numbersOf(dense)).size + 1);
});
