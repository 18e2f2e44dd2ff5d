/** Programs as ONNX models: nodes of standard ops, routing as model-local functions, weights by reference. */
import { type AnyOp, CompileError, type Graph } from "../../ir/index.ts";
import { type PassOptions, pipeline, runPasses } from "../../passes/index.ts";
import { growthOf, type SymbolicBatch, Symbols } from "./batch.ts";
import { domain } from "./body.ts";
import { writeGraph } from "./graph.ts";
import { operators } from "./operators/index.ts";
import type { ModelProto } from "./proto.ts";
import { type WeightTensor, weightTensor } from "./weights.ts";

/** The opsets that programs can be written in, and the version of the file format that goes with each. */
const formats: ReadonlyMap<number, number> = new Map([
  [18, 8],
  [19, 9],
  [20, 9],
  [21, 10],
  [22, 10],
  [23, 11],
  [24, 12],
  [25, 13],
  [26, 13],
]);
const defaultOpset = 21;

export interface ExportOptions {
  /** Names of the outputs that are wanted; all by default. */
  readonly outputs?: readonly string[];
  /** Version of the standard ops, 18 to 26; 21 by default, which the most engines take. */
  readonly opset?: number;
  /** Plain nodes in place of model-local functions. */
  readonly inline?: boolean;
  /** Leaves the batch open; by default a program is for the batch it was built for. */
  readonly batch?: SymbolicBatch;
  /** How the passes are run. */
  readonly passes?: PassOptions;
  /** Told to whoever opens the file. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** A model without its weights' numbers. */
export interface OnnxProgram {
  readonly model: ModelProto;
  readonly weights: readonly WeightTensor[];
}

/** Whether programs of `opset` have an op; what they have not is decomposed. */
export const supportsIn =
  (opset: number = defaultOpset) =>
  (op: AnyOp): boolean =>
    (operators.get(op)?.since ?? Number.POSITIVE_INFINITY) <= opset;

/** `graph` in ONNX. Throws O1 for what cannot be written, such as an unknown opset. */
export function exportOnnx(graph: Graph, options: ExportOptions = {}): OnnxProgram {
  const { opset = defaultOpset, batch, metadata = {} } = options;
  const irVersion = formats.get(opset);
  if (irVersion === undefined) {
    const [least, most] = [Math.min(...formats.keys()), Math.max(...formats.keys())];
    throw new CompileError("O1", "opset", `must be from ${least} to ${most}; got ${opset}`);
  }
  const lower = (program: Graph): Graph =>
    runPasses(
      program,
      pipeline({ supports: supportsIn(opset) }, options.outputs ?? [...program.outputs.keys()]),
      options.passes,
    );
  const lowered = lower(graph);
  const growth = batch && growthOf(lowered, { ...batch, other: lower(batch.other) });
  const symbols = growth && new Symbols(growth, batch);
  const { functions, ...main } = writeGraph(lowered, { opset, inline: options.inline ?? false, symbols });
  const model: ModelProto = {
    irVersion,
    producerName: "moec",
    opsetImport: [{ domain: "", version: opset }, ...(functions.length > 0 ? [{ domain, version: 1 }] : [])],
    functions,
    metadataProps: Object.entries(metadata).map(([key, value]) => ({ key, value })),
    graph: main,
  };
  return { model, weights: lowered.weights.map(weightTensor) };
}
