/** The WebGPU backend: programs as WGSL kernels on a GPU, or on a software driver of one. */
import { type AnyOp, CompileError } from "../../ir/index.ts";
import { pipeline, runPasses } from "../../passes/index.ts";
import type { Backend, Engine } from "../backend.ts";
import { Device } from "./device.ts";
import { prepare } from "./executable.ts";
import { kernels } from "./kernels/index.ts";
import type { Profile } from "./profile.ts";

export { type Limits, type Profile, profiles, type Tile } from "./profile.ts";

/** A view needs no kernel: its result lives where its operand does. */
const supports = (op: AnyOp): boolean => kernels.has(op) || op.has("view");

/**
 * The backend on the adapters of what `gpu` returns, in a browser `navigator.gpu`.
 * @param profile compiles for this profile instead of the device's own
 */
export const webgpuOn = (gpu: () => Promise<GPU | undefined>, profile?: Profile): Backend => ({
  name: "webgpu",
  // Sums in another order, fused or not, and exp and tanh to a few units in the last place.
  tolerance: { f32: 2e-5, f16: 4e-3, bf16: 3e-2 },
  async open(): Promise<Engine> {
    const found = await gpu();
    if (!found) throw new CompileError("B2", "webgpu", "this JavaScript engine has no WebGPU");
    const device = await Device.open(found, profile);
    return {
      device: device.description,
      software: device.software,
      supports,
      compile(graph, weights, options = {}) {
        const outputs = options.outputs ?? [...graph.outputs.keys()];
        return prepare(device, runPasses(graph, pipeline({ supports }, outputs), options), weights, options);
      },
      close: () => device.close(),
    };
  },
});

/** The backend of a web page. */
export const webgpu: Backend = webgpuOn(() =>
  Promise.resolve((globalThis as { readonly navigator?: { readonly gpu?: GPU } }).navigator?.gpu),
);
