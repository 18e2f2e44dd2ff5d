/** The WebGPU backend: programs as WGSL kernels on a GPU, or on a software driver of one. */
import { CompileError, type Graph } from "../../ir/index.ts";
import { pipeline, runPasses } from "../../passes/index.ts";
import { Device } from "../../runtime/device.ts";
import type { DeviceModule } from "../../runtime/module.ts";
import type { Backend, CompileOptions, Engine } from "../backend.ts";
import { supports } from "./emit.ts";
import { load } from "./executable.ts";
import { lower } from "./lower.ts";
import type { Profile } from "./profile.ts";
import { profileOf } from "./targets.ts";

export { type AdapterFacts, describeGpu } from "./describe.ts";
export type { Profile, Tile } from "./profile.ts";
export { anyGpu, profileOf, profiles, withUnsafe } from "./targets.ts";

/** The module that computes the outputs asked for on devices of `profile`; needs no device. */
export function compile(
  graph: Graph,
  profile: Profile,
  options: Omit<CompileOptions, "progress"> = {},
): DeviceModule {
  const outputs = options.outputs ?? [...graph.outputs.keys()];
  return lower(runPasses(graph, pipeline({ supports }, outputs), options), profile);
}

/**
 * The backend on the adapters of what `gpu` returns, in a browser `navigator.gpu`.
 * @param target compiles for this profile, or for what it says of the device, instead of the device's own
 */
export const webgpuOn = (
  gpu: () => Promise<GPU | undefined>,
  target: Profile | ((device: Device) => Profile | Promise<Profile>) = profileOf,
): Backend => ({
  name: "webgpu",
  // Sums in another order, fused or not, and exp and tanh to a few units in the last place.
  tolerance: { f32: 2e-5, f16: 4e-3, bf16: 3e-2 },
  async open(): Promise<Engine> {
    const found = await gpu();
    if (!found) throw new CompileError("B2", "webgpu", "this JavaScript engine has no WebGPU");
    const device = await Device.open(found, typeof target === "function" ? undefined : target);
    const profile = typeof target === "function" ? await target(device) : target;
    return {
      device: device.description,
      software: device.software,
      supports,
      // A failing compilation is a rejection, like a failing load.
      compile: async (graph, weights, options = {}) =>
        load(device, compile(graph, profile, options), weights, options.progress),
      close: () => device.close(),
    };
  },
});

/** The backend of a web page. */
export const webgpu: Backend = webgpuOn(() =>
  Promise.resolve((globalThis as { readonly navigator?: { readonly gpu?: GPU } }).navigator?.gpu),
);
