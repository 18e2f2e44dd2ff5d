/** Models of some of another's experts or blocks: what they answer, and what is refused. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { Tensor } from "../../ir/index.ts";
import {
  atResolution,
  createModel,
  type Json,
  keptBlocks,
  mergeConfig,
  parseConfig,
  type Trained,
  withExperts,
} from "../../models/index.ts";
import { expectRefusal } from "../support/errors.ts";
import { runs } from "../support/runs.ts";
import { answers, denseConfig, distance, imageSize, numbersOf, trainedOf } from "../support/trained.ts";

const E = 4;
const at = { imageSize };

const dropless = { dispatcher: { capacity_policy: "dropless" } };

/** A model with experts in blocks 1 and 2 of 3, of which nothing is dropped. */
const sparseConfig = (router: Json, more: Json = {}): Json =>
  denseConfig(3, {
    encoder: {
      num_layers: 3,
      mlp_dim: 7,
      num_heads: 2,
      moe: {
        num_experts: E,
        layers: [1, 2],
        group_size: 21,
        split_rngs: true,
        router: router["name"] === "SoftRouter" ? router : { ...dropless, ...router },
        ...more,
      },
    },
  });

const vmoe = sparseConfig({ num_selected_experts: 2 });

/** Same tensors, bit by bit, and a configuration of the same meaning. */
async function expectSame(got: Trained, want: Trained): Promise<void> {
  expect(parseConfig(got.config)).toEqual(parseConfig(want.config));
  expect(await numbersOf(got)).toEqual(await numbersOf(want));
}

const some = (most: number): fc.Arbitrary<number[]> =>
  fc.array(fc.nat(most - 1), { minLength: 1, maxLength: 6 });

/** The first number of every token that a router sees is 1, and says no to experts 1 and 3. */
const shunning = (name: string, { type, data }: Tensor): Tensor => {
  const numbers = Float32Array.from(data);
  if (/encoderblock_[12]\/LayerNorm_1\/scale$/.test(name)) numbers[0] = 0;
  if (/encoderblock_[12]\/LayerNorm_1\/bias$/.test(name)) numbers[0] = 1;
  if (name.endsWith("Router/dense/kernel")) for (const e of [1, 3]) numbers[e] = -1e4;
  return new Tensor(type, numbers);
};

/** What a block adds is nothing. */
const silent = (name: string, tensor: Tensor): Tensor =>
  /encoderblock_1\/(SelfAttention\/out|Moe\/Mlp\/Dense_1)\//.test(name) ? Tensor.zeros(tensor.type) : tensor;

describe("experts", () => {
  test("all in order are the very same model", async () => {
    const trained = await trainedOf(vmoe);
    await expectSame(withExperts(trained, [0, 1, 2, 3], at), trained);
  });

  test("picks of picks are picks, and a part of what is read is that part", async () => {
    const trained = await trainedOf(sparseConfig({ name: "SigmoidBiasRouter", num_selected_experts: 1 }));
    await fc.assert(
      fc.asyncProperty(some(E), fc.nat(), async (first, seed) => {
        const second = first.map((_, i) => (seed * (i + 1) + i) % first.length).slice(0, 1 + (seed % 4));
        const both = withExperts(withExperts(trained, first, at), second, at);
        const once = withExperts(
          trained,
          second.map((i) => first[i]!),
          at,
        );
        await expectSame(both, once);
        for (const [name, { shape }] of both.weights.tensors) {
          const [entries = 1] = shape;
          const start = seed % entries;
          const part = await both.weights.read(name, [start, entries]);
          const whole = await both.weights.read(name);
          expect(part.type.shape).toEqual([entries - start, ...shape.slice(1)]);
          const size = whole.data.length / entries;
          expect(Array.from(part.data)).toEqual(Array.from(whole.data).slice(start * size));
        }
      }),
      { numRuns: runs(8) },
    );
  });

  test.each([
    "NoisyTopExpertsPerItemRouter",
    "TopKRenormalisedRouter",
    "SoftmaxAfterTopKRouter",
    "ThresholdRouter",
  ])("%s: in another order they answer the same", async (name) => {
    const trained = await trainedOf(sparseConfig({ name, num_selected_experts: 2 }));
    const turned = withExperts(trained, [2, 0, 3, 1], at);
    const [want, got] = [await answers(trained), await answers(turned)];
    expect(distance(got.get("logits"), want.get("logits"))).toBeLessThan(1e-5);
  });

  test.each([
    { num_selected_experts: 2 },
    { num_selected_experts: 1 },
    { name: "TopKRenormalisedRouter", num_selected_experts: 2 },
    { name: "SoftmaxAfterTopKRouter", num_selected_experts: 2 },
    { name: "NoisyTopItemsPerExpertRouter", dispatcher: { capacity: 5 } },
  ])("those that no token is sent to can be left out: %j", async (router) => {
    const trained = await trainedOf(sparseConfig(router), 4, shunning);
    const kept = withExperts(trained, [0, 2], at);
    const [want, got] = [await answers(trained), await answers(kept)];
    expect(distance(got.get("logits"), want.get("logits"))).toBeLessThan(1e-5);
    const others = withExperts(trained, [1, 3], at);
    expect(distance((await answers(others)).get("logits"), want.get("logits"))).toBeGreaterThan(1e-4);
  });

  test("two copies of each, and twice the choices, answer the same", async () => {
    const trained = await trainedOf(
      sparseConfig({ name: "TopKRenormalisedRouter", num_selected_experts: 2 }),
    );
    const doubled = withExperts(trained, [0, 1, 2, 3, 0, 1, 2, 3], at);
    const config = mergeConfig(doubled.config, { encoder: { moe: { router: { num_selected_experts: 4 } } } });
    const [want, got] = [await answers(trained), await answers({ ...doubled, config })];
    expect(distance(got.get("logits"), want.get("logits"))).toBeLessThan(1e-5);
  });

  test("no token makes more choices than there are experts", async () => {
    const one = withExperts(await trainedOf(vmoe), [3], at);
    expect(parseConfig(one.config).encoder.moe).toMatchObject({
      num_experts: 1,
      router: { num_selected_experts: 1 },
    });
    expect((await answers(one)).get("logits")).toHaveLength(15);
  });

  test("slots of Soft MoE are an expert's own, where there is a number of them", async () => {
    const soft = await trainedOf(sparseConfig({ name: "SoftRouter", num_slots: 2 }));
    expect(
      withExperts(soft, [1, 2], at).weights.tensors.get("Encoder/encoderblock_1/Moe/Router/mu")?.shape,
    ).toEqual([8, 2, 2]);
    const shared = await trainedOf(sparseConfig({ name: "SoftRouter" }, { group_size: 7 }));
    expectRefusal(() => withExperts(shared, [1, 2], at), "must have one axis of 4 experts");
  });

  test("what cannot be is refused in one line", async () => {
    const [trained, dense] = [await trainedOf(vmoe), await trainedOf(denseConfig(2))];
    expectRefusal(() => withExperts(trained, [4], at), "experts: must be some of 0 to 3; got 4");
    expectRefusal(() => withExperts(trained, [], at), "got none");
    expectRefusal(() => withExperts(dense, [0], at), "its model is dense");
  });
});

