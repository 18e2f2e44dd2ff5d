/** WebGPU in Node: Dawn, through the npm package `webgpu`. */
import type { Backend } from "../backend.ts";
import { webgpuOn } from "./index.ts";

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

export const dawn: Backend = webgpuOn(() => dawnGpu());
