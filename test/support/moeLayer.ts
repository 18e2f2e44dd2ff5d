/** An MoE layer of any size and routing as a program, with inputs and weights; and programs run by ONNX Runtime. */
import * as ort from "onnxruntime-node";

import type { OnnxProgram } from "../../backends/onnx/export.ts";
import { embedded } from "../../backends/onnx/file.ts";
import {
  evaluate,
  Graph,
  input,
  ops,
  type Shape,
  sizeOf,
  Tensor,
  type TensorType,
  type Value,
  weight,
  type WeightSource,
} from "../../ir/index.ts";
import { normalDraws } from "../../models/random.ts";

export type Tensors = ReadonlyMap<string, Tensor>;

export const f32 = (shape: Shape): TensorType => ({ dtype: "f32", shape });

/** Standard normal numbers, the same for the same name. */
export const drawn = (name: string, shape: Shape): Tensor =>
  new Tensor(f32(shape), normalDraws(0, name, sizeOf(shape)));

export interface LayerSizes {
  readonly G: number;
  readonly T: number;
  readonly E: number;
  readonly D: number;
  readonly F: number;
}

export interface Routing {
  readonly k: number;
  readonly capacity: number;
  readonly priority: "token" | "gate";
}

export const weightNames = ["w1", "b1", "w2", "b2"] as const;
export type ExpertWeights = [w1: Value, b1: Value, w2: Value, b2: Value];

const weightShapes = ({ E, D, F }: LayerSizes): Readonly<Record<(typeof weightNames)[number], Shape>> => ({
  w1: [E, D, F],
  b1: [E, F],
  w2: [E, F, D],
  b2: [E, D],
});

type MakeLeaf = (name: string, shape: Shape) => Value;

/** The experts' weights as `leaf` makes them, by default as weights. */
export const expertWeights = (
  sizes: LayerSizes,
  leaf: MakeLeaf = (name, shape) => weight(name, f32(shape)),
): ExpertWeights => weightNames.map((name) => leaf(name, weightShapes(sizes)[name])) as ExpertWeights;

/** Numbers for the experts' weights. */
export const weightsFor = (sizes: LayerSizes): Tensors =>
  new Map(weightNames.map((name) => [name, drawn(name, weightShapes(sizes)[name])]));

/** Numbers for the inputs of `layer`. */
export const inputsFor = ({ G, T, E, D }: LayerSizes, logits: Tensor = drawn("logits", [G, T, E])): Tensors =>
  new Map([
    ["x", drawn("x", [G, T, D])],
    ["logits", logits],
  ]);

/**
 * An MoE layer on inputs `x` and `logits`. Neither what enters nor what leaves it is the program's own: an engine may
 * put one in the other's place.
 */
export function layer(
  sizes: LayerSizes,
  { k = 2, capacity = 2, priority = "gate" }: Partial<Routing> = {},
  [w1, b1, w2, b2]: ExpertWeights = expertWeights(sizes),
): Graph {
  const { G, T, E, D } = sizes;
  const [x, logits] = [input("x", f32([G, T, D])), input("logits", f32([G, T, E]))];
  const { tokens, slots, weights } = ops.routeTopExperts(logits, { k, capacity, priority });
  const outputs = ops.expertMlp(ops.dispatch(ops.add(x, x), tokens), w1, b1, w2, b2, { approximate: "tanh" });
  const y = ops.add(x, ops.combine(outputs, slots, weights));
  return new Graph("layer", [x, logits], [["y", y]]);
}

/** The output `y` of `graph` by the reference. */
export const referenceOutput = (graph: Graph, ...given: readonly Tensors[]): Tensor => {
  const all = new Map(given.flatMap((tensors) => [...tensors]));
  return evaluate(graph, ({ leaf }) => all.get(leaf?.name ?? "")).get("y")!;
};

export const inMemory = (tensors: Tensors): WeightSource => ({
  tensors: new Map([...tensors].map(([name, { type }]) => [name, type])),
  read(name, rows) {
    const { type, data } = tensors.get(name)!;
    const [start, stop] = rows ?? [0, type.shape[0]!];
    const size = data.length / type.shape[0]!;
    const cut = f32([stop - start, ...type.shape.slice(1)]);
    return Promise.resolve(new Tensor(cut, data.slice(start * size, stop * size)));
  },
  close: () => Promise.resolve(),
});

/** The outputs of a program of f32 inputs and outputs by ONNX Runtime. */
export async function runOnnx(
  program: OnnxProgram,
  weights: WeightSource,
  inputs: Tensors,
  provider = "cpu",
): Promise<Tensors> {
  const session = await ort.InferenceSession.create(await embedded(program, weights), {
    executionProviders: [provider],
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  const feeds = [...inputs].map(([name, { data, type }]): [string, ort.Tensor] => [
    name,
    new ort.Tensor("float32", data as Float32Array, type.shape),
  ]);
  const results = Object.entries(await session.run(Object.fromEntries(feeds)));
  await session.release();
  return new Map(
    results.map(([name, { data, dims }]) => [name, new Tensor(f32([...dims]), data as Float32Array)]),
  );
}

/** How many nodes of ONNX Runtime's own MoE op a program has. */
export const moeNodes = ({ model }: OnnxProgram): number =>
  (model.graph?.node ?? []).filter(({ domain, opType }) => domain === "com.microsoft" && opType === "MoE")
    .length;
