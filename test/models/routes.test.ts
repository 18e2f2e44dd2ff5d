/** What a run says of its routing: loads, drops, how even the loads are, and experts per token. */
import { expect, test } from "vitest";

import { type Shape, Tensor } from "../../ir/index.ts";
import { createModel, mergeConfig, routeOutputs, routesOf } from "../../models/index.ts";
import { tinyVmoe } from "../support/golden.ts";

const config = mergeConfig(tinyVmoe().cases.get("vanilla_C1.05")!.config, {
  encoder: {
    moe: {
      layers: [1],
      num_experts: 2,
      group_size: 5,
      router: { dispatcher: { capacity: 2, capacity_factor: null } },
    },
  },
});
const model = createModel(config, { batch: 1, imageSize: [8, 8] });

const i32 = (shape: Shape, numbers: readonly number[]): Tensor =>
  Tensor.from({ dtype: "i32", shape }, numbers);

/** The routes of five tokens with two choices each, two slots for each of two experts. */
const routes = (tokens: readonly number[], slots: readonly number[], weights: readonly number[]): unknown => {
  const values = [
    i32([1, 2, 2], tokens),
    i32([1, 5, 2], slots),
    Tensor.from({ dtype: "f32", shape: [1, 5, 2] }, weights),
  ];
  return routesOf(model, new Map(routeOutputs(model).map((name, i) => [name, values[i]!])))[0];
};

test("counts loads, drops, and experts of a token whose weight is not 0", () => {
  const slots = [0, 2, 1, 3, -1, -1, -1, -1, -1, -1];
  const weights = [0.9, 0.1, 1, 0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5];
  expect(routes([0, 1, 0, 1], slots, weights)).toMatchObject({
    loads: [2, 2],
    dropped: 6,
    choices: 10,
    dropRate: 0.6,
    loadEntropy: 1,
    unserved: 3,
    expertsPerToken: { mean: 0.6, min: 0, max: 2 },
    map: [[0, 0, -1, -1, -1]],
  });
});

test.each([
  [[0, 1, -1, -1], 0],
  [[0, 1, 0, -1], 0.9183],
  [[-1, -1, -1, -1], 0],
])("loads of %j have an entropy of %f", (tokens, entropy) => {
  const { loadEntropy } = routes(tokens, Array(10).fill(-1), Array(10).fill(0.5)) as { loadEntropy: number };
  expect(loadEntropy).toBeCloseTo(entropy, 4);
});
