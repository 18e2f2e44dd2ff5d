/** Models of narrow weights: what they take, how far they are from the model, and that they arrive in bundles whole. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { reference } from "../backends/reference/index.ts";
import { dawn, dawnGpu } from "../backends/webgpu/dawn.ts";
import { compile, type Profile, profileOf, profiles } from "../backends/webgpu/index.ts";
import { folderFiles, saveBundle, validate } from "../backends/webgpu/saveBundle.ts";
import { readNpy, writeNpy } from "../cli/npy.ts";
import { compile as compileModel } from "../inference/compile.ts";
import { Tensor, type WeightSource } from "../ir/index.ts";
import { createModel, mergeConfig, type Model, presets, randomWeights } from "../models/index.ts";
import { matchWeights } from "../models/weights/match.ts";
import { narrowWeights, type WeightPrecision } from "../passes/index.ts";
import { Device } from "../runtime/device.ts";
import { loadBundle, type Manifest } from "../runtime/index.ts";
import { json, moec } from "./support/cli.ts";
import { expectClose } from "./support/close.ts";
import { type Golden, goldenPath, s32, tinyVmoe } from "./support/golden.ts";
import { runs } from "./support/runs.ts";

const folder = mkdtempSync(join(tmpdir(), "moec-precision-"));
const at = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true }));

const ways = {
  single: {},
  "half-weights": { precision: "half-weights" },
  int8: { quantizeExperts: "int8" },
  int4: { quantizeExperts: "int4" },
  "half-weights, int8": { precision: "half-weights", quantizeExperts: "int8" },
  "half-weights, int4": { precision: "half-weights", quantizeExperts: "int4" },
} as const satisfies Readonly<Record<string, WeightPrecision>>;
type Way = keyof typeof ways;
const names = Object.keys(ways) as Way[];
const narrow = names.slice(1);

const minimum = profiles.find(({ name }) => name === "minimum") as Profile;

/** The MiB on the device that docs/deploying.md states, by model and way. */
const stated = readFileSync(join(import.meta.dirname, "..", "docs", "deploying.md"), "utf8")
  .split("\n")
  .filter((line) => line.startsWith("| `vmoe-"))
  .map((line) => line.split("|").map((cell) => cell.trim()))
  .map(([, model = "", ...cells]) => [model.replaceAll("`", ""), cells.slice(0, -1).map(Number)] as const);

test("what weights take on the device is what is stated; MoE layers are five launches", () => {
  expect(stated.map(([model]) => model)).toEqual(["vmoe-s32-last2-e8", "vmoe-b16-every2-e8"]);
  for (const [name, mebibytes] of stated) {
    const model = createModel(presets.get(name)!);
    const modules = names.map((way) =>
      compile(narrowWeights(model.graph, ways[way]).graph, minimum, { outputs: ["logits"] }),
    );
    expect(modules.map(({ memory }) => Math.round(memory.weights / 2 ** 20))).toEqual(mebibytes);
    for (const { launches, memory } of modules) {
      expect(launches.length).toBe(modules[0]!.launches.length);
      expect(launches.filter(({ scope }) => scope.includes("/Moe"))).toHaveLength(5 * model.blocks.length);
      // Nothing is widened but what is small: positions, norms and biases.
      expect(memory.planned).toBeLessThan(modules[0]!.memory.planned + 2 * 2 ** 20);
    }
  }
});

describe.each(profiles.map((profile) => [profile.name, profile] as const))("for %s", (_, profile) => {
  test.each(narrow)("WebGPU takes the kernels of %s", async (way) => {
    const few = { encoder: { num_layers: 2, moe: { layers: [1] } } };
    const { graph } = createModel(mergeConfig(presets.get("vmoe-s32-last2-e8")!, few));
    const module = compile(narrowWeights(graph, ways[way]).graph, profile, { outputs: ["logits"] });
    await expect(validate(module, profile)).resolves.toBeUndefined();
  });
});

/** What docs/deploying.md states: largest distance of logits, as a share of the largest; none is without effect. */
const budgets: Readonly<Record<Way, number>> = {
  single: 1e-5,
  "half-weights": 0.005,
  int8: 0.02,
  int4: 0.2,
  "half-weights, int8": 0.02,
  "half-weights, int4": 0.2,
};

interface Case {
  readonly model: Model;
  readonly weights: WeightSource;
  readonly image: Tensor;
  /** Recorded from the original; else the reference's own of the model in float32. */
  readonly logits?: ArrayLike<number>;
}

function recordedCase({ image, weights, cases }: Golden, name: string): Case {
  const { config, logits } = cases.get(name)!;
  const [batch = 1, height = 1, width = 1] = image.type.shape;
  const model = createModel(config, { batch, imageSize: [height, width] });
  return { model, weights: matchWeights(model.parameters, weights, "golden"), image, logits };
}

function drawnCase(seed: number): Case {
  const model = createModel(
    mergeConfig(presets.get("vmoe-s32-last2-e8")!, {
      hidden_size: 64,
      num_classes: 100,
      head_kernel_zero_init: false,
      encoder: { num_layers: 4, mlp_dim: 256, num_heads: 4, moe: { layers: [1, 3] } },
    }),
    { batch: 2, imageSize: [96, 96] },
  );
  const image = Tensor.of("f32", [2, 96, 96, 3], (b, y, x, c) => Math.sin(b + 0.1 * y + 0.05 * x + seed * c));
  return { model, weights: randomWeights(model.parameters, seed), image };
}

