/** ONNX models in memory; one of them to break: routing, an affine map and unsigned integers. */
import { expect } from "vitest";

import {
  embedded,
  exportOnnx,
  type ExportOptions,
  importOnnx,
  type ImportOptions,
  type OnnxProgram,
  withData,
} from "../../backends/onnx/index.ts";
import { type Attributes, type GraphProto, nodeProto } from "../../backends/onnx/proto.ts";
import { type ByteSource, memorySource } from "../../files/bytes.ts";
import {
  type CompileError,
  Graph,
  input,
  inScope,
  ops,
  Tensor,
  verify,
  weight,
  type WeightSource,
} from "../../ir/index.ts";
import { expectOneLine } from "./errors.ts";

const f32 = (...shape: number[]): Tensor["type"] => ({ dtype: "f32", shape });

function example(): Graph {
  const [x, u] = [input("x", f32(2, 4, 3)), input("u", { dtype: "u32", shape: [3] })];
  const [w, b] = [weight("w", f32(3, 5)), weight("b", f32(5))];
  const logits = inScope("router", () => ops.linear(x, w, b));
  const routing = { k: 2, capacity: 2, priority: "gate" } as const;
  const { tokens, slots, weights } = inScope("moe", () => ops.routeTopExperts(logits, routing));
  const z = ops.combine(ops.dispatch(x, tokens), slots, weights);
  const sum = ops.cast(ops.add(u, ops.multiply(u, u)), { to: "f32" });
  const shifted = ops.add(z, ops.broadcast(sum, { shape: [2, 4, 3] }));
  return new Graph(
    "example",
    [x, u],
    [
      ["z", shifted],
      ["slots", slots],
    ],
  );
}

const numbers = new Map([
  ["w", Tensor.of("f32", [3, 5], (i, j) => i - j)],
  ["b", Tensor.of("f32", [5], (i) => i)],
]);

const exampleWeights: WeightSource = {
  tensors: new Map([...numbers].map(([name, { type }]) => [name, type])),
  read: (name) => Promise.resolve(numbers.get(name)!),
  close: () => Promise.resolve(),
};

/** The example with its weights in the message. */
export const wholeExample = (options: ExportOptions = {}): Promise<Uint8Array> =>
  embedded(exportOnnx(example(), options), exampleWeights);

/** The example with its weights in `w.data`, which `openExample` opens. */
export const exampleApart = (): Uint8Array => withData(exportOnnx(example()), "w.data").model;

/** A file of 256 bytes, whatever its name. */
export const openExample = (location: string): Promise<ByteSource> =>
  Promise.resolve(memorySource(location, new Uint8Array(256)));

async function readAll(bytes: Uint8Array, options: ImportOptions): Promise<undefined> {
  const { graph, weights } = await importOnnx(memorySource("model.onnx", bytes), options);
  verify(graph);
  for (const name of weights.tensors.keys()) await weights.read(name);
}

function expectImportError(error: unknown): CompileError {
  const known = expectOneLine(error);
  expect(known.code).toMatch(/^O[34]$/);
  expect(known.subject).toBe("model.onnx");
  // Escapes make a character six.
  expect(known.message.length).toBeLessThan(3500);
  return known;
}

/** The error of reading `bytes`; undefined where there is none, and all that is read is well formed. */
export async function importError(
  bytes: Uint8Array,
  options: ImportOptions = { openData: openExample },
): Promise<CompileError | undefined> {
  const error: unknown = await readAll(bytes, options).catch((caught: unknown) => caught);
  return error === undefined ? undefined : expectImportError(error);
}

/** `program` as two files, the second of which is opened as a file would be. */
export async function inTwoFiles(
  program: OnnxProgram,
  source: WeightSource,
): Promise<readonly [Uint8Array, ImportOptions]> {
  const { model, data } = withData(program, "weights/model.data");
  const parts: Uint8Array[] = [];
  for await (const part of data(source)) parts.push(part.slice());
  const whole = new Uint8Array(Buffer.concat(parts));
  const openData = (location: string): Promise<ByteSource> =>
    location === "weights/model.data"
      ? Promise.resolve(memorySource(location, whole))
      : Promise.reject(new Error("no such file"));
  return [model, { openData }];
}

/** Every tensor of `source`, by name. */
export async function allOf(source: WeightSource): Promise<ReadonlyMap<string, Tensor>> {
  const tensors = await Promise.all(
    [...source.tensors.keys()].map(async (name) => [name, await source.read(name)] as const),
  );
  return new Map(tensors);
}

/** Appends a node, and returns its output. */
export function append(
  graph: GraphProto,
  type: string,
  inputs: string[],
  attributes: Attributes = {},
  domain = "",
): string {
  const output = `new${graph.node!.length}`;
  graph.node!.push(nodeProto(type, inputs, [output], attributes, { domain, name: `a/${type}` }));
  return output;
}
