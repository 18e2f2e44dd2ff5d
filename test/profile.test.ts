/** `moec profile` as users meet it: every launch of a run is timed, and the flame chart holds them all. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, expect, test } from "vitest";

import { writeNpy } from "../cli/npy.ts";
import { json, moec } from "./support/cli.ts";
import { tinyVmoe } from "./support/golden.ts";

const folder = mkdtempSync(join(tmpdir(), "moec-profile-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

const tiny = tinyVmoe();
writeFileSync(at("tiny.json"), JSON.stringify(tiny.cases.get("bpr_C0.4")!.config));
await writeNpy(at("x.npy"), tiny.image);
const input = ["--input", at("x.npy"), "--backend", "webgpu"];

interface Launch {
  readonly label: string;
  readonly scope: string;
  readonly ms: number;
  readonly flops: number;
  readonly bytes: number;
}

test("every launch of a run is timed, and its products counted", async () => {
  const found = await json("profile", at("tiny.json"), ...input, "--repeat", "2", "--svg", at("flame.svg"));
  const launches = found["launches"] as unknown as readonly Launch[];
  const run = await json("run", at("tiny.json"), ...input);
  expect(launches.map(({ ms }) => ms).every((ms) => ms >= 0)).toBe(true);
  expect(Number(found["ms"])).toBeGreaterThan(0);
  const { ms, experts: ofExperts } = found["moe"] as unknown as Record<"ms" | "experts", number>;
  expect(Math.min(ms, ofExperts)).toBeGreaterThan(0);
  // The run also reads the routes, which are there already.
  expect(launches).toHaveLength(Number(run["launches"]));

  const products = launches.filter(({ flops }) => flops > 0);
  const dense = products.find(({ scope }) => scope === "Encoder/encoderblock_0/Mlp/Dense_0")!;
  expect(dense.flops).toBe(2 * 4 * 10 * 16 * 32);
  const experts = products.filter(({ label }) => label.startsWith("experts"));
  // Four experts, two groups, four slots each, at most.
  expect(experts.map(({ flops }) => flops)).toEqual(Array(4).fill(2 * 32 * 16 * 32));

  const svg = readFileSync(at("flame.svg"), "utf8");
  expect(svg).toMatch(/^<svg /);
  for (const { scope } of launches) expect(svg).toContain(scope.split("/").at(-1));
});

test("refuses a backend that times nothing, in one line", async () => {
  const words = ["--input", at("x.npy"), "--backend", "reference"];
  const { code, stderr } = await moec("profile", at("tiny.json"), ...words);
  expect(code).toBe(2);
  expect(stderr).toMatch(/^error: .*: does not time its launches \[B3\]\n$/);
});
