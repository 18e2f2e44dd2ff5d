/** The ONNX backend of Node: programs exported, and run by ONNX Runtime. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type * as Ort from "onnxruntime-node";

import {
  byteLength,
  CompileError,
  type DType,
  type Graph,
  sameType,
  showType,
  Tensor,
  type Value,
  type WeightSource,
} from "../../ir/index.ts";
import type { Backend, CompileOptions, Engine, EngineOptions, Executable } from "../backend.ts";
import { exportOnnx, supportsIn } from "./export.ts";
import { saveProgram } from "./save.ts";

/** ONNX Runtime's engines, as `--ep` names them. */
const providers = ["cpu", "webgpu", "cuda"];

/** ONNX Runtime, which is an optional package. */
async function load(): Promise<typeof Ort> {
  try {
    return await import("onnxruntime-node");
  } catch {
    throw new CompileError(
      "B2",
      "onnx",
      "needs the package onnxruntime-node: ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node",
    );
  }
}

/** The backend on one of ONNX Runtime's engines. */
export const onnx = (options: EngineOptions = {}): Backend => ({
  name: "onnx",
  // As for a GPU: sums in another order, and functions to a few units in the last place.
  tolerance: { f32: 2e-5, f16: 8e-3, bf16: 3e-2 },
  async open(): Promise<Engine> {
    const { provider = "cpu" } = options;
    if (!providers.includes(provider)) {
      throw new CompileError("B2", "--ep", `must be one of ${providers.join(", ")}; got ${provider}`);
    }
    const ort = await load();
    const { listSupportedBackends, env } = ort;
    if (!listSupportedBackends().some(({ name }) => name === provider)) {
      throw new CompileError("B2", "--ep", `this build of ONNX Runtime has no ${provider}`);
    }
    return {
      device: `ONNX Runtime ${env.versions.node ?? ""}, ${provider}`,
      software: provider === "cpu",
      supports: supportsIn(),
      compile: (graph, weights, more = {}) => prepare(ort, graph, weights, { ...more, ...options, provider }),
      close: () => undefined,
    };
  },
});

async function prepare(
  ort: typeof Ort,
  graph: Graph,
  source: WeightSource,
  options: CompileOptions & EngineOptions & { readonly provider: string },
): Promise<Executable> {
  const { outputs, progress, provider } = options;
  const program = exportOnnx(graph, { ...(outputs && { outputs }), passes: options });
  // From a file the runtime maps the weights into memory; from memory it would copy them.
  const folder = await mkdtemp(join(tmpdir(), "moec-onnx-"));
  const discard = (): Promise<void> => rm(folder, { recursive: true, force: true }).catch(() => undefined);
  const create = async (): Promise<Ort.InferenceSession> => {
    const path = join(folder, "program.onnx");
    await saveProgram(path, program, source, (done) => progress?.(done, "reading weights"));
    return openSession(ort, path, provider, options);
  };
  // What is mapped stays until it is unmapped; only Windows keeps the name, too.
  const session = await create().finally(discard);
  const wanted = [...graph.outputs].filter(([name]) => outputs?.includes(name) ?? true);
  return {
    report: { weightBytes: program.weights.reduce((sum, { bytes }) => sum + bytes, 0) },
    async run(inputs) {
      const feeds = Object.fromEntries(graph.inputs.map((value) => fed(ort, value, inputs)));
      const results = await session.run(feeds).catch((error: unknown) => {
        throw failed(provider, "cannot run the program", error);
      });
      return new Map(wanted.map(([name, { type }]) => [name, taken(type, results[name])]));
    },
    dispose: () => void session.release().then(discard),
  };
}

/** ONNX Runtime's session on the model at `path`. */
async function openSession(
  ort: typeof Ort,
  path: string,
  provider: string,
  { threads, session }: EngineOptions,
): Promise<Ort.InferenceSession> {
  return ort.InferenceSession.create(path, {
    executionProviders: [provider],
    logSeverityLevel: 3,
    ...(threads !== undefined && { intraOpNumThreads: threads }),
    ...session,
  }).catch((error: unknown) => {
    throw failed(provider, "cannot prepare the program", error);
  });
}

/** One line of what ONNX Runtime says. */
function failed(provider: string, what: string, error: unknown): CompileError {
  const message = error instanceof Error ? error.message : String(error);
  return new CompileError("B4", `onnx (${provider})`, `${what}: ${message.split("\n")[0]}`);
}

/** ONNX Runtime's names of element types, where Node's binding has them; bfloat16 goes in and out as float32. */
const names = {
  f32: "float32",
  f16: "float16",
  bf16: "float32",
  i32: "int32",
  u32: "uint32",
  bool: "bool",
} as const satisfies Record<DType, string>;

/** The input `value` as ONNX Runtime takes it. */
function fed(
  ort: typeof Ort,
  { leaf, type }: Value,
  inputs: ReadonlyMap<string, Tensor>,
): [string, Ort.Tensor] {
  const name = leaf?.name ?? "";
  const given = inputs.get(name);
  if (!given || !sameType(given.type, type)) {
    const got = given ? showType(given.type) : "nothing";
    throw new CompileError("B1", `input ${name}`, `must be ${showType(type)}; got ${got}`);
  }
  const data = type.dtype === "bf16" ? Float32Array.from(given.numbers()) : given.data;
  return [name, new ort.Tensor(names[type.dtype], data as Float32Array, type.shape)];
}

/** What came out, as a tensor of `type`, with elements of its own. */
function taken(type: Tensor["type"], result: Ort.OnnxValue | undefined): Tensor {
  const data = (result as Ort.Tensor).data as Float32Array;
  if (type.dtype === "bf16") return Tensor.from(type, data);
  const bytes = new Uint8Array(data.buffer, data.byteOffset, byteLength(type));
  return Tensor.fromBytes(type, bytes.slice());
}
