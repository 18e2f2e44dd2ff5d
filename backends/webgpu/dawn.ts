/** WebGPU in Node: Dawn, through the npm package `webgpu`. */
import type { Backend } from "../backend.ts";
import { type Profile, webgpuOn } from "./index.ts";

/** Dawn crashes when the object that owns its adapters is collected, so it is held for the life of the process. */
const held: GPU[] = [];

/** Dawn's GPU object, with the given flags, such as `backend=null`. */
export async function dawnGpu(flags: readonly string[] = []): Promise<GPU> {
  const { create } = await import("webgpu");
  // Times are rounded for the web's sake, where pages could measure each other.
  const gpu = create(["disable-dawn-features=timestamp_quantization", ...flags]);
  held.push(gpu);
  return gpu;
}

/** The backend on Dawn; for the devices of `profile`, where it is given, instead of this machine's own. */
export const dawnFor = (profile?: Profile): Backend => webgpuOn(() => dawnGpu(), profile);

export const dawn: Backend = dawnFor();

/** Gives the process what a browser's page has: `navigator.gpu`, and WebGPU's constants. For libraries made for pages. */
export async function asInBrowsers(): Promise<void> {
  const { globals } = await import("webgpu");
  Object.assign(globalThis, globals);
  Object.defineProperty(globalThis, "navigator", { value: { gpu: await dawnGpu() }, configurable: true });
}
