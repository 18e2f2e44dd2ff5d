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
  type TensorType,
  type WeightSource,
} from "../../ir/index.ts";
import type { Backend, CompileOptions, Engine, EngineOptions, Executable } from "../backend.ts";
import { exportOnnx, type ExportOptions, supportsIn } from "./export.ts";
import { saveProgram } from "./save.ts";

/** ONNX Runtime, which is an optional package. Throws B2 where it is not installed. */
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

/** What the installed ONNX Runtime is. */
export interface RuntimeFacts {
  readonly version: string;
  /** Its engines by name, and whether their libraries come with it. */
  readonly engines: readonly { readonly name: string; readonly bundled: boolean }[];
}

/** The installed ONNX Runtime. Throws B2 where there is none. */
export async function describeRuntime(): Promise<RuntimeFacts> {
  const ort = await load();
  const engines = ort.listSupportedBackends().map(({ name, bundled }) => ({ name, bundled }));
  return { version: ort.env.versions.node ?? "", engines };
}

/** ONNX Runtime with the engine that `options` asks for. Throws B2 where there is none. */
async function runtimeFor({ provider = "cpu" }: EngineOptions): Promise<{
  readonly ort: typeof Ort;
  readonly provider: string;
}> {
  const ort = await load();
  const known = ort.listSupportedBackends().map(({ name }) => name);
  if (known.includes(provider)) return { ort, provider };
  const message = `must be an engine of this ONNX Runtime: ${known.join(", ")}; got ${provider}`;
  throw new CompileError("B2", "--ep", message);
}

export interface OnnxOptions extends EngineOptions {
  /** How programs are written for the runtime. */
  readonly form?: Pick<ExportOptions, "opset" | "inline">;
}

/** The backend on one of ONNX Runtime's engines. */
export const onnx = (options: OnnxOptions = {}): Backend => ({
  name: "onnx",
  // Sums in another order, and functions to a few units in the last place; 16-bit engines round at every step.
  tolerance: { f32: 2e-5, f16: 8e-3, bf16: 3e-2 },
  async open(): Promise<Engine> {
    const { ort, provider } = await runtimeFor(options);
    return {
      device: `ONNX Runtime ${ort.env.versions.node ?? ""}, ${provider}`,
      software: provider === "cpu",
      supports: supportsIn(options.form?.opset),
      compile: (graph, weights, more = {}) => prepare(graph, weights, { ...more, ...options }),
      close: () => undefined,
    };
  },
});

/**
 * A session's options by which small integers become floats once, when the program is loaded, as whatever depends on no
 * input does. By default the runtime would round what is multiplied by them to 8 bits, too.
 */
function widening({ extra, ...session }: Session): Session {
  const more = (extra ?? {}) as { readonly session?: object };
  return { ...session, extra: { ...more, session: { disable_quant_qdq: "1", ...more.session } } };
}
type Session = NonNullable<EngineOptions["session"]>;

async function prepare(
  graph: Graph,
  source: WeightSource,
  options: CompileOptions & OnnxOptions,
): Promise<Executable> {
  const { outputs, progress, form, provider = "cpu" } = options;
  const cpu = provider === "cpu";
  const program = exportOnnx(graph, { cpu, ...form, ...(outputs && { outputs }), passes: options });
  // From a file the runtime maps the weights into memory; from memory it would copy them.
  const folder = await mkdtemp(join(tmpdir(), "moec-onnx-"));
  const path = join(folder, "program.onnx");
  const discard = (): Promise<void> => rm(folder, { recursive: true, force: true }).catch(() => undefined);
  const create = async (): Promise<OnnxModel> => {
    await saveProgram(path, program, source, (done) => progress?.(done, "reading weights"));
    return openModel(path, { ...options, session: widening(options.session ?? {}) });
  };
  // What is mapped stays until it is unmapped; where the system keeps the name for as long, `dispose` removes it.
  const model = await create().finally(discard);
  const wanted = [...graph.outputs].filter(([name]) => outputs?.includes(name) ?? true);
  return {
    report: { weightBytes: program.weights.reduce((sum, { bytes }) => sum + bytes, 0) },
    async run(inputs) {
      for (const { leaf, type } of graph.inputs) check(leaf?.name ?? "", type, inputs);
      const results = await model.run(inputs);
      return new Map(wanted.map(([name, { type }]) => [name, asType(results.get(name) as Tensor, type)]));
    },
    dispose: () => void model.close().then(discard),
  };
}

function check(name: string, type: TensorType, inputs: ReadonlyMap<string, Tensor>): void {
  const tensor = inputs.get(name);
  if (tensor && sameType(tensor.type, type)) return;
  const got = tensor ? showType(tensor.type) : "nothing";
  throw new CompileError("B1", `input ${name}`, `must be ${showType(type)}; got ${got}`);
}

/** bfloat16 comes out as float32. */
const asType = (tensor: Tensor, type: TensorType): Tensor =>
  tensor.type.dtype === type.dtype ? tensor : Tensor.from(type, tensor.numbers());

/** A model that ONNX Runtime has loaded. */
export interface OnnxModel {
  /** Names of the inputs and outputs, in order. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Computes every output; the sizes of open axes are those of the inputs. Throws B4. */
  run(inputs: ReadonlyMap<string, Tensor>): Promise<Map<string, Tensor>>;
  close(): Promise<void>;
}

/** Loads the model at `path`, its weights beside it. Throws B2 without the engine, B4 where it refuses the model. */
export async function openModel(path: string, options: EngineOptions = {}): Promise<OnnxModel> {
  const { ort, provider } = await runtimeFor(options);
  const { threads, session: more } = options;
  const failed = (what: string) => (error: unknown) => {
    const message = error instanceof Error ? error.message : String(error);
    throw new CompileError("B4", `onnx (${provider})`, `${what}: ${message.split("\n")[0]}`);
  };
  const session = await ort.InferenceSession.create(path, {
    executionProviders: [provider],
    // Errors are thrown; what the runtime would print beside them says the same.
    logSeverityLevel: 4,
    ...(threads !== undefined && { intraOpNumThreads: threads }),
    ...more,
  }).catch(failed("cannot prepare the program"));
  return {
    inputs: session.inputNames,
    outputs: session.outputNames,
    async run(inputs) {
      const feeds = [...inputs].filter(([name]) => session.inputNames.includes(name));
      const results = await session
        .run(Object.fromEntries(feeds.map(([name, tensor]) => [name, given(ort, tensor)])))
        .catch(failed("cannot run the program"));
      return new Map(session.outputNames.map((name) => [name, taken(results[name] as Ort.Tensor)]));
    },
    close: () => session.release(),
  };
}

/** ONNX Runtime's names of element types, where Node's binding has them; bfloat16 goes in as float32. */
const elements = {
  f32: "float32",
  f16: "float16",
  bf16: "float32",
  i32: "int32",
  u32: "uint32",
  bool: "bool",
} as const satisfies Record<DType, string>;

function given(ort: typeof Ort, tensor: Tensor): Ort.Tensor {
  const { dtype, shape } = tensor.type;
  const data = dtype === "bf16" ? Float32Array.from(tensor.numbers()) : tensor.data;
  return new ort.Tensor(elements[dtype], data as Float32Array, shape);
}

/** What came out, with elements of its own. */
function taken({ type, dims, data }: Ort.Tensor): Tensor {
  const dtype = Object.entries(elements).find(([, name]) => name === type)?.[0] as DType;
  const { buffer, byteOffset } = data as Float32Array;
  const own = { dtype, shape: dims };
  return Tensor.fromBytes(own, new Uint8Array(buffer, byteOffset, byteLength(own)).slice());
}
