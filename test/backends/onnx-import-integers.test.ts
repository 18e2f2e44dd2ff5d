/** `DequantizeLinear` as others write it means what ONNX Runtime makes of it, and keeps integers small where it can. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import fc from "fast-check";
import { afterAll, expect, test } from "vitest";

import { importOnnx } from "../../backends/onnx/index.ts";
import {
  type Attributes,
  element,
  encodeModel,
  type NodeProto,
  nodeProto,
  smallElement,
  type SmallElement,
  type TensorProto,
  tensorProto,
  valueInfoProto,
} from "../../backends/onnx/proto.ts";
import { openModel } from "../../backends/onnx/runtime.ts";
import {
  type AnyOp,
  byteLength,
  evaluate,
  type Graph,
  ops,
  type Shape,
  sizeOf,
  Tensor,
  verify,
} from "../../ir/index.ts";
import { allOf, importError } from "../support/onnxExample.ts";
import { runs } from "../support/runs.ts";

const folder = mkdtempSync(join(tmpdir(), "moec-import-integers-"));
afterAll(() => rmSync(folder, { recursive: true }));

type Code = SmallElement | typeof element.int32;
const { uint8, int8, uint4, int4 } = smallElement;

/** A tensor of any of the types; in the field of 32-bit integers where `spelled`. */
function integersOf(
  name: string,
  code: Code,
  dims: Shape,
  values: readonly number[],
  spelled = false,
): TensorProto {
  if (code === element.int32) return tensorProto(name, code, dims, Int32Array.from(values));
  const nibbles = values.map((value) => value & 15);
  const bytes =
    code === uint8 || code === int8
      ? Uint8Array.from(values)
      : Uint8Array.from(
          { length: Math.ceil(values.length / 2) },
          (_, i) => nibbles[2 * i]! | ((nibbles[2 * i + 1] ?? 0) << 4),
        );
  if (!spelled) return tensorProto(name, code, dims, bytes);
  return { name, dataType: code, dims: [...dims], int32Data: Array.from(bytes) };
}

const scalesOf = (dims: Shape, values: readonly number[], half = false): TensorProto =>
  half
    ? tensorProto("s", element.float16, dims, Tensor.from({ dtype: "f16", shape: dims }, values).data)
    : tensorProto("s", element.float, dims, Float32Array.from(values));

/** A model of one node of integers `x`, scales `s` and perhaps zero points `z`, or of other nodes. */
const modelOf = (
  initializer: TensorProto[],
  attributes: Attributes,
  node: NodeProto[] = [
    nodeProto(
      "DequantizeLinear",
      initializer.map(({ name }) => name!),
      ["y"],
      attributes,
    ),
  ],
  opset = 21,
): Uint8Array =>
  encodeModel({
    irVersion: opset > 21 ? 11 : 10,
    opsetImport: [{ domain: "", version: opset }],
    graph: {
      name: "integers",
      node,
      initializer,
      input: [valueInfoProto("unused", element.float, [1])],
      output: [{ name: "y", type: { tensorType: { elemType: initializer[1]!.dataType! } } }],
    },
  });

async function read(bytes: Uint8Array): Promise<{ graph: Graph; y: Tensor; weightBytes: number }> {
  const { graph, weights } = await importOnnx(bytes);
  verify(graph);
  const tensors = await allOf(weights);
  const y = evaluate(graph, ({ leaf }) => tensors.get(leaf!.name)).get("y")!;
  return { graph, y, weightBytes: graph.weights.reduce((sum, { type }) => sum + byteLength(type), 0) };
}

async function byRuntime(bytes: Uint8Array): Promise<Tensor> {
  const path = join(folder, "integers.onnx");
  writeFileSync(path, bytes);
  const model = await openModel(path);
  const outputs = await model.run(new Map([["unused", Tensor.of("f32", [1], () => 0)]]));
  await model.close();
  return outputs.get("y")!;
}

const ranges: Readonly<Record<Code, readonly [number, number]>> = {
  [uint8]: [0, 255],
  [int8]: [-128, 127],
  [uint4]: [0, 15],
  [int4]: [-8, 7],
  [element.int32]: [-(2 ** 20), 2 ** 20],
};
const middle = (code: Code): number => (ranges[code][0] < 0 ? 0 : (ranges[code][1] + 1) / 2);

