/** Which backend a program runs on when the user does not say. */
import { CompileError } from "../ir/index.ts";
import type { Backend, Engine, EngineOptions } from "./backend.ts";
import { backends } from "./index.ts";

/** An engine, and why it was chosen. */
export interface Choice {
  readonly backend: Backend;
  readonly engine: Engine;
  readonly reason: string;
}

/** The backend `name`; throws B2 when there is none of that name, or it cannot be opened here. */
export async function openBackend(name: string, options?: EngineOptions): Promise<Choice> {
  const load = backends[name];
  if (!load)
    throw new CompileError("B2", name, `is no backend; there is auto, ${Object.keys(backends).join(", ")}`);
  const backend = await load(options);
  return { backend, engine: await backend.open(), reason: "asked for" };
}

/**
 * A GPU, else ONNX Runtime on the CPU, else a software driver of a GPU, else the reference; each with those of the options
 * that are its own.
 */
export async function chooseBackend(options?: EngineOptions): Promise<Choice> {
  const gpu = await attempt("webgpu", options);
  if (typeof gpu !== "string" && !gpu.engine.software) return { ...gpu, reason: "a GPU" };
  const noGpu = typeof gpu === "string" ? `no WebGPU adapter (${gpu})` : "no GPU";
  const cpu = await attempt("onnx", options);
  if (typeof cpu !== "string") {
    if (typeof gpu !== "string") gpu.engine.close();
    return { ...cpu, reason: `${noGpu}; ONNX Runtime on the CPU` };
  }
  const noRuntime = `no ONNX Runtime (${cpu})`;
  if (typeof gpu !== "string") return { ...gpu, reason: `${noGpu}, ${noRuntime}; a software Vulkan driver` };
  return { ...(await openBackend("reference")), reason: `${noGpu}, ${noRuntime}` };
}

/** The opened backend, or why there is none. */
async function attempt(name: string, options: EngineOptions | undefined): Promise<Choice | string> {
  try {
    return await openBackend(name, options);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
