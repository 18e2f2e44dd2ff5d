/** Which backend a program runs on when the user does not say. */
import { CompileError } from "../ir/index.ts";
import type { Backend, Engine } from "./backend.ts";
import { backends } from "./index.ts";

/** An engine, and why it was chosen. */
export interface Choice {
  readonly backend: Backend;
  readonly engine: Engine;
  readonly reason: string;
}

/** The backend `name`; throws B2 when there is none of that name, or it cannot be opened here. */
export async function openBackend(name: string): Promise<Choice> {
  const load = backends[name];
  if (!load)
    throw new CompileError("B2", name, `is no backend; there is auto, ${Object.keys(backends).join(", ")}`);
  const backend = await load();
  return { backend, engine: await backend.open(), reason: "asked for" };
}

/** A GPU, else a software driver of one, else the reference. */
export async function chooseBackend(): Promise<Choice> {
  try {
    const { backend, engine } = await openBackend("webgpu");
    return { backend, engine, reason: engine.software ? "no GPU, but a software Vulkan driver" : "a GPU" };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { ...(await openBackend("reference")), reason: `no WebGPU adapter (${reason})` };
  }
}