/** A node of any type, rank, axis and kind of scales and zero points. */
const nodes = fc
  .record({
    code: fc.constantFrom(uint8, int8, uint4, int4, element.int32),
    dims: fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 4 }),
    place: fc.nat(3),
    negative: fc.boolean(),
    kind: fc.constantFrom("tensor", "axis", "blocks"),
    block: fc.integer({ min: 1, max: 5 }),
    zeros: fc.constantFrom("none", "middle", "one", "any"),
    half: fc.boolean(),
    spelled: fc.boolean(),
    draws: fc.infiniteStream(fc.nat(2 ** 24)),
  })
  .filter(({ code, dims, kind, block }) => {
    // ONNX Runtime knows blocks of no int32, and not one block alone in a vector.
    const isOneBlock = dims.length === 1 && dims[0]! <= block;
    return kind === "blocks"
      ? dims.length > 0 && !isOneBlock && code !== element.int32
      : kind === "tensor" || dims.length > 0;
  })
  .map(({ code, dims, place, negative, kind, block, zeros, half, spelled, draws }) => {
    const [low, high] = ranges[code];
    const drawn = (): number => low + ((draws.next().value as number) % (high - low + 1));
    const axis = place % Math.max(dims.length, 1);
    const shapes = {
      tensor: [],
      axis: [dims[axis]!],
      blocks: dims.map((size, i) => (i === axis ? Math.ceil(size / block) : size)),
    };
    const shape = shapes[kind];
    const count = sizeOf(shape);
    const one = drawn();
    const values = { none: 0, middle: middle(code), one, any: 0 };
    const zero = Array.from({ length: count }, () => (zeros === "any" ? drawn() : values[zeros]));
    const isWide = code === element.int32;
    const tensors = [
      integersOf("x", code, dims, Array.from({ length: sizeOf(dims) }, drawn), spelled),
      scalesOf(
        shape,
        Array.from({ length: count }, () => (((draws.next().value as number) % 255) - 127) / 64),
        half,
      ),
      ...(zeros === "none" ? [] : [integersOf("z", code, shape, isWide ? zero.map(() => 0) : zero, spelled)]),
    ];
    const attributes: Attributes = {
      ...(kind !== "tensor" && { axis: { int: negative ? axis - dims.length : axis } }),
      ...(kind === "blocks" && { block_size: { int: block } }),
    };
    const points = zeros === "none" ? [0] : zero;
    const isCentred = !isWide && points.every((point) => point === middle(code));
    return { dims, half, isCentred, bytes: modelOf(tensors, attributes) };
  });

const arithmetic = new Set<AnyOp>([ops.dequantize, ops.multiply, ops.subtract, ops.add]);

test("any node means what ONNX Runtime makes of it; in the middle of its type it is one op", async () => {
  await fc.assert(
    fc.asyncProperty(nodes, async ({ dims, half, isCentred, bytes }) => {
      const { graph, y } = await read(bytes);
      expect(y).toEqual(await byRuntime(bytes));
      const computed = graph.nodes.map(({ op }) => op).filter((op) => arithmetic.has(op));
      expect(computed.length === 1 && computed[0] === ops.dequantize).toBe(isCentred);
      expect(y.type).toEqual({ dtype: half ? "f16" : "f32", shape: dims });
    }),
    { numRuns: runs(150) },
  );
});

const pattern = (size: number): number[] => Array.from({ length: size }, (_, i) => (i * 37) % 16);

test.each([
  ["blocks of rows", [2, 32, 6], [2, 1, 6], { axis: { int: 1 }, block_size: { int: 32 } }],
  ["a scale for each column", [32, 12], [12], {}],
  ["a scale for each row", [12, 32], [12], { axis: { int: 0 } }],
  ["one scale", [3, 16, 8], [], {}],
])("%s: integers of four bits take half a byte each", async (_, dims, shape, attributes: Attributes) => {
  const scales = scalesOf(
    shape,
    Array.from({ length: sizeOf(shape) }, (__, i) => i + 1),
  );
  const size = sizeOf(dims);
  for (const zero of [8, 3]) {
    const tensors = [integersOf("x", uint4, dims, pattern(size)), scales];
    const zeros = integersOf(
      "z",
      uint4,
      shape,
      Array.from({ length: sizeOf(shape) }, () => zero),
    );
    const { weightBytes } = await read(modelOf([...tensors, zeros], attributes));
    // A scalar of the file is a constant.
    expect(weightBytes).toBe(size / 2 + (shape.length === 0 ? 0 : 4 * sizeOf(shape)));
  }
});

const along = (x: string, y: string, axis: number): NodeProto =>
  nodeProto("DequantizeLinear", [x, "s"], [y], { axis: { int: axis } });

test("integers come through other nodes, may be a node's own, and are used twice", async () => {
  const x = integersOf("x", int8, [2, 3], [1, -2, 3, -4, 5, -128]);
  const own = integersOf("", int4, [2, 3], [1, -2, 3, -4, 5, -8]);
  const bytes = modelOf([x, scalesOf([2], [2, 3])], {}, [
    nodeProto("Identity", ["x"], ["same"]),
    along("same", "y0", 0),
    nodeProto("Constant", [], ["c"], { value: { tensor: own } }),
    along("c", "y1", -2),
    nodeProto("Constant", [], ["one"], { value_float: { float: 0.5 } }),
    nodeProto("DequantizeLinear", ["same", "one"], ["y2"]),
    nodeProto("Add", ["y0", "y1"], ["y3"]),
    nodeProto("Add", ["y3", "y2"], ["y"]),
  ]);
  const { y } = await read(bytes);
  expect(y).toEqual(await byRuntime(bytes));
});

