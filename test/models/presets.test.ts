/** Parameters and operations of the presets against the paper's tables. */
import { expect, test } from "vitest";

import { createModel, parameterCount, presets } from "../../models/index.ts";

/** Millions of parameters, and GFLOP per image at 224 px where the tables give it. */
const published: Readonly<Record<string, readonly [millions: number, gflops?: number]>> = {
  "vit-ti16": [5.7, 2.51],
  "vit-s16": [22.05, 9.2],
  "vit-s32": [36.5, 2.73],
  "vit-b32": [102.1, 8.85],
  "vit-b16": [100.5, 35.16],
  "vit-l32": [325.3, 30.79],
  "vit-l16": [323.1, 123.15],
  "vit-h14": [655.8, 334.64],
  "vmoe-s32-last2": [166.7, 3.2],
  "vmoe-s32-every2": [296.9, 3.66],
  "vmoe-b32-last2": [395.0, 9.89],
  "vmoe-b32-last5": [834.2, 11.45],
  "vmoe-b32-every2": [980.6, 11.98],
  "vmoe-b16-last2": [393.3, 39.26],
  "vmoe-b16-last5": [832.6, 45.43],
  "vmoe-b16-every2": [979.0, 47.48],
  "vmoe-l32-last2": [845.8, 32.64],
  "vmoe-l32-last5": [1626.5, 35.42],
  "vmoe-l32-every2": [3448.2, 41.9],
  "vmoe-l16-last2": [843.6, 130.44],
  "vmoe-l16-last5": [1624.3, 141.39],
  "vmoe-l16-every2": [3446.0, 166.93],
  "vmoe-h14-last2": [1469.0, 349.5],
  "vmoe-h14-last5": [2688.6, 371.8],
  "vmoe-h14-every2": [7160.8, 453.55],
  "vmoe-15b": [14_705.1, 903.8],
  "vmoe-s32-last2-e8": [56.9994],
  "vmoe-b16-every2-e8": [300.974931],
};

test("every preset has published numbers", () => {
  expect([...presets.keys()].toSorted()).toEqual(Object.keys(published).toSorted());
});

test.each(Object.entries(published))("%s", (name, [millions, gflops]) => {
  const model = createModel(presets.get(name)!, { batch: 8 });
  expect(Math.abs(parameterCount(model) / 1e6 - millions)).toBeLessThanOrEqual(0.1);
  const counted = model.flops / 1e9;
  expect(Math.abs(counted / (gflops ?? counted) - 1)).toBeLessThan(0.01);
});
