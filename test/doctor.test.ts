/** `moec doctor` on machines with and without drivers and engines; and the same question in a web page. */
import { existsSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import type * as webgpu from "../backends/webgpu/index.ts";
import { driverCommand, vulkanDrivers } from "../cli/drivers.ts";
import { adapter as own } from "./support/adapter.ts";
import { type Facts, moecIn } from "./support/cli.ts";
import { copyInto, linkModules, root, temporaryFolder } from "./support/folder.ts";

/** What `moec doctor --json` says, with variables changed, by the program `main`; its exit code is 0 whatever it says. */
async function diagnosis(env: NodeJS.ProcessEnv = {}, main?: string): Promise<Facts> {
  const { code, stdout, stderr } = await moecIn({ ...process.env, ...env }, ["doctor", "--json"], main);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as Facts;
}

const none = join(root, "no-driver.json");
const withoutDriver = { VK_DRIVER_FILES: none, VK_ICD_FILENAMES: none };
const containing = (text: string): string => expect.stringContaining(text) as string;

/** What a machine with a GPU is told of it where no driver of it is found. */
const unused = ["/dev/nvidia0", "/dev/dri/renderD128"].some((path) => existsSync(path))
  ? [containing("without a Vulkan driver that Dawn takes")]
  : [];

test("with a driver it describes the adapter, and chooses a GPU, or the CPU where the driver is a software one", async () => {
  const facts = await diagnosis();
  const { software, description } = own;
  expect(facts["webgpu"]?.[0]).toMatchObject({ software, description });
  expect(Number(facts["webgpu"]?.[0]?.["limits"]?.["maxBufferSize"])).toBeGreaterThan(2 ** 27);
  expect(facts["webgpu"]?.[0]?.["features"]).toContain("core-features-and-limits");
  expect(facts).toMatchObject({
    node: process.version,
    onnx: { version: "1.30.0", engines: expect.arrayContaining([{ name: "cpu", bundled: true }]) as unknown },
    sharp: { sharp: "0.35.5" },
    chosen: software
      ? { backend: "onnx", reason: containing("no GPU") }
      : { backend: "webgpu", device: containing(description), reason: "a GPU" },
    advice: software ? unused : [],
  });
});

test("without any it says why, and what is wrong with the variables", async () => {
  expect(await diagnosis(withoutDriver)).toMatchObject({
    webgpu: [],
    vulkan: { told: { variable: "VK_DRIVER_FILES", value: none }, manifests: [], missing: [none] },
    chosen: { backend: "onnx", reason: containing("no WebGPU adapter") },
    advice: [containing(`VK_DRIVER_FILES names ${none}, which is not there`), ...unused],
  });
  const { stdout } = await moecIn({ ...process.env, ...withoutDriver }, ["doctor"]);
  expect(stdout).toMatch(/^WebGPU +no adapter$/m);
  expect(stdout).toMatch(/^would run on +onnx: ONNX Runtime/m);
});

test("without ONNX Runtime and the image library it says how to install them", async () => {
  const bare = temporaryFolder("doctor");
  copyInto(bare, ["dist", "package.json"]);
  linkModules(bare, ["onnxruntime-node", "sharp"]);
  const facts = await diagnosis(withoutDriver, join(bare, "dist", "cli", "main.js"));
  expect(facts).toMatchObject({
    onnx: { absent: containing("onnxruntime-node") },
    sharp: { absent: containing("npm install sharp") },
    chosen: { backend: "reference" },
    advice: [
      containing(none),
      ...unused,
      containing("npm install onnxruntime-node"),
      containing("npm install sharp"),
    ],
  });
});

type Page = typeof webgpu;

const adapter = (description: string, more: object): unknown => ({
  info: {
    vendor: "acme",
    architecture: "anvil",
    device: "",
    description,
    isFallbackAdapter: false,
    ...more,
  },
  features: new Set(["shader-f16", "bgra8unorm-storage"]),
  limits: Object.create({ maxBufferSize: 1024, label: "none" }) as object,
});

test("in a web page, adapters are described without Node", async () => {
  // As a bundler finds it; that it reaches no Node is for test/architecture.test.ts.
  const { describeGpu } = (await import(join(root, "dist", "backends", "webgpu", "index.js"))) as Page;
  expect(await describeGpu(undefined)).toEqual([]);
  const [fast, soft] = [adapter("fast", {}), adapter("soft", { isFallbackAdapter: true })];
  const gpu = {
    requestAdapter: async ({ forceFallbackAdapter, powerPreference }: GPURequestAdapterOptions) =>
      forceFallbackAdapter ? soft : powerPreference === "low-power" ? null : fast,
  } as unknown as GPU;
  const facts = { vendor: "acme", architecture: "anvil", device: "", f16: true, subgroups: false };
  const rest = { features: ["bgra8unorm-storage", "shader-f16"], limits: { maxBufferSize: 1024 } };
  expect(await describeGpu(gpu)).toEqual([
    { ...facts, ...rest, description: "fast", software: false },
    { ...facts, ...rest, description: "soft", software: true },
  ]);
});

test.each([
  [
    { ID: "debian", VERSION_CODENAME: "bookworm" },
    "apt-get install -t bookworm-backports mesa-vulkan-drivers libvulkan1",
  ],
  [{ ID: "debian", VERSION_CODENAME: "trixie" }, "apt-get install mesa-vulkan-drivers libvulkan1"],
  [
    { ID: "ubuntu", ID_LIKE: "debian", VERSION_CODENAME: "noble" },
    "apt-get install mesa-vulkan-drivers libvulkan1",
  ],
  [{ ID: "rocky", ID_LIKE: "rhel centos fedora" }, "dnf install mesa-vulkan-drivers vulkan-loader"],
  [{ ID: "plan9" }, undefined],
])("on %j drivers come by %s", (system, command) => {
  expect(driverCommand(system as unknown as Record<string, string>)).toBe(command);
});

test("the first variable that is set says which drivers there are", () => {
  const here = join(root, "package.json");
  expect(vulkanDrivers({ VK_ICD_FILENAMES: `${here}:${none}` })).toEqual({
    told: { variable: "VK_ICD_FILENAMES", value: `${here}:${none}` },
    manifests: [here],
    missing: [none],
  });
  expect(vulkanDrivers({ VK_DRIVER_FILES: here, VK_ICD_FILENAMES: none }).missing).toEqual([]);
  expect(vulkanDrivers({}).told).toBe(null);
});
