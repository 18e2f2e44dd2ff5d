/** What `moec run` shows of where tokens went, where tokens do not choose and where each member of an ensemble does. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, expect, test } from "vitest";

import { writeNpy } from "../cli/npy.ts";
import { writeFileAtomically } from "../files/disk.ts";
import { writeSafetensors } from "../models/weights/safetensors.ts";
import { json, moec } from "./support/cli.ts";
import { type GoldenCase, recorded } from "./support/golden.ts";

const folder = mkdtempSync(join(tmpdir(), "moec-routes-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A recorded case, and the command that runs it from files. */
async function runOf(
  file: string,
  key: string,
): Promise<{ readonly args: string[]; readonly want: GoldenCase }> {
  const { cases, image, weights } = recorded(file);
  const want = cases.get(key)!;
  const at = (name: string): string => join(folder, `${file}.${name}`);
  writeFileSync(at("json"), JSON.stringify(want.config));
  await writeNpy(at("npy"), image);
  await writeFileAtomically(at("safetensors"), (sink) => writeSafetensors(weights, sink));
  const args = [
    "run",
    at("json"),
    "--weights",
    at("safetensors"),
    "--input",
    at("npy"),
    "--backend",
    "reference",
  ];
  return { args, want };
}

test.each([
  ["expert choice", "expert_choice.json", "C1_round", { loads: [6, 6, 6, 6], unserved: 8 }],
  ["Soft MoE", "soft_moe.json", "num_slots_2", { loads: [4, 4, 4, 4], unserved: 0 }],
])("%s, where tokens do not choose", async (_, file, key, routes) => {
  const { args } = await runOf(file, key);
  const report = await json(...args);
  expect(report["routes"]?.[0]).toMatchObject({ ...routes, dropped: 0, choices: 0 });
  expect((await moec(...args)).stdout).toMatch(/4 experts, capacity 2, \d+ of \d+ tokens unserved/);
});

test("an ensemble's combined prediction, and each member's patches", async () => {
  const { args, want } = await runOf("e3.json", "bpr_C0.5");
  const report = await json(...args);
  expect(report["top5"]).toHaveLength(4);
  const scores = want.metrics.get("ensemble_log_probs")!.slice(0, 5);
  const best = Math.max(...scores);
  expect(report["top5"]?.[0]?.[0]).toMatchObject({
    class: scores.indexOf(best),
    probability: expect.closeTo(Math.exp(best), 5) as number,
  });
  const map = report["routes"]?.[0]?.["map"] as unknown as number[][];
  expect(map.map((tokens) => tokens.length)).toEqual(Array(8).fill(10));
  // Even rows are of the first member, whose experts are the first two.
  const strays = map.flatMap((tokens, row) => tokens.filter((e) => e >= 0 && Math.floor(e / 2) !== row % 2));
  expect(strays).toEqual([]);
  expect((await moec(...args)).stdout).toContain("encoderblock_3, member 1");
});
