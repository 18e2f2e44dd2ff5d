/** The backends of Node, by name, loaded only when asked for. */
import type { Backend } from "./backend.ts";

export const backends: Readonly<Record<string, () => Promise<Backend>>> = {
  webgpu: () => import("./webgpu/dawn.ts").then((module) => module.dawn),
  reference: () => import("./reference/index.ts").then((module) => module.reference),
};
