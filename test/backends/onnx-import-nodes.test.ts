/** Nodes as others write them mean what ONNX Runtime makes of them; what is nearly an op of ours is left as it is. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { embedded, exportOnnx, importOnnx } from "../../backends/onnx/index.ts";
import {
  type Attributes,
  type Element,
  element,
  encodeModel,
  type ModelProto,
  nodeProto,
  type TensorProto,
  tensorProto,
  valueInfoProto,
} from "../../backends/onnx/proto.ts";
import { openModel } from "../../backends/onnx/runtime.ts";
import { type DType, evaluate, Graph, input, ops, Tensor, type Value, verify } from "../../ir/index.ts";
import { expectClose } from "../support/close.ts";
import { noWeights } from "../support/engines.ts";

const folder = mkdtempSync(join(tmpdir(), "moec-import-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** An operand of a node: an input of the model, or numbers in the file. */
type Operand = Tensor | readonly number[] | TensorProto;

const f = (...shape: number[]): Tensor =>
  Tensor.of("f32", shape, (...index) => (index.reduce((sum, i) => sum * 7 + i + 3, 1) % 11) - 4);
const b = (...shape: number[]): Tensor =>
  Tensor.of("bool", shape, (...index) => index.reduce((sum, i) => sum + i, 0) % 2);
const i32 = (shape: number[], numbers: number[]): Tensor => Tensor.from({ dtype: "i32", shape }, numbers);

const floats = (dims: number[], numbers: number[]): TensorProto =>
  tensorProto("", element.float, dims, Float32Array.from(numbers));
const ints = (dims: number[], numbers: number[]): TensorProto =>
  tensorProto("", element.int64, dims, BigInt64Array.from(numbers, BigInt));
const int32 = (number: number): TensorProto => tensorProto("", element.int32, [], Int32Array.of(number));

const elements: Readonly<Partial<Record<DType, Element>>> = {
  f32: element.float,
  i32: element.int32,
  bool: element.bool,
};

const nodes: [type: string, operands: readonly Operand[], attributes?: Attributes, out?: Element][] = [
  ["MatMul", [f(3), f(2, 3, 4)]],
  ["MatMul", [f(2, 4, 3), f(3)]],
  ["MatMul", [f(3), f(3)]],
  ["MatMul", [f(2, 1, 3, 4), f(5, 4, 2)]],
  ["MatMul", [f(2, 3, 4), f(4, 5)]],
  ["Add", [f(2, 1, 3), f(4, 1)]],
  ["Max", [f(2, 3), f(3), f(1)]],
  ["Where", [b(2, 1), f(2, 3), f(3)]],
  ["Equal", [b(2, 3), b(3)], {}, element.bool],
  ["And", [b(2, 3), b(3)], {}, element.bool],
  ["Or", [b(2, 3), b(2, 1)], {}, element.bool],
  ["Not", [b(2, 3)], {}, element.bool],
  ["Gelu", [f(2, 3)]],
  ["Cast", [f(2, 3)], { to: { int: element.bool } }, element.bool],
  ["Cast", [b(2, 3)], { to: { int: element.int32 } }, element.int32],
  ["CastLike", [b(2, 3), f(1)]],
  ["ReduceSum", [f(2, 3, 4), [0, 2]], { keepdims: { int: 0 } }],
  ["ReduceSum", [f(2, 3, 4), [-3]]],
  ["ReduceSum", [f(2, 3)]],
  ["ReduceSum", [f(2, 3)], { noop_with_empty_axes: { int: 1 } }],
  ["ReduceMax", [f(2, 3, 4), [2, 1]]],
  ["CumSum", [f(2, 3, 4), ints([], [1])]],
  ["CumSum", [f(3, 4), int32(-2)]],
  ["TopK", [f(2, 5, 3), [2]], { axis: { int: 1 }, sorted: { int: 1 } }],
  ["Softmax", [f(2, 3, 4)], { axis: { int: 0 } }],
  ["LayerNormalization", [f(2, 3, 4), f(4)], { axis: { int: 2 } }],
  ["Squeeze", [f(1, 3, 1, 2)]],
  ["Squeeze", [f(1, 3, 1, 2), [-2]]],
  ["Unsqueeze", [f(2, 3), [-1, 0]]],
  ["Reshape", [f(2, 3, 4), [0, -1]]],
  ["Transpose", [f(2, 3, 4)]],
  ["Expand", [f(3, 1), [2, 1, 4]]],
  ["Expand", [floats([], [2.5]), [2, 2]]],
  ["Slice", [f(4, 5), [-3, 1], [100, -1]]],
  ["Slice", [f(4, 5), [1], [3], [-1], [1]]],
  ["Concat", [f(2, 1), f(2, 3), f(2, 2)], { axis: { int: -1 } }],
  ["Pad", [f(2, 3), [1, 0, 0, 2]]],
  ["Pad", [f(2, 3), [1, 2], floats([], [7]), [1]], { mode: { text: "constant" } }],
  ["Range", [int32(2), int32(12), int32(3)], {}, element.int32],
  ["GatherElements", [f(3, 4), i32([3, 2], [0, -1, 3, 3, 1, -4])], { axis: { int: 1 } }],
  ["GatherElements", [f(3, 4), i32([2, 4], [0, 1, 2, -1, -3, 0, 1, 2])]],
  ["GatherND", [f(2, 4, 3), ints([2, 2, 1], [0, 3, -1, 1])], { batch_dims: { int: 1 } }],
  ["GatherND", [f(4, 3), ints([5, 1], [0, 3, -1, 1, 1])]],
  ["ScatterElements", [f(3, 4), i32([3, 2], [0, -1, 3, 1, 1, 0]), f(3, 2)], { axis: { int: 1 } }],
  [
    "ScatterElements",
    [f(2, 3), i32([2, 4], [0, -1, 2, 2, 1, 1, 1, 0]), f(2, 4)],
    { axis: { int: 1 }, reduction: { text: "add" } },
  ],
  ["ScatterElements", [i32([4], [9, 8, 7, 6]), i32([3], [2, -1, 2]), i32([3], [1, 2, 3])], {}, element.int32],
  ["Constant", [], { value: { tensor: floats([2], [1.5, -2]) } }],
  ["Constant", [], { value_float: { float: -0.5 } }],
];

