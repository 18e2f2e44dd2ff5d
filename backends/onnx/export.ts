/** Programs as ONNX models: nodes of standard ops, routing as model-local functions, weights by reference. */
import { type AnyOp, CompileError, type Graph, type WeightSource } from "../../ir/index.ts";
import {
  computeHalf,
  type IntegerType,
  narrowWeights,
  type PassOptions,
  pipeline,
  prune,
  runPasses,
  type Supports,
} from "../../passes/index.ts";
import { growthOf, type SymbolicBatch, Symbols } from "./batch.ts";
import { writeGraph } from "./graph.ts";
import type { Operator } from "./operator.ts";
import { contribOperators } from "./operators/contrib.ts";
import { cpuOperators } from "./operators/cpu.ts";
import { operators } from "./operators/index.ts";
import { dequantize } from "./operators/quantization.ts";
import type { ModelProto } from "./proto.ts";
import type { WeightTensor } from "./weights.ts";

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
  /** Each MoE layer as one node of ONNX Runtime's own op, com.microsoft.MoE; throws O1 for one that it cannot say. */
  readonly contrib?: boolean;
  /** For ONNX Runtime's CPU engine alone: attention as its own op, and each expert apart, with weights of its own. */
  readonly cpu?: boolean;
  /**
   * `half-weights`: weights are float16 in the file and widened where they are used. `half`: arithmetic is float16,
   * too, but for routing and what else wants float32; inputs and outputs stay as they are.
   */
  readonly precision?: Precision;
  /** The experts' matrices as integers of 8 or 4 bits, with a scale for each column of 32 rows: from opset 21 on. */
  readonly quantizeExperts?: IntegerType;
  /** Leaves the batch open; by default a program is for the batch it was built for. */
  readonly batch?: SymbolicBatch;
  /** How the passes are run. */
  readonly passes?: PassOptions;
  /** Told to whoever opens the file. */
  readonly metadata?: Readonly<Record<string, string>>;
}

export type Precision = "single" | "half-weights" | "half";

/** A model without its weights' numbers. */
export interface OnnxProgram {
  readonly model: ModelProto;
  readonly weights: readonly WeightTensor[];
}

/** Whether programs of `opset` have an op; what they have not is decomposed. */
export const supportsIn =
  (opset: number = defaultOpset, known: ReadonlyMap<AnyOp, Operator> = operators): Supports =>
  (op, node) => {
    const operator = known.get(op);
    return operator !== undefined && operator.since <= opset && (node === undefined || operator.takes(node));
  };

/** `graph` in ONNX. Throws O1 for what cannot be written, such as an unknown opset. */
export function exportOnnx(graph: Graph, options: ExportOptions = {}): OnnxProgram {
  const {
    opset = defaultOpset,
    inline = false,
    contrib = false,
    cpu = false,
    precision = "single",
    quantizeExperts,
    batch,
    metadata = {},
  } = options;
  const irVersion = formats.get(opset);
  if (irVersion === undefined) {
    const [least, most] = [Math.min(...formats.keys()), Math.max(...formats.keys())];
    throw new CompileError("O1", "opset", `must be from ${least} to ${most}; got ${opset}`);
  }
  if (quantizeExperts && opset < dequantize.since) {
    // What it decomposes to takes ONNX Runtime some thirty times the file's size to load.
    const must = `must be at least ${dequantize.since} for ${quantizeExperts}, which comes in blocks`;
    throw new CompileError("O1", "opset", `${must}; got ${opset}`);
  }
  const known = contrib ? contribOperators : cpu ? cpuOperators : operators;
  const stored = {
    ...(precision === "half-weights" && { precision }),
    ...(quantizeExperts && { quantizeExperts }),
  };
  const lower = (program: Graph): Graph => {
    const outputs = options.outputs ?? [...program.outputs.keys()];
    const lowering = pipeline({ supports: supportsIn(opset, known) }, outputs);
    const passes = [prune(outputs), ...(precision === "half" ? [computeHalf] : []), ...lowering];
    return runPasses(program, passes, options.passes);
  };
  const narrow = narrowWeights(graph, stored);
  const lowered = lower(narrow.graph);
  const other = batch && lower(narrowWeights(batch.other, stored).graph);
  const growth = batch && other && growthOf(lowered, { ...batch, other }, known);
  const symbols = growth && new Symbols(growth, batch);
  const written = writeGraph(lowered, { operators: known, opset, inline, symbols });
  const domains = new Set(["", ...(written.graph.node ?? []).map((node) => node.domain ?? "")]);
  const model: ModelProto = {
    irVersion,
    producerName: "moec",
    opsetImport: [...domains].map((domain) => ({ domain, version: domain ? 1 : opset })),
    functions: written.functions,
    metadataProps: Object.entries(metadata).map(([key, value]) => ({ key, value })),
    graph: written.graph,
  };
  const weights = written.weights.map((tensor) => ({
    ...tensor,
    parts: (source: WeightSource) => tensor.parts(narrow.weightsOf(source)),
  }));
  return { model, weights };
}
