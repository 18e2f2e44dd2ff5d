/** WebGPU in Node: Dawn, through the npm package `webgpu`. */
import type { Backend } from "../backend.ts";
import { webgpuOn } from "./index.ts";

/** Dawn crashes when the object that owns its adapters is collected, so it is held for the life of the process. */
const held: GPU[] = [];

/** Dawn's GPU object, with the given flags, such as `backend=null`. */
export async function dawnGpu(flags: readonly string[] = []): Promise<GPU> {
  const { create } = await import("webgpu");
  const gpu = create([...flags]);
  held.push(gpu);
  return gpu;
}

export const dawn: Backend = webgpuOn(() => dawnGpu());