describe("blocks", () => {
  test("all in order are the very same model", async () => {
    const trained = await trainedOf(vmoe);
    await expectSame(keptBlocks(trained, [0, 1, 2], at), trained);
  });

  test("picks of picks are picks, and run", async () => {
    const trained = await trainedOf(vmoe);
    await fc.assert(
      fc.asyncProperty(some(3), fc.nat(), async (first, seed) => {
        const second = first.map((_, i) => (seed * (i + 1) + i) % first.length).slice(0, 1 + (seed % 3));
        const both = keptBlocks(keptBlocks(trained, first, at), second, at);
        await expectSame(
          both,
          keptBlocks(
            trained,
            second.map((i) => first[i]!),
            at,
          ),
        );
        expect((await answers(both)).get("logits")).toHaveLength(15);
      }),
      { numRuns: runs(10) },
    );
  });

  test("a block alone is sparse or dense as it was", async () => {
    const trained = await trainedOf(vmoe);
    const sparse = (block: number): unknown =>
      parseConfig(keptBlocks(trained, [block], at).config).encoder.moe?.layers;
    expect([sparse(0), sparse(1)]).toEqual([undefined, [0]]);
  });

  test("a residual block without effect can be left out", async () => {
    const trained = await trainedOf(vmoe, 2, silent);
    const [want, got] = [await answers(trained), await answers(keptBlocks(trained, [0, 2], at))];
    expect(distance(got.get("logits"), want.get("logits"))).toBeLessThan(1e-6);
  });

  test("what is not there is refused in one line", async () => {
    const trained = await trainedOf(vmoe);
    expectRefusal(() => keptBlocks(trained, [3], at), "blocks: must be some of 0 to 2; got 3");
    expectRefusal(() => keptBlocks(trained, [], at), "got none");
    expectRefusal(() => keptBlocks({ ...trained, config: denseConfig(9) }, [0], at), "trained");
  });
});

test("a model at another resolution is what loading it at that resolution is", async () => {
  const trained = await trainedOf(denseConfig(2), 0, (name, tensor) =>
    name.endsWith("pos_embedding")
      ? Tensor.of("f32", [1, 10, 8], (_, t = 0, d = 0) => Math.sin(t * d))
      : tensor,
  );
  const larger = atResolution(trained, [20, 16]);
  expect(larger.weights.tensors.get("Encoder/posembed_input/pos_embedding")?.shape).toEqual([1, 21, 8]);
  const size = { imageSize: [20, 16] } as const;
  expect(await answers(larger, ["logits"], size)).toEqual(await answers(trained, ["logits"], size));
  expect(createModel(larger.config, size).parameters).toHaveLength(larger.weights.tensors.size);
});
