/** Bundles: compiled for every kind of device without it, run by the runtime alone, and refused when they are broken. */
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { gzipSync } from "node:zlib";

import { afterAll, describe, expect, test } from "vitest";

import { dawn, dawnGpu } from "../backends/webgpu/dawn.ts";
import { compile, type Profile, profileOf, profiles } from "../backends/webgpu/index.ts";
import { kernelNeeds } from "../backends/webgpu/needs.ts";
import { defaultLimits } from "../backends/webgpu/profile.ts";
import { folderFiles, saveBundle, validate } from "../backends/webgpu/saveBundle.ts";
import { Graph, input, ops, Tensor, weight } from "../ir/index.ts";
import { createModel, presets } from "../models/index.ts";
import { Device } from "../runtime/device.ts";
import { type Bundle, fetchFiles, loadBundle, type ReadFile } from "../runtime/index.ts";
import type { DeviceModule, ModuleKernel } from "../runtime/module.ts";
import { json, moec } from "./support/cli.ts";
import { expectOneLine } from "./support/errors.ts";
import { tinyVmoe } from "./support/golden.ts";

const root = resolve(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "moec-bundle-"));
afterAll(() => rmSync(folder, { recursive: true }));

const gpu = await dawnGpu();
const device = await Device.open(gpu);
const own = profileOf(device);
device.close();

const { image, weights, cases } = tinyVmoe();
const { config } = cases.get("bpr_C0.4")!;
const model = createModel(config, { batch: 4, imageSize: [12, 12] });
const tiny = join(folder, "tiny");
await saveBundle(tiny, compile(model.graph, own), { config, batch: 4, imageSize: [12, 12] }, weights);

const files = (path: string): string[] =>
  readdirSync(path, { recursive: true, encoding: "utf8" }).filter((name) =>
    statSync(join(path, name)).isFile(),
  );

/** Loads a bundle, runs the tiny image through it, and lets it go. */
async function outputsOf(
  read: ReadFile,
  on: GPU | GPUDevice = gpu,
): Promise<Awaited<ReturnType<Bundle["run"]>>> {
  const bundle = await loadBundle(read, on);
  try {
    return await bundle.run({ image: image.data as Float32Array });
  } finally {
    bundle.dispose();
  }
}

test("weights of several reads arrive whole, and in order", async () => {
  const type = { dtype: "f32", shape: [3, 2 ** 19 + 5] } as const;
  const [x, w, v] = [input("x", { dtype: "f32", shape: [1] }), weight("w", type), weight("v", type)];
  const graph = new Graph(
    "sums",
    [x],
    [
      ["x", x],
      ["w", w],
      ["v", ops.reduceSum(v)],
    ],
  );
  const tensor = Tensor.of("f32", type.shape, (i, j) => (i * 7 + j) % 1000);
  const source = {
    tensors: new Map([
      ["w", type],
      ["v", type],
    ]),
    read: (_name: string, [start, stop]: readonly [number, number] = [0, 3]) =>
      Promise.resolve(
        new Tensor(
          { dtype: "f32", shape: [stop - start, type.shape[1]] },
          tensor.data.slice(start * type.shape[1], stop * type.shape[1]),
        ),
      ),
    close: () => Promise.resolve(),
  };
  const path = join(folder, "large");
  await saveBundle(path, compile(graph, own), {}, source);
  const bundle = await loadBundle(folderFiles(path), gpu);
  const got = await bundle.run({ x: new Float32Array([1]) });
  bundle.dispose();
  expect(Buffer.compare(new Uint8Array(got["w"]!.buffer), tensor.bytes)).toBe(0);
  expect(got["v"]!.length).toBe(3);
}, 60_000);

