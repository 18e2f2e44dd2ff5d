/** Initial values: the original's distributions, identical experts, zero head, and any part without the rest. */
import { createHash } from "node:crypto";

import { expect, test } from "vitest";

import type { WeightSource } from "../../ir/index.ts";
import { createModel, mergeConfig, presets, randomWeights } from "../../models/index.ts";

const config = presets.get("vmoe-s32-last2-e8")!;
const { parameters } = createModel(config);
const weights = randomWeights(parameters, 7);

interface Moments {
  readonly mean: number;
  readonly std: number;
  readonly max: number;
}

async function moments(name: string): Promise<Moments> {
  const values = Array.from((await weights.read(name)).numbers());
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  const std = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length);
  return { mean, std, max: values.reduce((max, v) => Math.max(max, Math.abs(v)), 0) };
}

const lecun = (fanIn: number): { std: number; max: number } => ({
  std: 1 / Math.sqrt(fanIn),
  max: 2 / Math.sqrt(fanIn) / 0.87962566,
});
const xavier = (fanIn: number, fanOut: number): { std: number; max: number } => ({
  std: Math.sqrt(2 / (fanIn + fanOut)),
  max: Math.sqrt(6 / (fanIn + fanOut)),
});

test.each([
  ["embedding/kernel", lecun(3072)],
  ["Encoder/encoderblock_5/Moe/Router/dense/kernel", lecun(512)],
  ["pre_logits/kernel", lecun(512)],
  ["Encoder/encoderblock_0/SelfAttention/query/kernel", xavier(512, 512)],
  ["Encoder/encoderblock_0/SelfAttention/out/kernel", xavier(512, 512)],
  ["Encoder/encoderblock_0/Mlp/Dense_0/kernel", xavier(512, 2048)],
  ["Encoder/encoderblock_5/Moe/Mlp/Dense_1/kernel", xavier(2048, 512)],
  ["Encoder/posembed_input/pos_embedding", { std: 0.02, max: 0.12 }],
  ["Encoder/encoderblock_0/Mlp/Dense_0/bias", { std: 1e-6, max: 6e-6 }],
])("%s", async (name, { std, max }) => {
  const got = await moments(name);
  expect(Math.abs(got.mean)).toBeLessThan(0.06 * std);
  expect(got.std / std).toBeGreaterThan(0.96);
  expect(got.std / std).toBeLessThan(1.04);
  expect(got.max).toBeLessThanOrEqual(max * (1 + 1e-6));
  expect(got.max).toBeGreaterThan(0.5 * max);
});

const valuesOf = async (name: string): Promise<Set<number>> => new Set((await weights.read(name)).numbers());

test("constants", async () => {
  expect(await valuesOf("head/kernel")).toEqual(new Set([0]));
  expect(await valuesOf("head/bias")).toEqual(new Set([Math.fround(-Math.log(1000))]));
  expect(await valuesOf("Encoder/encoder_norm/scale")).toEqual(new Set([1]));
  expect(await valuesOf("cls")).toEqual(new Set([0]));
});

const hash = async (source: WeightSource, name: string, rows?: readonly [number, number]): Promise<string> =>
  createHash("sha256")
    .update((await source.read(name, rows)).bytes)
    .digest("hex");

test("experts are identical by default, and differ when the parameters' streams are split", async () => {
  const name = "Encoder/encoderblock_5/Moe/Mlp/Dense_0/kernel";
  expect(await hash(weights, name, [3, 4])).toBe(await hash(weights, name, [0, 1]));
  const split = mergeConfig(config, { encoder: { moe: { split_rngs: ["params"] } } });
  const source = randomWeights(createModel(split).parameters, 7);
  expect(await hash(source, name, [3, 4])).not.toBe(await hash(source, name, [0, 1]));
  expect(await hash(source, name, [0, 1])).toBe(await hash(weights, name, [0, 1]));
});

test("any rows are those of the whole, and a seed gives the same values again", async () => {
  const name = "Encoder/encoderblock_0/Mlp/Dense_0/kernel";
  const whole = await weights.read(name);
  const rows = await weights.read(name, [100, 103]);
  expect(rows.type.shape).toEqual([3, 2048]);
  expect(rows.data).toEqual(whole.data.slice(100 * 2048, 103 * 2048));
  expect(await hash(randomWeights(parameters, 7), name)).toBe(await hash(weights, name));
  expect(await hash(randomWeights(parameters, 8), name)).not.toBe(await hash(weights, name));
});

const omega = (i: number): number => 10_000 ** (-i / 127);

test("the sincos2d table, by the formula", async () => {
  const fixed = mergeConfig(config, { encoder: { position_emb: { name: "sincos2d" } } });
  const { parameters: all } = createModel(fixed, { imageSize: [64, 96] });
  const table = await randomWeights(all, 0).read("Encoder/sincos2d");
  expect(table.type.shape).toEqual([1, 6, 512]);
  // Patch 5 of a grid of 2 x 3 is in row 1, column 2.
  for (const i of [0, 1, 64, 127]) {
    expect(table.at(0, 5, i)).toBeCloseTo(Math.sin(2 * omega(i)), 6);
    expect(table.at(0, 5, 128 + i)).toBeCloseTo(Math.cos(2 * omega(i)), 6);
    expect(table.at(0, 5, 256 + i)).toBeCloseTo(Math.sin(omega(i)), 6);
    expect(table.at(0, 5, 384 + i)).toBeCloseTo(Math.cos(omega(i)), 6);
  }
});