/** A node of two outputs where its op has two. */
function modelOf(
  type: string,
  operands: readonly Operand[],
  attributes: Attributes,
  out: Element,
): ModelProto {
  const names = operands.map((_, i) => `x${i}`);
  const outputs = type === "TopK" ? ["y", "places"] : ["y"];
  return {
    irVersion: 10,
    opsetImport: [{ domain: "", version: 21 }],
    graph: {
      name: "alone",
      node: [nodeProto(type, names, outputs, attributes)],
      initializer: operands.flatMap((each, i) => {
        if (each instanceof Tensor) return [];
        return [{ ...("length" in each ? ints([each.length], [...each]) : each), name: `x${i}` }];
      }),
      input: [...inputsOf(operands)].map(
        ([
          name,
          {
            type: { dtype, shape },
          },
        ]) => valueInfoProto(name, elements[dtype]!, shape),
      ),
      output: [{ name: "y", type: { tensorType: { elemType: out } } }],
    },
  };
}

const inputsOf = (operands: readonly Operand[]): ReadonlyMap<string, Tensor> =>
  new Map(operands.flatMap((each, i) => (each instanceof Tensor ? [[`x${i}`, each] as const] : [])));

/** The output of a model by ONNX Runtime. */
async function byRuntime(bytes: Uint8Array, inputs: ReadonlyMap<string, Tensor>): Promise<Tensor[]> {
  const path = join(folder, "alone.onnx");
  writeFileSync(path, bytes);
  const session = await openModel(path);
  try {
    return [...(await session.run(inputs)).values()];
  } finally {
    await session.close();
  }
}

/** The output of a model by reading it. */
async function byReading(bytes: Uint8Array, inputs: ReadonlyMap<string, Tensor>): Promise<Tensor[]> {
  const { graph, weights } = await importOnnx(bytes);
  verify(graph);
  const read = await Promise.all(
    [...weights.tensors.keys()].map(async (name) => [name, await weights.read(name)] as const),
  );
  const tensors = new Map([...inputs, ...read]);
  return [...evaluate(graph, ({ leaf }) => tensors.get(leaf?.name ?? "")).values()];
}

test.each(nodes)("%s %#", async (type, operands, attributes = {}, out = element.float) => {
  const bytes = encodeModel(modelOf(type, operands, attributes, out));
  const inputs = inputsOf(operands);
  expectClose(await byReading(bytes, inputs), await byRuntime(bytes, inputs));
});

