/** The backends of Node, by name, loaded only when asked for. */
import type { Backend, EngineOptions } from "./backend.ts";

export const backends: Readonly<Record<string, (options?: EngineOptions) => Promise<Backend>>> = {
  webgpu: (options) =>
    import("./webgpu/dawn.ts").then((module) => module.dawnFor(options?.target, options?.unsafe)),
  onnx: (options) => import("./onnx/runtime.ts").then((module) => module.onnx(options)),
  reference: () => import("./reference/index.ts").then((module) => module.reference),
};
