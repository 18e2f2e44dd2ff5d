/** The command line as users meet it: what it prints, what it writes, and one line for everything that is wrong. */
import {
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { readNpy, writeNpy } from "../cli/npy.ts";
import { writeFileAtomically } from "../files/disk.ts";
import { Tensor } from "../ir/index.ts";
import { mergeConfig } from "../models/index.ts";
import { writeSafetensors } from "../models/weights/safetensors.ts";
import { adapter } from "./support/adapter.ts";
import { json, moec, moecIn } from "./support/cli.ts";
import { copyInto, linkModules, root, temporaryFolder } from "./support/folder.ts";
import { goldenPath, tinyVmoe } from "./support/golden.ts";

const folder = temporaryFolder("cli");
const at = (name: string): string => join(folder, name);
const photo = (name: string): string => join(root, "test", "fixtures", name);

const tiny = tinyVmoe();
const { config, logits } = tiny.cases.get("bpr_C0.4")!;
writeFileSync(at("tiny.json"), JSON.stringify(config));
await writeNpy(at("x.npy"), tiny.image);
await writeFileAtomically(at("tiny.safetensors"), (sink) => writeSafetensors(tiny.weights, sink));

describe("moec models and inspect", () => {
  test("list presets, as text and as JSON", async () => {
    const { stdout, code } = await moec("models");
    expect(code).toBe(0);
    expect(stdout).toMatch(/vmoe-15b +14705\.1 M +903\.77 +32/);
    const rows = (await json("models")) as unknown as { name: string; parameters: number }[];
    expect(rows.find(({ name }) => name === "vmoe-s32-last2-e8")).toMatchObject({
      parameters: 56_999_400,
      sparseBlocks: [5, 7],
    });
  });

  test("inspect says parameters, operations, memory, blocks and capacities", async () => {
    const facts = await json("inspect", "vmoe-h14-last5");
    expect(facts).toMatchObject({ batch: 8, tokens: 257, blocks: 32 });
    expect(facts["sparse"]?.[0]).toEqual({
      block: 23,
      experts: 32,
      groups: 1,
      groupSize: 2056,
      capacity: 136,
    });
    expect(facts["memory"]?.["weights"]).toBe(4 * Number(facts["parameters"]));
    const { stdout } = await moec("inspect", at("tiny.json"), "--size", "12");
    expect(stdout).toMatch(/sparse block +experts +groups +tokens a group +capacity/);
  });

  test("overrides reach the model, and --text prints the program", async () => {
    const set = ["--set", "encoder.moe.router.dispatcher.capacity_factor=2", "--set", "encoder.num_layers=6"];
    const facts = await json("inspect", "vmoe-s32-every2", ...set, "--set", "encoder.moe.layers=[1]");
    expect(facts["sparse"]).toEqual([{ block: 1, experts: 32, groups: 1, groupSize: 400, capacity: 52 }]);
    const { stdout } = await moec("inspect", at("tiny.json"), "--size", "12", "--text");
    expect(stdout).toMatch(/^graph "VisionTransformerMoe" \{\n/);
    expect(stdout).toContain("route_top_experts(");
  });
});

const reason = (text: string): string => expect.stringContaining(text) as string;

describe("moec run", () => {
  test.each([
    ["a checkpoint, by WebGPU", "webgpu", goldenPath("tiny_vmoe_ckpt")],
    ["a checkpoint, by the reference", "reference", goldenPath("tiny_vmoe_ckpt")],
    ["a checkpoint, by ONNX Runtime", "onnx", goldenPath("tiny_vmoe_ckpt")],
    ["safetensors", "auto", at("tiny.safetensors")],
  ])("writes the original's logits from %s", async (_, backend, weights) => {
    const output = at(`${backend}.npy`);
    const report = await json(
      "run",
      at("tiny.json"),
      "--weights",
      weights,
      "--input",
      at("x.npy"),
      "--output",
      output,
      "--backend",
      backend,
      "--repeat",
      "20",
    );
    const got = await readNpy(output);
    expect(got.type).toEqual({ dtype: "f32", shape: [4, 5] });
    expect(Math.max(...Array.from(got.numbers(), (v, i) => Math.abs(v - logits[i]!)))).toBeLessThan(2e-5);
    expect(report).toMatchObject({ weights, identical: true });
    expect(report["routes"]?.[0]).toMatchObject({ block: "encoderblock_1", capacity: 4, choices: 80 });
    rmSync(output);
  });

  test("counts launches, submits and readbacks", async () => {
    const report = await json("run", at("tiny.json"), "--input", at("x.npy"), "--backend", "webgpu");
    expect(report).toMatchObject({ submits: 1, readbacks: 0 });
    expect(Object.keys(report["launchesPerMoeLayer"] ?? {})).toEqual(["encoderblock_1", "encoderblock_3"]);
  });

  test("says that weights are random and shows where patches went", async () => {
    const { stdout, code } = await moec(
      "run",
      "vmoe-s32-last2-e8",
      "--image",
      photo("coffee.png"),
      "--backend",
      "reference",
      "--set",
      "encoder.num_layers=6",
      "--set",
      "encoder.moe.layers=[5]",
    );
    expect(code).toBe(0);
    expect(stdout).toContain("random (seed 0): untrained");
    expect(stdout).toMatch(/encoderblock_5 {2}8 experts, capacity 16, dropped \d+ of 100 choices/);
    expect(stdout).toMatch(/(?:[0-7·] ){7}/);
  });

  test("takes photographs of any kind and size", async () => {
    const sharp = (await import("sharp")).default;
    await sharp(photo("rocket.jpg")).greyscale().toFile(at("grey.jpg"));
    await sharp({ create: { width: 9, height: 40, channels: 4, background: "#f008" } })
      .png()
      .toFile(at("thin.png"));
    const images = [photo("chelsea.png"), photo("rocket.jpg"), at("grey.jpg"), at("thin.png")];
    for (const fit of ["crop", "squash"]) {
      const report = await json(
        "run",
        at("tiny.json"),
        "--weights",
        goldenPath("tiny_vmoe_ckpt"),
        "--image",
        ...images,
        "--fit",
        fit,
        "--backend",
        "reference",
      );
      expect(report["top5"]).toHaveLength(4);
      expect(report["routes"]?.[0]?.["map"]?.[0]).toHaveLength(10);
    }
  });

  const without = { VK_DRIVER_FILES: at("no-driver.json"), VK_ICD_FILENAMES: at("no-driver.json") };
  const auto = async (env: NodeJS.ProcessEnv, main?: string): Promise<unknown> => {
    const args = ["run", at("tiny.json"), "--input", at("x.npy"), "--json"];
    const { code, stdout, stderr } = await moecIn({ ...process.env, ...env }, args, main);
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout);
  };

  test("runs on a GPU, and by ONNX Runtime rather than a software one, with a driver of one or none, and says so", async () => {
    const chosen = { backend: "onnx", device: reason("ONNX Runtime") };
    expect(await auto({})).toMatchObject(
      adapter.software
        ? { ...chosen, reason: reason("no GPU; ONNX Runtime") }
        : { backend: "webgpu", reason: "a GPU" },
    );
    expect(await auto(without)).toMatchObject({ ...chosen, reason: reason("no WebGPU adapter") });
  });

  test("falls back to a software GPU, and to the reference, where ONNX Runtime is not installed", async () => {
    // The package as it is shipped, beside all that it needs but one.
    const bare = temporaryFolder("bare");
    copyInto(bare, ["dist", "package.json"]);
    linkModules(bare, ["onnxruntime-node"]);
    const main = join(bare, "dist", "cli", "main.js");
    expect(await auto({}, main)).toMatchObject({
      backend: "webgpu",
      reason: adapter.software ? reason("no ONNX Runtime") : "a GPU",
    });
    expect(await auto(without, main)).toMatchObject({
      backend: "reference",
      reason: reason("no ONNX Runtime"),
    });
    const asked = await moecIn(process.env, ["run", at("tiny.json"), ...input, "--backend", "onnx"], main);
    expect(asked).toMatchObject({ code: 2, stdout: "", stderr: reason("npm install onnxruntime-node") });
  });

  test("batch 1 and noise", async () => {
    const one = Tensor.from(
      { dtype: "f32", shape: [1, 12, 12, 3] },
      Array.from(tiny.image.numbers()).slice(0, 432),
    );
    await writeNpy(at("one.npy"), one);
    const args = [
      "run",
      at("tiny.json"),
      "--weights",
      goldenPath("tiny_vmoe_ckpt"),
      "--input",
      at("one.npy"),
      "--backend",
      "reference",
    ];
    const logitsOf = async (...more: string[]): Promise<unknown> => (await json(...args, ...more))["top5"];
    expect(await logitsOf("--noise", "1")).not.toEqual(await logitsOf());
    expect(await logitsOf("--noise", "1")).toEqual(await logitsOf("--noise", "1"));
  });

  test("sweeps knobs on one compiled program", async () => {
    const args = ["run", at("tiny.json"), "--weights", goldenPath("tiny_vmoe_ckpt"), "--input", at("x.npy")];
    const sweep = ["k=1", "capacity=0.2,0.4", "priority=gate", "k=2"].flatMap((each) => ["--sweep", each]);
    const { rows } = await json(...args, "--backend", "webgpu", ...sweep);
    const told = [...(rows as unknown as { knobs: object; limits: { k: number; slots: number }[] }[])];
    expect(told.map(({ knobs }) => knobs)).toEqual(
      [1, 2].flatMap((k) => [0.2, 0.4].map((capacity) => ({ k, capacity, priority: "gate" }))),
    );
    expect(told.map(({ limits }) => limits.map(({ k, slots }) => [k, slots]))).toEqual([
      [
        [1, 4],
        [1, 4],
      ],
      [
        [1, 4],
        [1, 4],
      ],
      [
        [2, 4],
        [2, 4],
      ],
      [
        [2, 4],
        [2, 4],
      ],
    ]);
    const { stdout } = await moec(...args, "--backend", "reference", "--sweep", "k=2,1");
    expect(stdout).toMatch(/k {2}slots.* {2}ms +dropped +class\n2 +4 +[\d.]+ +[\d.]+ % +\d, \d, \d, \d\n1 /);
  });

  test("--trace shows each rewrite on stderr", async () => {
    const { stderr } = await moec(
      "run",
      at("tiny.json"),
      "--input",
      at("x.npy"),
      "--backend",
      "webgpu",
      "--trace",
    );
    expect(stderr).toMatch(
      /fuse-experts: experts-of-dispatch at Encoder\/encoderblock_1\/Moe\n {2}- .*combine\(.*\n {2}\+ .*routed_mlp\(/,
    );
  });
});

test("moec verify compares, and exits 1 when something is off", async () => {
  const args = ["verify", at("tiny.json"), "--size", "12", "--batch", "4"];
  const { stdout, code } = await moec(...args);
  expect(code).toBe(0);
  expect(stdout).toMatch(/webgpu .* equal +ok\nonnx .* equal +ok\nreference +0\.0e\+0 .* equal +ok/);
  const report = await json(...args, "--backends", "webgpu");
  expect(report["comparisons"]?.[0]).toMatchObject({ backend: "webgpu", routingEqual: true, ok: true });
});

test("help teaches by example", async () => {
  for (const args of [["--help"], ["run", "--help"], ["verify", "--help"]]) {
    const { stdout, code } = await moec(...args);
    expect(code).toBe(0);
    expect(stdout).toMatch(/Examples:\n {2}\$ moec /);
  }
});

// Each is a way to be wrong, with what the one line must name.
writeFileSync(at("unknown-key.json"), JSON.stringify({ ...config, hiden: 1 }));
writeFileSync(
  at("magic.json"),
  JSON.stringify(mergeConfig(config, { encoder: { moe: { router: { name: "vmoe.MagicRouter" } } } })),
);
writeFileSync(at("broken.json"), '{"num_classes": ');
writeFileSync(at("list.json"), "[]");
writeFileSync(at("notes.txt"), "only words");
copyFileSync(at("x.npy"), at("short.npy"));
truncateSync(at("short.npy"), 1000);
writeFileSync(at("f8.npy"), readFileSync(at("x.npy"), "latin1").replace("<f4", "<f8"), "latin1");
await writeNpy(at("flat.npy"), Tensor.from({ dtype: "f32", shape: [4] }, [1, 2, 3, 4]));
const withNan = new Float32Array(tiny.image.numbers());
withNan[7] = Number.NaN;
await writeNpy(at("nan.npy"), new Tensor(tiny.image.type, withNan));
copyFileSync(at("tiny.safetensors"), at("short.safetensors"));
truncateSync(at("short.safetensors"), 3000);
for (const suffix of [".index", ".data-00000-of-00002", ".data-00001-of-00002"]) {
  copyFileSync(goldenPath(`tiny_vmoe_ckpt${suffix}`), at(`cut${suffix}`));
  copyFileSync(goldenPath(`tiny_vmoe_ckpt${suffix}`), at(`gone${suffix}`));
  copyFileSync(goldenPath(`tiny_vmoe_ckpt${suffix}`), at(`nan${suffix}`));
}
truncateSync(at("cut.data-00001-of-00002"), 20_000);
rmSync(at("gone.data-00000-of-00002"));
const payload = readFileSync(at("nan.data-00000-of-00002"));
payload.fill(0xff, payload.length - 200, payload.length - 150);
writeFileSync(at("nan.data-00000-of-00002"), payload);

const input = ["--input", at("x.npy")];
const wrong: readonly (readonly [what: string, args: readonly string[], named: string])[] = [
  ["an unknown command", ["fly"], "unknown command 'fly'"],
  ["no command", [], "no such command"],
  ["an unknown option", ["models", "--fast"], "--fast"],
  ["a missing argument", ["inspect"], "model"],
  ["an unknown preset", ["inspect", "vmoe-xl"], "vmoe-xl"],
  ["a missing configuration", ["run", at("none.json"), ...input], "none.json"],
  ["a configuration that is not JSON", ["run", at("broken.json"), ...input], "broken.json"],
  ["a configuration that is a list", ["run", at("list.json"), ...input], "config"],
  ["a program in place of a configuration", ["plan", "m.onnx"], "m.onnx: is a program"],
  ["an unknown key", ["run", at("unknown-key.json"), ...input], "hiden"],
  ["a router that is not built", ["run", at("magic.json"), ...input], "MagicRouter"],
  ["an override without a value", ["run", at("tiny.json"), ...input, "--set", "encoder"], "encoder"],
  [
    "an override of an unknown key",
    ["run", at("tiny.json"), ...input, "--set", "encoder.widht=2"],
    "encoder.widht",
  ],
  [
    "k above the experts",
    ["run", at("tiny.json"), ...input, "--set", "encoder.moe.router.num_selected_experts=9"],
    "num_selected_experts",
  ],
  ["neither image nor array", ["run", at("tiny.json")], "--image"],
  ["both image and array", ["run", at("tiny.json"), ...input, "--image", photo("coffee.png")], "--image"],
  ["a missing array", ["run", at("tiny.json"), "--input", at("none.npy")], "none.npy"],
  ["a truncated array", ["run", at("tiny.json"), "--input", at("short.npy")], "short.npy"],
  ["an array of doubles", ["run", at("tiny.json"), "--input", at("f8.npy")], "f8.npy"],
  ["an array of another shape", ["run", at("tiny.json"), "--input", at("flat.npy")], "flat.npy"],
  ["an array with a NaN", ["run", at("tiny.json"), "--input", at("nan.npy")], "nan.npy"],
  ["what is no array", ["run", at("tiny.json"), "--input", at("notes.txt")], "notes.txt"],
  ["a missing photograph", ["run", at("tiny.json"), "--image", at("none.jpg")], "none.jpg"],
  ["what is no photograph", ["run", at("tiny.json"), "--image", at("notes.txt")], "notes.txt"],
  [
    "a size that is none",
    ["run", at("tiny.json"), "--image", photo("coffee.png"), "--size", "big"],
    "--size",
  ],
  [
    "an image smaller than a patch",
    ["run", at("tiny.json"), "--image", photo("coffee.png"), "--size", "2"],
    "image size",
  ],
  ["missing weights", ["run", at("tiny.json"), ...input, "--weights", at("none")], "none"],
  [
    "truncated weights",
    ["run", at("tiny.json"), ...input, "--weights", at("short.safetensors")],
    "short.safetensors",
  ],
  ["weights that are words", ["run", at("tiny.json"), ...input, "--weights", at("notes.txt")], "notes.txt"],
  [
    "weights of another model",
    ["run", "vit-s32", "--image", photo("coffee.png"), "--weights", at("tiny.safetensors")],
    "tiny.safetensors",
  ],
  [
    "a truncated checkpoint",
    ["run", at("tiny.json"), ...input, "--weights", at("cut")],
    "cut.data-00001-of-00002",
  ],
  [
    "a checkpoint without a data file",
    ["run", at("tiny.json"), ...input, "--weights", at("gone")],
    "gone.data-00000-of-00002",
  ],
  ["a checkpoint with NaNs", ["run", at("tiny.json"), ...input, "--weights", at("nan")], "NaN"],
  ["an engine that is none", ["run", at("tiny.json"), ...input, "--backend", "onnx", "--ep", "tpu"], "tpu"],
  ["an engine of another backend", ["run", at("tiny.json"), ...input, "--ep", "cpu"], "--ep"],
  [
    "a session option without a value",
    ["run", at("tiny.json"), ...input, "--backend", "onnx", "--session", "fast"],
    "--session",
  ],
  ["a sweep of no knob", ["run", at("tiny.json"), ...input, "--sweep", "experts=1,2"], "--sweep"],
  ["logits of a sweep", ["run", at("tiny.json"), ...input, "--sweep", "k=1,2"], "--output"],
  ["an unknown backend", ["run", at("tiny.json"), ...input, "--backend", "cuda"], "cuda"],
  [
    "a group size that does not divide",
    ["run", at("tiny.json"), ...input, "--group-size", "7"],
    "group size",
  ],
  [
    "an output that cannot be written",
    ["run", at("tiny.json"), ...input, "--output", at("no/where.npy")],
    "where.npy",
  ],
  ["an output that is a folder", ["run", at("tiny.json"), ...input, "--output", folder], "is a folder"],
  [
    "a batch beyond memory",
    ["run", at("tiny.json"), ...input, "--batch", "1000000000", "--backend", "reference"],
    "memory",
  ],
  [
    "a model beyond memory",
    ["run", at("tiny.json"), ...input, "--set", "num_classes=1000000000000", "--backend", "reference"],
    "memory",
  ],
  ["an unknown backend to verify", ["verify", at("tiny.json"), "--backends", "webgpu,tpu"], "tpu"],
];

test.each(wrong)("%s: exit code 2, one line, no output", async (_, args, named) => {
  const before = readdirSync(folder);
  const output = at("never.npy");
  const writes = args[0] === "run" && !args.includes("--output") ? ["--output", output] : [];
  const { code, stdout, stderr } = await moec(...args, ...writes);
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  expect(stderr).toContain(named);
  expect(stderr).not.toMatch(/\n\s+at /);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(existsSync(output)).toBe(false);
  expect(readdirSync(folder)).toEqual(before);
});