test.each<readonly [field: string, tensor: TensorProto]>([
  ["floatData", { dataType: element.float, floatData: [0.5, -2, 3] }],
  ["int32Data", { dataType: element.int32, int32Data: [1, -2, 3] }],
  ["int32Data of truths", { dataType: element.bool, int32Data: [1, 0, 1] }],
  ["rawData of truths", { dataType: element.bool, rawData: Uint8Array.of(1, 0, 1) }],
])("a tensor in %s", async (_, tensor) => {
  const code = tensor.dataType as Element;
  const model = modelOf("Identity", [{ ...tensor, dims: [3] }], {}, code);
  const bytes = encodeModel(model);
  expectClose(await byReading(bytes, new Map()), await byRuntime(bytes, new Map()));
});

/** The two numbers of a tensor, by reading it. */
const numbersOf = async (tensor: TensorProto): Promise<number[]> => {
  const model = modelOf("Identity", [{ ...tensor, dims: [2] }], {}, tensor.dataType as Element);
  const [got] = await byReading(encodeModel(model), new Map());
  return Array.from(got!.numbers());
};

test("16-bit floats and unsigned integers in a tensor's fields, and any byte as a truth", async () => {
  expect(await numbersOf({ dataType: element.float16, int32Data: [0x3c00, 0xc000] })).toEqual([1, -2]);
  expect(await numbersOf({ dataType: element.bfloat16, int32Data: [0x3f80, 0xc000] })).toEqual([1, -2]);
  expect(await numbersOf({ dataType: element.uint32, uint64Data: [7, 2 ** 32 - 1] })).toEqual([
    7,
    2 ** 32 - 1,
  ]);
  expect(await numbersOf({ dataType: element.bool, rawData: Uint8Array.of(7, 0) })).toEqual([1, 0]);
});

/** What a program of `build` comes back as: the names of its ops. */
async function comesBackAs(build: (...leaves: Value[]) => Value, ...shapes: number[][]): Promise<string[]> {
  const leaves = shapes.map((shape, i) => input(`p${i}`, { dtype: "f32", shape }));
  const graph = new Graph("near", leaves, [["y", build(...leaves)]]);
  const { graph: imported } = await importOnnx(await embedded(exportOnnx(graph), noWeights));
  const inputs = new Map(leaves.map(({ leaf, type }) => [leaf!.name, f(...type.shape)]));
  const [got, want] = [imported, graph].map((each) => [
    ...evaluate(each, ({ leaf }) => inputs.get(leaf!.name)).values(),
  ]);
  expectClose(got!, want!);
  return imported.nodes.map(({ op }) => op.name);
}

const heads = { perm: [0, 2, 1, 3] };
const attend =
  (scale: number) =>
  (q: Value, k: Value, v: Value): Value => {
    const turned = ops.transpose(q, heads);
    const factor = ops.constant({ value: scale, to: "f32", shape: turned.type.shape });
    const scores = ops.matmul(ops.multiply(turned, factor), ops.transpose(k, { perm: [0, 2, 3, 1] }));
    return ops.transpose(ops.matmul(ops.softmax(scores), ops.transpose(v, heads)), heads);
  };

const plus = (x: Value, w: Value, bias: Value): Value => {
  const y = ops.matmul(x, w);
  return ops.add(y, ops.broadcast(bias, { shape: y.type.shape }));
};

const split =
  (shape: number[]) =>
  (x: Value, w: Value, bias: Value): Value =>
    ops.add(
      ops.reshape(ops.matmul(ops.reshape(x, { shape: [6, 4] }), w), { shape }),
      ops.broadcast(bias, { shape }),
    );

const not = (value: Value): Value =>
  ops.select(
    value,
    ops.constant({ value: 0, to: "bool", shape: [3] }),
    ops.constant({ value: 1, to: "bool", shape: [3] }),
  );

const compared = (is: "eq" | "lt") => (x: Value, y: Value) => not(ops.compare(x, y, { is }));

