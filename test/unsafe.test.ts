/** `--unsafe-features` as users meet it: subgroup matrices for targets that have them, and nothing without the option. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { openDawn } from "../backends/webgpu/dawn.ts";
import { profileOf, profiles, withUnsafe } from "../backends/webgpu/index.ts";
import { readProfile } from "../backends/webgpu/targetFile.ts";
import type { Manifest } from "../runtime/bundle.ts";
import { json, moec } from "./support/cli.ts";
import { temporaryFolder } from "./support/folder.ts";

const folder = temporaryFolder("unsafe");
const at = (name: string): string => join(folder, name);
const experimental = "chromium-experimental-subgroup-matrix";
const nvidia = profiles.find(({ name }) => name === "nvidia")!;
const option = "--unsafe-features";

async function featuresOf(...target: readonly string[]): Promise<readonly string[]> {
  const words = [
    "vmoe-s32-last2-e8",
    "--batch",
    "8",
    "--no-weights",
    "-o",
    at("bundle"),
    "--target",
    ...target,
  ];
  await json("compile", ...words);
  return (JSON.parse(readFileSync(at("bundle/manifest.json"), "utf8")) as Manifest).module.features;
}

test("bundles use subgroup matrices where the option is given, and the target has them", async () => {
  expect(await featuresOf("nvidia", option)).toContain(experimental);
  expect(await featuresOf("nvidia")).not.toContain(experimental);
  expect(await featuresOf("minimum", option)).toEqual([]);
});

test("a target file has them, for whoever gives the option too", async () => {
  const target = await json("target", "nvidia", option);
  writeFileSync(at("mine.json"), JSON.stringify(target));
  expect(await json("target", at("mine.json"), option)).toEqual(target);
  expect(await json("target", at("mine.json"))).toMatchObject({ tiles: nvidia.tiles });
});

test("this machine's adapter has them where it has the very matrices, and else is what it is without the option", async () => {
  const device = await openDawn(true);
  const own = withUnsafe(profileOf(device), device);
  device.close();
  const found = await json("target", "auto", option);
  const has = own.tiles.some(({ matrix }) => matrix);
  expect(found).toEqual(has ? JSON.parse(JSON.stringify(own)) : await json("target"));
  expect(own.features.includes(experimental)).toBe(has);
});

test.each([
  [
    "bk that is no multiple",
    { bk: 24 },
    /tiles\.0: must have bk a multiple of its matrices' K; got 24 \[W1\]$/,
  ],
  [
    "no such component",
    { matrix: { M: 8, N: 8, K: 8, component: "i8", subgroup: 32 } },
    /tiles\.0\.matrix\.component: /,
  ],
])("refuses a file of tiles with %s", async (_, patch, message) => {
  const target = withUnsafe(nvidia);
  const [first, ...rest] = target.tiles;
  writeFileSync(at("bad.json"), JSON.stringify({ ...target, tiles: [{ ...first, ...patch }, ...rest] }));
  await expect(readProfile(at("bad.json"))).rejects.toThrow(message);
});

test("is for WebGPU alone", async () => {
  const image = join(import.meta.dirname, "fixtures", "coffee.png");
  const { code, stderr } = await moec("run", "vit-s32", "--image", image, "--backend", "onnx", option);
  expect(code).toBe(2);
  expect(stderr.trimEnd()).toMatch(
    /^error: --unsafe-features: is for --backend webgpu; got --backend onnx \[U1\]$/,
  );
});