describe("a bundle of the tiny model", async () => {
  const engine = await dawn.open();
  const executable = await engine.compile(model.graph, weights);
  const want = await executable.run(new Map([["image", image]]));
  afterAll(() => engine.close());

  const expectSame = (got: Awaited<ReturnType<Bundle["run"]>>): void => {
    expect(Object.keys(got)).toEqual([...want.keys()]);
    for (const [name, tensor] of want) expect(got[name], name).toEqual(tensor.data);
  };

  test("gives the bits that the engine gives, from a folder and from a server", async () => {
    expectSame(await outputsOf(folderFiles(tiny)));
    const server = createServer(({ url = "" }, response) => {
      response.end(readFileSync(join(tiny, url.replace("/bundle/", ""))));
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const { port } = server.address() as AddressInfo;
    expectSame(await outputsOf(fetchFiles(`http://127.0.0.1:${port}/bundle/`)));
    server.close();
  });

  test("runs on a device that is open already, and leaves it open", async () => {
    const adapter = (await gpu.requestAdapter())!;
    const { module } = JSON.parse(readFileSync(join(tiny, "manifest.json"), "utf8"));
    const { features: requiredFeatures, limits: requiredLimits } = module;
    const opened = await adapter.requestDevice({ requiredFeatures, requiredLimits });
    expectSame(await outputsOf(folderFiles(tiny), opened));
    expectSame(await outputsOf(folderFiles(tiny), opened));
    opened.destroy();
  });

  test("is text that people can read, and weights of the sizes that the manifest says", () => {
    const { module, ...rest } = JSON.parse(readFileSync(join(tiny, "manifest.json"), "utf8"));
    expect(rest).toMatchObject({ format: "moec bundle", version: 1, model: { batch: 4 } });
    const listed = [...module.kernels.map(({ file }: { file: string }) => file), ...rest.weights];
    expect(new Set(files(tiny))).toEqual(new Set(["manifest.json", ...listed]));
    expect(statSync(join(tiny, rest.weights[0])).size).toBe(module.buffers[0].bytes);
    expect(readFileSync(join(tiny, module.kernels[0].file), "utf8")).toMatch(/^@group\(0\) @binding\(0\)/m);
  });

  test("says that there is no WebGPU", async () => {
    const { gpu: none } = {} as { gpu?: GPU };
    await expect(loadBundle(folderFiles(tiny), none)).rejects.toThrow(/^webgpu: .* no WebGPU \[B2\]$/);
  });

  test("refuses inputs that do not fit", async () => {
    const bundle = await loadBundle(folderFiles(tiny), gpu);
    await expect(bundle.run({})).rejects.toThrow(
      "input image: must be Float32Array(1728), f32[4, 12, 12, 3]; got nothing [B1]",
    );
    await expect(bundle.run({ image: new Int32Array(1728) })).rejects.toThrow(
      /got Int32Array\(1728\) \[B1\]$/,
    );
    bundle.dispose();
  });
});

const breakers: readonly (readonly [string, (path: string) => void, RegExp])[] = [
  [
    "a kernel is missing",
    (path) => rmSync(join(path, "kernels"), { recursive: true }),
    /^kernels\/\d\d.*ENOENT.*\[W1\]$/,
  ],
  [
    "weights end early",
    (path) => truncateSync(join(path, "weights/000.bin"), 100),
    /^weights\/000.bin: must have \d+ bytes; got 100 \[W1\]$/,
  ],
  [
    "weights go on",
    (path) => writeFileSync(join(path, "weights/000.bin"), "more", { flag: "a" }),
    /got more \[W1\]$/,
  ],
  [
    "the manifest is of another version",
    (path) => edit(path, /"version":1/, '"version":2'),
    /^manifest.json: .*got version 2 \[W1\]$/,
  ],
  ["the manifest is something else", (path) => edit(path, /^.*$/s, "[]"), /got something else \[W1\]$/],
  ["the manifest is no JSON", (path) => edit(path, /\}\s*$/, ""), /^manifest.json: is not JSON: .*\[W1\]$/],
  ...[
    ["no module", /"module":\{.*(?=,"weights":\[)/s, '"module":{}'],
    ["a launch without bindings", /"bindings":/, '"bound":'],
    ["a binding of no buffer", /("launches":.*?"buffer":)\d+/s, "$1-1"],
    ["a buffer of no size", /"bytes":\d+/, '"bytes":"many"'],
  ].map(
    ([what, from, to]) =>
      [
        `the manifest has ${what as string}`,
        (path: string) => edit(path, from as RegExp, to as string),
        /^manifest.json: must describe a program and its model; .*\[W1\]$/,
      ] as const,
  ),
  [
    "a kernel is no WGSL",
    (path) => writeFileSync(join(path, "kernels", readdirSync(join(path, "kernels"))[0]!), "fn"),
    /^.+: line 1: .*\[B4\]$/,
  ],
  [
    "it needs more than the device has",
    (path) => edit(path, /"maxBufferSize":\d+/, `"maxBufferSize":${2 ** 50}`),
    /needs maxBufferSize 1125899906842624; the device has \d+ \[B3\]$/,
  ],
  [
    "it needs a feature that the device lacks",
    (path) => edit(path, /"features":\[[^\]]*\]/, '"features":["time-travel"]'),
    /needs time-travel, which the device lacks \[B3\]$/,
  ],
  [
    "it needs larger subgroups",
    (path) => edit(path, /"subgroupMinSize":\d+/, `"subgroupMinSize":4096`),
    /needs subgroups of at least 4096 threads; they may have \d+ \[B3\]$/,
  ],
];

function edit(path: string, from: RegExp, to: string): void {
  const file = join(path, "manifest.json");
  writeFileSync(file, readFileSync(file, "utf8").replace(from, to));
}

test.each(breakers)("a bundle is refused in one line where %s", async (_, breakIt, message) => {
  const broken = mkdtempSync(join(folder, "broken-"));
  cpSync(tiny, broken, { recursive: true });
  breakIt(broken);
  const error: unknown = await outputsOf(folderFiles(broken)).catch((e: unknown) => e);
  expect(expectOneLine(error).message).toMatch(message);
});

/** Every built file that `entry` reaches. */
function reached(entry: string): string[] {
  const seen = new Set([entry]);
  for (const file of seen) {
    const text = readFileSync(join(root, "dist", file), "utf8");
    for (const [, path = ""] of text.matchAll(/(?:\bfrom|\bimport\(|^import) ?"([^"]+)"/gm)) {
      expect(path, "the runtime needs no package").toMatch(/^\./);
      seen.add(relative(join(root, "dist"), resolve(root, "dist", dirname(file), path)));
    }
  }
  return [...seen];
}

test("moec/runtime is at most 25 KB, compressed, and has no compiler in it", () => {
  const all = reached("runtime/index.js");
  expect(all.filter((file) => !file.startsWith("runtime/"))).toEqual(["ir/error.js"]);
  const bytes = gzipSync(all.map((file) => readFileSync(join(root, "dist", file), "utf8")).join("\n")).length;
  expect(bytes).toBeGreaterThan(1000);
  expect(bytes).toBeLessThanOrEqual(25_000);
});

describe.each(profiles.map((profile) => [profile.name, profile] as const))("for %s", (_, profile) => {
  test.each(["vmoe-b16-every2", "vmoe-s32-last2-e8"])(
    "%s compiles, and WebGPU takes its kernels",
    async (name) => {
      const { graph } = createModel(presets.get(name)!, { batch: 1 });
      const module = compile(graph, profile, { outputs: ["logits"] });
      for (const [limit, most] of Object.entries(profile.limits)) {
        expect(module.limits[limit as keyof typeof module.limits], limit).toBeLessThanOrEqual(most);
      }
      expect(module.features.filter((feature) => !profile.features.includes(feature))).toEqual([]);
      await validate(module, profile);
    },
  );
});

test("validation refuses what is beyond the profile, and what WebGPU refuses", async () => {
  const [software] = profiles as [Profile];
  const x = input("x", { dtype: "f32", shape: [8] });
  const module = compile(new Graph("doubled", [x], [["y", ops.add(x, x)]]), software);
  const [kernel] = module.kernels as [ModuleKernel];
  const beyond = { ...software, limits: { ...software.limits, maxComputeInvocationsPerWorkgroup: 4 } };
  await expect(validate(module, beyond)).rejects.toThrow(
    "doubled: needs maxComputeInvocationsPerWorkgroup 8; cpu-vulkan has 4 [B3]",
  );
  const withText = (wgsl: string): DeviceModule => ({ ...module, kernels: [{ ...kernel, wgsl }] });
  await expect(validate(withText(`${kernel.wgsl}fn`), software)).rejects.toThrow(/^add: line \d+: .*\[B4\]$/);
  // More threads than the null device has: the text alone is checked.
  const large = kernel.wgsl.replace("@workgroup_size(8)", "@workgroup_size(512)");
  await validate(withText(large), software);
  await expect(validate(withText(`${large}fn`), software)).rejects.toThrow(/^add: line \d+: .*\[B4\]$/);
});

const needsWith = (memory: string): object => {
  const wgsl = `${memory}\n@compute @workgroup_size(8, 4)\nfn main() {}`;
  return kernelNeeds({ label: "", wgsl, access: ["read"] }, defaultLimits);
};

test("what a kernel takes is read from its text", () => {
  const both =
    "var<workgroup> a: array<vec4f, 3>;\nvar<workgroup> b: array<vec4<f16>, 3>;\nvar<workgroup> c: u32;";
  expect(needsWith(both)).toEqual({
    maxStorageBuffersPerShaderStage: 1,
    maxComputeWorkgroupStorageSize: 48 + 32 + 16,
    maxComputeInvocationsPerWorkgroup: 32,
  });
  expect(needsWith("")).toMatchObject({ maxComputeWorkgroupStorageSize: 0 });
  expect(needsWith("var<workgroup> a: array<Thing, 3>;")).toMatchObject({
    maxComputeWorkgroupStorageSize: defaultLimits.maxComputeWorkgroupStorageSize,
  });
});

test("32 experts of ViT-B/16 stay within WebGPU's default limits at the batch that fills their groups", () => {
  const minimum = profiles.find(({ name }) => name === "minimum")!;
  const { graph } = createModel(presets.get("vmoe-b16-every2")!, { batch: 8 });
  const { limits, weights: parts } = compile(graph, minimum, { outputs: ["logits"] });
  for (const [limit, most] of Object.entries(defaultLimits)) {
    expect(limits[limit as keyof typeof limits], limit).toBeLessThanOrEqual(most);
  }
  // 32 experts' first layer takes 288 MiB; no expert is cut.
  const first = parts.filter(
    ({ name }) => name.includes("encoderblock_1/") && name.endsWith("Dense_0/kernel"),
  );
  expect(first.map(({ start, stop }) => [start, stop])).toEqual([
    [0, 14],
    [14, 28],
    [28, 32],
  ]);
});

describe("moec compile", () => {
  const target = join(folder, "compiled");
  const args = [
    "compile",
    "vmoe-s32-last2-e8",
    "--set",
    "encoder.num_layers=2",
    "--set",
    "encoder.moe.layers=[1]",
    "--target",
    "cpu-vulkan",
    "-o",
    target,
  ];

  test("writes a bundle that moec run takes as a model", async () => {
    const compiled = await json(...args, "--outputs", "all", "--batch", "2");
    expect(compiled).toMatchObject({ target: "cpu-vulkan", batch: 2, validated: true });
    const coffee = join(root, "test", "fixtures", "coffee.png");
    const report = await json("run", target, "--image", coffee, coffee);
    expect(report).toMatchObject({ backend: "webgpu", reason: "a bundle", submits: 1, readbacks: 0 });
    expect(report["routes"]).toHaveLength(1);
    // A batch that is not full is filled up.
    const one = await json("run", target, "--image", coffee);
    expect(one).toMatchObject({ batch: 2, top5: [report["top5"]![0]] });
    const set = await moec("run", target, "--image", coffee, coffee, "--set", "num_classes=3");
    expect(set.stderr).toMatch(
      /^error: --set: is not for .*compiled, which has a model of its own \[U1\]\n$/m,
    );
    const threads = await moec("run", target, "--image", coffee, coffee, "--threads", "2");
    expect(threads.stderr).toMatch(/^error: --threads: is not for .*compiled, which .* \[U1\]\n$/m);
    const broken = join(folder, "no-features");
    cpSync(target, broken, { recursive: true });
    edit(broken, /"features":\[[^\]]*\]/, '"features":7');
    const run = await moec("run", broken, "--image", coffee, coffee);
    expect(run.stderr).toMatch(/^error: manifest.json: must describe a program and its model; .*\[W1\]\n$/m);
    expect(run.code).toBe(2);
  });

  test("replaces a bundle, and nothing else", async () => {
    const small = [...args, "--no-weights", "--no-validate"];
    expect(await json(...small)).toMatchObject({ weights: null, validated: false });
    expect(files(target).filter((name) => name.startsWith("weights"))).toEqual([]);
    const run = await moec("run", target, "--image", join(root, "test", "fixtures", "coffee.png"));
    expect(run.stderr).toMatch(/manifest.json: is of a bundle that was compiled without weights \[W1\]\n$/);
    const before = files(target);
    // A web page has a file of that name too.
    writeFileSync(join(target, "manifest.json"), JSON.stringify({ name: "page", start_url: "/" }));
    const refused = await moec(...small);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/compiled: is there already and is something else; .*\[W1\]\n$/);
    expect(files(target)).toEqual(before);
  });

  test("leaves nothing behind when it fails", async () => {
    const bad = join(folder, "bad.safetensors");
    writeFileSync(bad, "nothing");
    const { code } = await moec(...args.slice(0, -1), join(folder, "failed"), "--weights", bad);
    expect(code).toBe(2);
    expect(readdirSync(folder).filter((name) => name.startsWith("failed"))).toEqual([]);
  });
});

