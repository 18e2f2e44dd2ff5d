/** ONNX models as programs: what `exportOnnx` writes is read back. */
import { type ByteSource, memorySource } from "../../../files/bytes.ts";
import { Graph, input, type Value, type WeightSource } from "../../../ir/index.ts";
import { canonicalize, merge, rewritePass, runPasses } from "../../../passes/index.ts";
import type { TensorProto } from "../proto.ts";
import { Call } from "./call.ts";
import { Declarations } from "./declared.ts";
import { Interpreter } from "./interpreter.ts";
import { data, type Named } from "./item.ts";
import { type Model, readModel } from "./model.ts";
import { problem } from "./problem.ts";
import { restore } from "./restore.ts";
import { type OpenData, Tensors } from "./tensors.ts";

export interface ImportOptions {
  /** The size of the axis that a model leaves open, 1 by default; a model without one must be for that very batch. */
  readonly batch?: number;
  /** Opens the files that hold weights, by their paths relative to the model's folder; each is opened once. */
  readonly openData?: OpenData;
}

/** A program that was read from a file. */
export interface ImportedProgram {
  readonly graph: Graph;
  /** Its weights, each read when asked for; closing it closes what `openData` opened. */
  readonly weights: WeightSource;
  /** What the file says of itself, by key. */
  readonly metadata: ReadonlyMap<string, string>;
  /** The version of the standard ops that the file is written in. */
  readonly opset: number;
}

/**
 * The program in an ONNX model, which means the same: any that `exportOnnx` writes, at opset 18 to 26, and models
 * of others as far as they use the same ops. `model` is read whole, and not closed; no weight is read.
 *
 * Inputs, outputs, weights and scopes keep their names. Initializers and tensors of nodes become weights, unless they
 * have no axes: these become constants. moec's own functions become the ops that they were, by their names; other
 * functions, and functions written inline, the ops that their nodes mean.
 *
 * Values of bfloat16 come back as f32 that is rounded to bf16 after each op, as the file has them. Integers of 64
 * bits may be sizes, indices, and u32 numbers on their way from and to 32 bits; a sum or product of them is known
 * modulo 2^32, and nothing may compare, divide or convert it to a float before it is cut to 32 bits. Doubles may
 * only bound what is converted to integers. Neither may be an input, a weight or an output. Integers of 8 and 4 bits are
 * initializers of `DequantizeLinear` alone, and stay as small: they become words, of which `dequantize` makes floats.
 *
 * Throws O3 where the file is broken, or is no ONNX model; O4 where it uses what is not read, such as another op;
 * each names the file, and the node, tensor, input or output.
 */
export async function importOnnx(
  model: ByteSource | Uint8Array,
  options?: ImportOptions,
): Promise<ImportedProgram> {
  return importModel(
    await readModel(model instanceof Uint8Array ? memorySource("model", model) : model),
    options,
  );
}

/** The program in a model whose message has been read; see `importOnnx`. */
export async function importModel(
  model: Model,
  { batch, openData }: ImportOptions = {},
): Promise<ImportedProgram> {
  const tensors = new Tensors(model.file, openData);
  try {
    const graph = await program(model, tensors, batch);
    return { graph, weights: tensors.source(), metadata: model.metadata, opset: model.opset };
  } catch (error) {
    await tensors.close();
    throw error;
  }
}

async function program(model: Model, tensors: Tensors, batch: number | undefined): Promise<Graph> {
  const { file, graph } = model;
  const items = new Map<string, Named>();
  for (const proto of graph.initializer ?? []) {
    items.set(unique(items, file, proto.name), await tensors.initializer(proto));
  }
  const declarations = new Declarations(file, batch);
  const inputs: Value[] = [];
  // An input with an initializer is a weight that a caller may replace: the file says what it is otherwise.
  for (const info of (graph.input ?? []).filter(({ name }) => !items.has(name ?? ""))) {
    const value = input(unique(items, file, info.name), declarations.input(info));
    inputs.push(value);
    items.set(info.name ?? "", data(value));
  }
  declarations.finish(inputs);
  new Interpreter(model, tensors).run(graph.node ?? [], {
    items,
    attributes: new Map(),
    scope: "",
    callers: [],
  });
  const outputs = (graph.output ?? []).map((info): [string, Value] => {
    const item = items.get(info.name ?? "");
    if (!item) throw problem(file, `has an output ${info.name} that nothing defines`);
    const name = `output ${info.name}`;
    const constant = (tensor: TensorProto): Named => tensors.constant(tensor, name);
    const call = new Call({ file, name, inputs: [], attributes: new Map(), constant });
    const value = call.valueOf(call.computable(item, "numbers"), "numbers");
    declarations.output(info, value);
    return [info.name ?? "", value];
  });
  return runPasses(new Graph(graph.name ?? "", inputs, outputs), tidy);
}

const tidy = [
  // First, while what nodes spell out is as it was written.
  rewritePass("restore", "What nodes spell out is the op that it was.", restore),
  rewritePass("canonicalize", "What means the same is written the same, and shortest.", canonicalize),
  merge,
];

/** `name`, which nothing may have yet. */
function unique(items: ReadonlyMap<string, Named>, file: string, name: string | null | undefined): string {
  if (name && !items.has(name)) return name;
  throw problem(file, name ? `defines ${name} twice` : "has a tensor without a name");
}