describe("what is nearly an op is left as it is", () => {
  test("attention by another scale, or of values of another width", async () => {
    const [q, k, v] = [
      [1, 2, 2, 4],
      [1, 3, 2, 4],
      [1, 3, 2, 5],
    ];
    expect(await comesBackAs(attend(0.5), q, k, k)).toEqual(["attention"]);
    expect(await comesBackAs(attend(0.25), q, k, k)).not.toContain("attention");
    expect(await comesBackAs(attend(0.5), q, k, v)).not.toContain("attention");
  });

  test("a product plus a term that is no bias", async () => {
    expect(await comesBackAs(plus, [2, 3], [3, 4], [4])).toEqual(["linear"]);
    expect(await comesBackAs(plus, [2, 3], [3, 4], [1])).not.toContain("linear");
    expect(await comesBackAs(plus, [2, 3], [3, 4], [1, 4])).not.toContain("linear");
    expect(await comesBackAs(plus, [5, 2, 3], [5, 3, 4], [4])).not.toContain("linear");
  });

  test("rows of a product that are split otherwise", async () => {
    expect(await comesBackAs(split([2, 3, 5]), [2, 3, 4], [4, 5], [5])).toEqual(["linear"]);
    expect(await comesBackAs(split([3, 2, 5]), [2, 3, 4], [4, 5], [5])).not.toContain("linear");
    expect(await comesBackAs(split([2, 3, 5]), [2, 12], [4, 5], [5])).not.toContain("linear");
  });

  test("the negation of another comparison than equality", async () => {
    expect(await comesBackAs(compared("lt"), [3], [3])).toContain("select");
  });
});

describe.each(["f32", "i32", "u32"] as const)("constants of %s move and compute as values do", (to) => {
  const of = (value: number, ...shape: number[]): Value => ops.constant({ value, to, shape });
  const programs: Readonly<Record<string, Value>> = {
    slice: ops.slice(of(3, 5), { start: [1], limit: [3] }),
    "slice of many": ops.slice(of(3, 5000), { start: [1], limit: [4700] }),
    "slice of a matrix": ops.slice(of(3, 5, 2), { start: [1, 0], limit: [3, 1] }),
    concat: ops.concat(of(3, 2), of(4, 1), { axis: 0 }),
    "concat of many": ops.concat(of(3, 4000), of(4, 4000), { axis: 0 }),
    "concat of matrices": ops.concat(of(3, 2, 1), of(4, 2, 2), { axis: 1 }),
    "sum of a list": ops.add(ops.concat(of(3, 2), of(4, 1), { axis: 0 }), of(5, 3)),
    "sum of two lists": ops.add(
      ops.concat(of(3, 2), of(4, 1), { axis: 0 }),
      ops.concat(of(3, 1), of(4, 2), { axis: 0 }),
    ),
    "sum of a list and a column": ops.add(
      ops.broadcast(ops.concat(of(3, 2), of(4, 1), { axis: 0 }), { shape: [2, 3] }),
      of(7, 2, 3),
    ),
    wrapped: ops.multiply(ops.subtract(of(3, 2), of(5, 2)), of(2 ** 31 - 1, 2)),
    "wrapped and converted": ops.cast(ops.subtract(of(3, 2), of(5, 2)), { to: "f32" }),
    transpose: ops.transpose(of(3, 4, 2), { perm: [1, 0] }),
    "transpose of a list": ops.transpose(
      ops.reshape(ops.concat(of(3, 3), of(4, 1), { axis: 0 }), { shape: [2, 2] }),
      { perm: [1, 0] },
    ),
    reshape: ops.reshape(of(3, 4, 2), { shape: [8] }),
    reduce: ops.reduceSum(of(2 ** 31 - 1, 2, 5)),
    largest: ops.reduceMax(of(7, 2, 5)),
    running: ops.cumsum(of(3, 4)),
    larger: ops.maximum(of(3, 4), of(4, 4)),
    "larger beyond 31 bits": ops.maximum(of(3e9, 4), of(4, 4)),
    "less beyond 31 bits": ops.compare(of(4, 4), of(3e9, 4), { is: "lt" }),
    equal: ops.compare(of(3, 4), of(4, 4), { is: "lt" }),
    choice: ops.select(ops.compare(of(3, 4), of(3, 4), { is: "eq" }), of(1, 4), of(2, 4)),
    ...Object.fromEntries(
      (["f32", "f16", "bf16", "i32", "u32", "bool"] as const).map((other) => [
        `cast to ${other}`,
        ops.cast(of(3, 2), { to: other }),
      ]),
    ),
  };

  test.each(Object.entries(programs))("%s", async (_, value) => {
    const graph = new Graph("constants", [], [["y", value]]);
    const { graph: imported } = await importOnnx(await embedded(exportOnnx(graph), noWeights));
    const [got, want] = [imported, graph].map((each) => evaluate(each, () => undefined).get("y")!);
    expectClose([Tensor.from(want!.type, got!.numbers())], [want!]);
  });
});
