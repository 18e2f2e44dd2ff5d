/** Experts that every token has: a dense MLP beside the routed ones, in parameters, operations and outputs. */
import { expect, test } from "vitest";

import { reference } from "../../backends/reference/index.ts";
import { Tensor, type WeightSource } from "../../ir/index.ts";
import {
  createModel,
  type Json,
  mergeConfig,
  type Model,
  normalDraws,
  parameterCount,
  probing,
  randomWeights,
} from "../../models/index.ts";
import { tinyVmoe } from "../support/golden.ts";

const tiny = tinyVmoe().cases.get("vanilla_C1.05")!.config;
const build = (moe: Json | null): Model =>
  createModel(mergeConfig(tiny, { encoder: { moe } }), { batch: 4, imageSize: [12, 12] });

const [D, F, T] = [16, build({}).facts["mlpDim"]!, 10];

test.each([1, 3])("%i shared experts are an MLP of so many times the width", (n) => {
  const [plain, model] = [build({}), build({ num_shared_experts: n })];
  const shared = model.parameters.filter(({ name }) => name.includes("/Moe/Shared/"));
  const { length: sparse } = model.blocks;
  expect(shared.length).toBe(4 * sparse);
  const prefix = "Encoder/encoderblock_1/Moe/Shared";
  expect(Object.fromEntries(shared.map(({ name, shape }) => [name, shape]))).toMatchObject({
    [`${prefix}/Dense_0/kernel`]: [D, n * F],
    [`${prefix}/Dense_0/bias`]: [n * F],
    [`${prefix}/Dense_1/kernel`]: [n * F, D],
    [`${prefix}/Dense_1/bias`]: [D],
  });
  expect(parameterCount(model) - parameterCount(plain)).toBe(sparse * (n * (2 * D * F + F) + D));
  expect(model.flops - plain.flops).toBe(sparse * n * 4 * T * D * F);
});

test("by default there are none, as in the original", () => {
  expect(build({}).parameters.filter(({ name }) => name.includes("/Moe/Shared/"))).toEqual([]);
});

/** `weights` where the routed experts put out zeros, and the shared one is the MLP of the dense model. */
function withSharedAlone(weights: WeightSource, dense: WeightSource): WeightSource {
  return {
    ...weights,
    async read(name, rows) {
      if (name.includes("/Moe/Shared/")) return dense.read(name.replace("/Moe/Shared/", "/Mlp/"), rows);
      if (dense.tensors.has(name)) return dense.read(name, rows);
      const read = await weights.read(name, rows);
      return name.includes("/Moe/Mlp/Dense_1/") ? Tensor.of("f32", read.type.shape, () => 0) : read;
    },
  };
}

test("a shared expert beside routed ones that put out zeros is the dense model", async () => {
  const [dense, model] = [build(null), build({ num_shared_experts: 1 })];
  const weights = randomWeights(probing(dense.parameters), 3);
  const shape = [4, 12, 12, 3];
  const image = new Tensor({ dtype: "f32", shape }, normalDraws(3, "image", 4 * 12 * 12 * 3));
  const engine = await reference.open();
  const logits = async ({ graph }: Model, source: WeightSource): Promise<Tensor> => {
    const executable = await engine.compile(graph, source, { outputs: ["logits"] });
    return (await executable.run(new Map([["image", image]]))).get("logits")!;
  };
  const sparse = withSharedAlone(randomWeights(probing(model.parameters), 4), weights);
  expect(await logits(model, sparse)).toEqual(await logits(dense, weights));
});