const models: readonly (readonly [string, () => Case])[] = [
  ...["vanilla_C1.05", "bpr_C0.4", "k1_C1.05", "bf16_C1.05"].map(
    (name) => [`the original's ${name}`, () => recordedCase(tinyVmoe(), name)] as const,
  ),
  ...[1, 2].map((seed) => [`a model drawn from ${seed}`, () => drawnCase(seed)] as const),
  // A minute on the reference.
  ...(runs(1) > 1 ? [["the original's S/32", () => recordedCase(s32(2), "vanilla_C1.05")] as const] : []),
];

test.each(models)("%s is within the budgets, its first routing the same", async (_, made) => {
  const { model, weights, image, logits } = made();
  const engine = await reference.open();
  const slots = model.blocks.map(({ name }) => `${name}/slots`);
  const outputsOf = async (way: Way): Promise<Map<string, Tensor>> => {
    const { graph, weightsOf } = narrowWeights(model.graph, ways[way]);
    const program = await engine.compile(graph, weightsOf(weights), { outputs: ["logits", ...slots] });
    return program.run(new Map([["image", image]]));
  };
  const single = await outputsOf("single");
  const want = Array.from(logits ?? single.get("logits")!.numbers());
  const largest = Math.max(...want.map(Math.abs));
  for (const way of names) {
    const got = await outputsOf(way);
    const off = Array.from(got.get("logits")!.numbers(), (v, i) => Math.abs(v - want[i]!));
    expect(Math.max(...off) / largest, way).toBeLessThan(budgets[way]);
    expect(Math.max(...off) / largest > budgets.single, way).toBe(way !== "single");
    // What stands before the first experts is as it was, where the experts alone are narrow.
    const same = Buffer.compare(got.get(slots[0]!)!.bytes, single.get(slots[0]!)!.bytes) === 0;
    expect(same || "precision" in ways[way], way).toBe(true);
  }
});

const { image, weights, cases } = tinyVmoe();
const { config } = cases.get("bpr_C0.4")!;

describe("bundles", async () => {
  const engine = await dawn.open();
  const gpu = await dawnGpu();
  const device = await Device.open(gpu);
  const own = profileOf(device);
  device.close();
  afterAll(() => engine.close());
  const tiny = createModel(config, { batch: 4, imageSize: [12, 12] });

  test.each(narrow)("of %s give the engine's bits, in files as large as is said", async (way) => {
    const program = await compileModel({ model: tiny, weights }, { engine, ...ways[way] });
    const { outputs } = await program.run(image);
    const taken = program.report.weightBytes;
    await program.close();

    const { graph, weightsOf } = narrowWeights(tiny.graph, ways[way]);
    const module = compile(graph, own, { outputs: [...outputs.keys()] });
    const path = at(way.replaceAll(/\W+/g, "-"));
    await saveBundle(path, module, {}, weightsOf(weights));
    const bytes = readdirSync(join(path, "weights")).map(
      (name) => statSync(join(path, "weights", name)).size,
    );
    expect(bytes.reduce((a, b) => a + b)).toBe(module.memory.weights);
    expect(module.memory.weights).toBe(taken);
    const bundle = await loadBundle(folderFiles(path), gpu);
    const got = await bundle.run({ image: image.data as Float32Array });
    bundle.dispose();
    for (const [name, { data }] of outputs) expect(got[name], name).toEqual(data);
  });
});

describe("moec", () => {
  writeFileSync(at("tiny.json"), JSON.stringify(config));
  const trained = ["--weights", goldenPath("tiny_vmoe_ckpt")];
  const stored = ["--precision", "half-weights", "--quantize-experts", "int8"];

  test("compiles narrow weights, and runs them from a bundle and without one", async () => {
    await writeNpy(at("x.npy"), image);
    const sizes = ["--batch", "4", "--size", "12"];
    const compiled = [
      "compile",
      at("tiny.json"),
      ...trained,
      ...sizes,
      "--outputs",
      "all",
      "-o",
      at("narrow"),
    ];
    const summary = await json(...compiled, ...stored);
    expect(summary).toMatchObject({ precision: "half-weights", quantizeExperts: "int8" });
    const manifest = JSON.parse(readFileSync(at("narrow/manifest.json"), "utf8")) as Manifest;
    expect(manifest.model).toMatchObject({ precision: "half-weights", quantizeExperts: "int8" });
    const run = async (model: string, ...more: string[]): Promise<Tensor> => {
      await json("run", model, "--input", at("x.npy"), "--output", at("y.npy"), ...more);
      return readNpy(at("y.npy"));
    };
    const webgpu = await run(at("tiny.json"), ...trained, ...stored, "--backend", "webgpu");
    expect(await run(at("narrow"))).toEqual(webgpu);
    const onnx = await run(at("tiny.json"), ...trained, ...stored, "--backend", "onnx");
    expectClose([onnx], [webgpu], { ...dawn.tolerance, f32: 2e-4 });
    const refused = await moec("run", at("narrow"), "--input", at("x.npy"), "--quantize-experts", "int4");
    expect(refused.stderr).toMatch(/^error: --quantize-experts: is not for .* \[U1\]\n$/);
    const people = await moec(...compiled, "--quantize-experts", "int4");
    expect(people.stdout).toMatch(/^weights: .*, [\d.]+ MiB, experts int4$/m);
  });
});