describe("moec target", () => {
  test("prints a profile that compiles for this machine", async () => {
    const profile = await json("target");
    expect(profile).toEqual({ ...own, limits: { ...own.limits } });
    const file = join(folder, "mine.json");
    writeFileSync(file, JSON.stringify(profile));
    expect(await json("target", file)).toEqual(profile);
    expect(await json("target", "--list")).toEqual(profiles);
  });

  test.each([
    ["text", "{", /is not JSON: .*\[W1\]/],
    ["nothing", "{}", /mine.json: name: expected string, received undefined \[W1\]/],
    [
      "half a byte",
      JSON.stringify({ ...own, limits: { ...own.limits, maxBufferSize: 0.5 } }),
      /limits.maxBufferSize: expected int/,
    ],
    ["more than a profile", JSON.stringify({ ...own, speed: 1 }), /Unrecognized key: "speed" \[W1\]/],
    [
      "tiles beyond its limits",
      JSON.stringify({ ...own, tiles: [{ wx: 64, wy: 64, tm: 1, tv: 1, bk: 0 }] }),
      /tiles.0: takes more threads, .*\[W1\]/,
    ],
  ])("refuses a file of %s", async (_, text, message) => {
    const file = join(folder, "mine.json");
    writeFileSync(file, text);
    const { code, stderr } = await moec("target", file);
    expect(code).toBe(2);
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(message);
  });
});
