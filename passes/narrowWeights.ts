/** Weights in fewer bytes: the program that widens them where they are used, and where they come from. */
import {
  CompileError,
  type Graph,
  ops,
  Tensor,
  type TensorType,
  type Value,
  weight,
  type WeightSource,
} from "../ir/index.ts";
import { asHalf } from "./halve.ts";

/** How the weights of a program are stored; it computes in float32 whatever they are. */
export interface WeightPrecision {
  /** `half-weights`: float32 weights are stored as float16. `single`, by default: as they are. */
  readonly precision?: "single" | "half-weights";
  /** The experts' matrices as integers of 8 or 4 bits, with a float32 scale for each column of 32 rows. */
  readonly quantizeExperts?: IntegerType;
}

export type IntegerType = "int8" | "int4";

/** A program of narrow weights. */
export interface Narrowed {
  readonly graph: Graph;
  /** Its weights, made of those of the program that it was, as they are read. */
  readonly weightsOf: (source: WeightSource) => WeightSource;
}

/**
 * Rows of a matrix that share scales: as many as GGML's and ONNX Runtime's formats of 4 bits have. A scale is then one
 * more bit an element.
 */
const blockRows = 32;

const bitsOf: Readonly<Record<IntegerType, 8 | 4>> = { int8: 8, int4: 4 };

/** `graph` with its weights stored as `precision` says. */
export function narrowWeights(graph: Graph, { precision, quantizeExperts }: WeightPrecision): Narrowed {
  const matrices = new Map(
    quantizeExperts ? expertMatrices(graph).map((value) => [value, quantized(value, quantizeExperts)]) : [],
  );
  const halves = precision === "half-weights" ? graph.weights.filter(isSingle) : [];
  const narrow = new Map([
    ...halves.map((value): [Value, Value] => [value, asHalf(value)]),
    ...[...matrices].map(([value, { result }]): [Value, Value] => [value, result]),
  ]);
  if (narrow.size === 0) return { graph, weightsOf: (source) => source };
  return {
    graph: graph.replace(narrow),
    weightsOf: (source) => quantizedSource(source, [...matrices.values()]),
  };
}

const isSingle = ({ type }: Value): boolean => type.dtype === "f32";

/** The weights that hold one matrix for each expert. */
function expertMatrices(graph: Graph): Value[] {
  const used = graph.nodes
    .filter(({ op }) => op.has("experts"))
    .flatMap(({ op, operands }) =>
      operands.filter((_, i) => ["w1", "w2"].includes(op.operands[i]?.name ?? "")),
    );
  return [...new Set(used)].filter((value) => value.leaf?.kind === "weight" && isSingle(value));
}

/** A weight [E, D, F] as integers. */
interface Quantized {
  readonly matrices: Value;
  readonly words: Value;
  readonly scales: Value;
  readonly bits: 8 | 4;
  readonly result: Value;
}

function quantized(matrices: Value, to: IntegerType): Quantized {
  const [E = 1, rows = 1, F = 1] = matrices.type.shape;
  const [bits, block] = [bitsOf[to], Math.min(blockRows, rows)];
  const name = matrices.leaf?.name ?? "";
  const words = weight(`${name}/${to}`, { dtype: "u32", shape: [E, Math.ceil((rows * F * bits) / 32)] });
  const scales = weight(`${name}/${to}/scales`, { dtype: "f32", shape: [E, Math.ceil(rows / block), F] });
  return { matrices, words, scales, bits, result: ops.dequantize(words, scales, { bits, rows, block }) };
}

/** `source`, and integers and scales made of its matrices, which are read for each of the two. */
function quantizedSource(source: WeightSource, all: readonly Quantized[]): WeightSource {
  const made = new Map(
    all.flatMap((each): [string, { readonly from: Quantized; readonly part: "words" | "scales" }][] => [
      [each.words.leaf?.name ?? "", { from: each, part: "words" }],
      [each.scales.leaf?.name ?? "", { from: each, part: "scales" }],
    ]),
  );
  return {
    tensors: new Map<string, TensorType>([
      ...source.tensors,
      ...[...made].map(([name, { from, part }]): [string, TensorType] => [name, from[part].type]),
    ]),
    async read(name, rows) {
      const known = made.get(name);
      if (!known) return source.read(name, rows);
      const { from, part } = known;
      const matrices = await source.read(from.matrices.leaf?.name ?? "", rows);
      const scales = scalesOf(matrices, from);
      return part === "scales" ? scales : integersOf(matrices, scales, from);
    },
    close: () => source.close(),
  };
}

/** The largest integer; the same negated is the least. */
const largest = (bits: number): number => 2 ** (bits - 1) - 1;

/** f32[E, R, F]: the largest magnitude of each column of a block, over the largest integer. Throws W3 where it is none. */
function scalesOf(matrices: Tensor, { matrices: { leaf }, scales, bits }: Quantized): Tensor {
  const [E = 1, rows = 1, F = 1] = matrices.type.shape;
  const [, R = 1] = scales.type.shape;
  const block = Math.min(blockRows, rows);
  const numbers = matrices.numbers();
  const made = new Float32Array(E * R * F);
  for (let e = 0, at = 0; e < E; e++) {
    for (let row = 0; row < rows; row++) {
      const start = (e * R + Math.floor(row / block)) * F;
      for (let f = 0; f < F; f++, at++) {
        const magnitude = Math.abs(numbers[at] as number);
        if (!(magnitude <= (made[start + f] as number))) made[start + f] = magnitude;
      }
    }
  }
  const lost = made.find((v) => !Number.isFinite(v));
  if (lost !== undefined) throw new CompileError("W3", leaf?.name ?? "", `has ${lost}, which no integer is`);
  return new Tensor(
    { dtype: "f32", shape: [E, R, F] },
    made.map((v) => v / largest(bits)),
  );
}

/** u32[E, Q]: the integers nearest to the matrices' entries over their scales, offset to be positive. */
function integersOf(matrices: Tensor, scales: Tensor, { words: { type }, bits }: Quantized): Tensor {
  const [E = 1, rows = 1, F = 1] = matrices.type.shape;
  const [, R = 1] = scales.type.shape;
  const [, Q = 1] = type.shape;
  const block = Math.min(blockRows, rows);
  const [numbers, factors] = [matrices.numbers(), scales.numbers()];
  const [each, most] = [32 / bits, largest(bits)];
  const words = new Uint32Array(E * Q);
  for (let e = 0, at = 0; e < E; e++) {
    for (let row = 0, i = 0; row < rows; row++) {
      const start = (e * R + Math.floor(row / block)) * F;
      for (let f = 0; f < F; f++, i++, at++) {
        const scale = factors[start + f] as number;
        const nearest = scale === 0 ? 0 : Math.round((numbers[at] as number) / scale);
        const field = Math.max(-most, Math.min(most, nearest)) + most + 1;
        const word = e * Q + Math.floor(i / each);
        words[word] = (words[word] as number) | (field << (bits * (i % each)));
      }
    }
  }
  return new Tensor({ dtype: "u32", shape: [E, Q] }, words);
}
