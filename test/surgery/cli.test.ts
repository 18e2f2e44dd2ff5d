/** `moec upcycle` and `moec edit` as they are shipped: files that run, and nothing half-written. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { readNpy, writeNpy } from "../../cli/npy.ts";
import { writeFileAtomically } from "../../files/disk.ts";
import { Tensor } from "../../ir/index.ts";
import { normalDraws } from "../../models/index.ts";
import { writeSafetensors } from "../../models/weights/safetensors.ts";
import { json, moec } from "../support/cli.ts";
import { temporaryFolder } from "../support/folder.ts";
import { denseConfig, distance, trainedOf } from "../support/trained.ts";

const folder = temporaryFolder("surgery");
const at = (name: string): string => join(folder, name);

// Four patches and a class token: a square, which weights can say.
const square = (name: string, tensor: Tensor): Tensor =>
  name.endsWith("pos_embedding") ? Tensor.of("f32", [1, 5, 8], (_, t = 0, d = 0) => Math.sin(t * d)) : tensor;
const dense = await trainedOf(denseConfig(4), 0, square);
writeFileSync(at("dense.json"), JSON.stringify(dense.config));
await writeFileAtomically(at("dense.safetensors"), (sink) => writeSafetensors(dense.weights, sink));
await writeNpy(at("x.npy"), new Tensor({ dtype: "f32", shape: [2, 8, 8, 3] }, normalDraws(0, "x", 384)));
await writeNpy(
  at("larger.npy"),
  new Tensor({ dtype: "f32", shape: [2, 16, 8, 3] }, normalDraws(0, "x", 768)),
);

async function logits(model: string, weights: string, input = "x.npy"): Promise<number[]> {
  const asked = ["--weights", at(weights), "--input", at(input), "--backend", "reference"];
  const { code, stderr } = await moec("run", at(model), ...asked, "--output", at("y.npy"));
  expect(code, stderr).toBe(0);
  return Array.from((await readNpy(at("y.npy"))).numbers());
}

test("upcycled without a word of its configuration, the model starts as the dense one, and can be cut", async () => {
  const made = await json(
    "upcycle",
    at("dense.safetensors"),
    "--experts",
    "3",
    "--blocks",
    "last2",
    "--renormalise",
    "--seed",
    "5",
    "--set",
    "encoder.moe.router.dispatcher.capacity_factor=3",
    "-o",
    at("sparse.safetensors"),
  );
  expect(made).toMatchObject({
    weights: at("sparse.safetensors"),
    config: at("sparse.json"),
    experts: 3,
    blocks: [1, 3],
    router: "NoisyTopExpertsPerItemRouter",
  });
  const want = await logits("dense.json", "dense.safetensors");
  expect(distance(await logits("sparse.json", "sparse.safetensors"), want)).toBeLessThan(1e-5);
  const again = ["--experts", "3", "--blocks", "1,3", "--renormalise", "--seed", "5"];
  await json(
    "upcycle",
    at("dense.safetensors"),
    ...again,
    "-o",
    at("again.safetensors"),
    "--config",
    at("c.json"),
  );
  expect(readFileSync(at("again.safetensors"))).toEqual(readFileSync(at("sparse.safetensors")));
  expect(existsSync(at("again.json"))).toBe(false);

  const cut = ["--model", at("sparse.json"), "--drop-experts", "1", "--blocks", "0,3"];
  await json("edit", at("sparse.safetensors"), ...cut, "-o", at("cut.safetensors"));
  const facts = await json("inspect", at("cut.json"), "--size", "8");
  expect(facts).toMatchObject({ blocks: 2, sparse: [{ block: 1, experts: 2 }] });
  expect(await logits("cut.json", "cut.safetensors")).toHaveLength(10);
});

test("pictures of another size, and weights resized to them, are one thing", async () => {
  const resized = ["edit", at("dense.safetensors"), "--size", "16x8", "-o", at("tall.safetensors")];
  const { stdout, code } = await moec(...resized);
  expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining("moec run") as string });
  expect(await logits("tall.json", "tall.safetensors", "larger.npy")).toEqual(
    await logits("dense.json", "dense.safetensors", "larger.npy"),
  );
});

const out = ["-o", at("never.safetensors")];
test.each([
  ["no blocks", ["upcycle", at("dense.safetensors"), "--experts", "2", ...out], "--blocks"],
  [
    "blocks that are none",
    ["upcycle", at("dense.safetensors"), "--experts", "2", "--blocks", "9", ...out],
    "blocks",
  ],
  ["other weights", ["upcycle", at("none.npz"), "--experts", "2", "--blocks", "1", ...out], "none.npz"],
  [
    "a configuration that does not fit",
    ["upcycle", at("dense.safetensors"), "--model", "vit-s32", "--experts", "2", "--blocks", "1", ...out],
    "does not fit the model",
  ],
  [
    "a file of another kind",
    ["upcycle", at("dense.safetensors"), "--experts", "2", "--blocks", "1", "-o", at("never.npz")],
    "--output",
  ],
  ["no edit", ["edit", at("dense.safetensors"), ...out], "--keep-experts"],
  ["two edits", ["edit", at("dense.safetensors"), "--experts", "2", "--keep-experts", "0", ...out], "edit"],
  ["experts of a dense model", ["edit", at("dense.safetensors"), "--experts", "2", ...out], "dense"],
  [
    "experts that are no list",
    ["edit", at("dense.safetensors"), "--keep-experts", "0,,1", ...out],
    "--keep-experts",
  ],
  [
    "an edit that leaves no model",
    ["edit", at("dense.safetensors"), "--blocks", "0", "--set", "encoder.num_layers=3", ...out],
    "never.safetensors",
  ],
])("%s: one line and no file", async (_, args, named) => {
  const { code, stdout, stderr } = await moec(...args);
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  expect(stderr).toContain(named);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect([at("never.safetensors"), at("never.json"), at("never.npz")].filter(existsSync)).toEqual([]);
});
