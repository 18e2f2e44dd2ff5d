/** `moec trace` and `moec plan` as users meet them. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, expect, test } from "vitest";

import { writeNpy } from "../cli/npy.ts";
import { json, moec } from "./support/cli.ts";
import { tinyVmoe } from "./support/golden.ts";

const folder = mkdtempSync(join(tmpdir(), "moec-plan-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

const tiny = tinyVmoe();
writeFileSync(at("tiny.json"), JSON.stringify(tiny.cases.get("bpr_C0.4")!.config));
await writeNpy(at("x.npy"), tiny.image);
const input = ["--input", at("x.npy"), "--backend", "reference"];
const size = ["--size", "12", "--batch", "4"];

test("a plan made of a trace drops what it says, in every command that takes it", async () => {
  const traced = await json("trace", at("tiny.json"), ...input, "-o", at("trace.safetensors"));
  expect(traced).toMatchObject({ images: 4, blocks: ["encoderblock_1", "encoderblock_3"] });

  const goal = ["--trace", at("trace.safetensors"), "--drop-rate", "0.2"];
  const files = ["-o", at("plan.json"), "--svg", at("lost.svg")];
  const plan = await json("plan", at("tiny.json"), ...size, ...goal, ...files);
  expect(plan).toMatchObject({ priority: "gate", batch: 4 });
  const [first, second] = [plan["layers"]![0]!, plan["layers"]![1]!];
  expect(Number(first["dropRate"])).toBeLessThanOrEqual(0.2);
  expect(readFileSync(at("lost.svg"), "utf8")).toMatch(/^<svg [\s\S]*encoderblock_3: choices dropped/);

  const run = await json("run", at("tiny.json"), ...input, "--plan", at("plan.json"));
  expect(run["routes"]![0]).toMatchObject({ capacity: first["capacity"], dropRate: first["dropRate"] });
  const facts = await json("inspect", at("tiny.json"), ...size, "--plan", at("plan.json"));
  expect(facts["sparse"]).toMatchObject([{ capacity: first["capacity"] }, { capacity: second["capacity"] }]);

  const exported = ["--to", "onnx", "-o", at("planned.onnx"), "--outputs", "all"];
  await json("export", at("tiny.json"), ...size, ...exported, "--plan", at("plan.json"));
  const opened = await json("inspect", at("planned.onnx"));
  expect(opened).toMatchObject({ gflops: facts["gflops"], sparse: facts["sparse"] });
});

test("a plan without a trace costs what is configured", async () => {
  const { stdout } = await moec("plan", "vmoe-b16-every2", "--tile", "64");
  expect(stdout).toMatch(/encoderblock_1 +32 +1 +1576 +2 +104 +128 +1\.299 +60\.0 MiB/);
});

test.each([
  ["a dense model", ["vit-s32"], "vit-s32: has no sparse block to plan for [M3]"],
  ["a rate without a trace", ["vmoe-s32-last2", "--drop-rate", "0.1"], "plan: needs a trace"],
  [
    "a rate that is none",
    ["vmoe-s32-last2", "--drop-rate", "x"],
    "--drop-rate: must be a number; got x [U1]",
  ],
  [
    "a picture without a trace",
    ["vmoe-s32-last2", "--svg", at("never.svg")],
    "--svg: shows what a trace says; got no --trace [U1]",
  ],
  ["a trace that is none", ["vmoe-s32-last2", "--trace", at("tiny.json")], "is not a safetensors file"],
])("refuses %s, in one line, and writes nothing", async (_, words, message) => {
  const { code, stdout, stderr } = await moec("plan", ...words, "-o", at("never.json"));
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain(message);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(existsSync(at("never.json"))).toBe(false);
});

test("refuses a plan that is none", async () => {
  writeFileSync(at("broken.json"), '{ "capacities": { "encoderblock_1": 0 } }');
  const { code, stderr } = await moec("inspect", at("tiny.json"), "--plan", at("broken.json"));
  expect(code).toBe(2);
  expect(stderr).toMatch(/broken\.json\.capacities\.encoderblock_1: .*\[M1\]/);
});