test("the float of the result may be another than that of the scales", async () => {
  const tensors = [integersOf("x", int8, [3], [1, -2, 127]), scalesOf([], [1.5])];
  const { y } = await read(modelOf(tensors, { output_dtype: { int: element.float } }, undefined, 23));
  expect(y).toEqual(Tensor.from({ dtype: "f32", shape: [3] }, [1.5, -3, 190.5]));
});

const good = (): TensorProto[] => [
  integersOf("x", int8, [2, 5, 3], pattern(30)),
  scalesOf([2, 3, 3], pattern(18)),
];
const blocked: Attributes = { axis: { int: 1 }, block_size: { int: 2 } };

const refused: readonly (readonly [
  says: RegExp,
  tensors: TensorProto[],
  attributes?: Attributes,
  node?: NodeProto[],
])[] = [
  [
    /must have one scale, or 5 of axis 1, without a block_size; got \[2, 3, 3\] \[O3\]$/,
    good(),
    { block_size: { int: 0 } },
  ],
  [/has block_size = -1 \[O3\]$/, good(), { block_size: { int: -1 } }],
  [
    /must have scales \[2, 2, 3\] of blocks of 3 along axis 1; got \[2, 3, 3\] \[O3\]$/,
    good(),
    { block_size: { int: 3 } },
  ],
  [/has axis 3 of 3 \[O3\]$/, good(), { ...blocked, axis: { int: 3 } }],
  [
    /must have one scale, or 2 of axis 0, .*; got \[3\] \[O3\]$/,
    [good()[0]!, scalesOf([3], [1, 2, 3])],
    { axis: { int: 0 } },
  ],
  [/must have scales of floats; got i32 \[O3\]$/, [good()[0]!, { ...good()[1]!, dataType: element.int32 }]],
  [
    /must have zero points of int8 \[2, 3, 3\]; got int8 \[1\] \[O3\]$/,
    [...good(), integersOf("z", int8, [1], [0])],
    blocked,
  ],
  [
    /must have zero points of int8 .*; got uint8 \[2, 3, 3\] \[O3\]$/,
    [...good(), integersOf("z", uint8, [2, 3, 3], pattern(18))],
    blocked,
  ],
  [
    /is read of integers of 8 and 4 bits in the file, and of int32; got float \[O4\]$/,
    [scalesOf([2], [1, 2]), scalesOf([], [1])].map((t, i) => ({ ...t, name: "xs"[i]! })),
  ],
  [
    /has output_dtype = int64; it must be a float \[O3\]$/,
    good(),
    { ...blocked, output_dtype: { int: element.int64 } },
  ],
  [/has an attribute saturate, which is not read \[O4\]$/, good(), { ...blocked, saturate: { int: 1 } }],
  [
    /must have an input 1 \[O3\]$/,
    good()
      .slice(0, 1)
      .concat({ ...good()[1]!, name: "t" }),
    {},
    [nodeProto("DequantizeLinear", ["x"], ["y"])],
  ],
  [
    /node y \(Add\) has input 0 of int8, which only DequantizeLinear may have \[O4\]$/,
    good(),
    {},
    [nodeProto("Add", ["x", "x"], ["y"])],
  ],
  [
    /^model.onnx: output y has numbers of int8, which only DequantizeLinear may have \[O4\]$/,
    good(),
    {},
    [nodeProto("Identity", ["x"], ["y"])],
  ],
  [
    /^model.onnx: tensor x must have 30 bytes; it has 29 \[O3\]$/,
    [{ ...good()[0]!, rawData: new Uint8Array(29) }, good()[1]!],
    blocked,
  ],
  [
    /^model.onnx: tensor x must have 15 bytes; it has 30 \[O3\]$/,
    [{ ...good()[0]!, dataType: int4 }, good()[1]!],
    blocked,
  ],
  [
    /^model.onnx: tensor x is of element type 17, which is not supported here \[O4\]$/,
    [{ ...good()[0]!, dataType: 17 }, good()[1]!],
    blocked,
  ],
  [
    /\(Cast\) converts to int8, which is not supported here \[O4\]$/,
    good(),
    {},
    [nodeProto("Cast", ["s"], ["y"], { to: { int: int8 } })],
  ],
];

test.each(refused.map(([says, tensors, attributes = {}, node]) => ({ says, tensors, attributes, node })))(
  "$says",
  async ({ says, tensors, attributes, node }) => {
    expect((await importError(modelOf(tensors, attributes, node)))?.message).toMatch(says);
  },
);
