/** Tensors of a file: weights in the message or another file, read when asked for, and what is wrong with them. */
import { describe, expect, test } from "vitest";

import { exportOnnx, embedded, importOnnx } from "../../backends/onnx/index.ts";
import {
  decodeModel,
  element,
  encodeModel,
  type FunctionProto,
  type GraphProto,
  type NodeProto,
  nodeProto,
  type TensorProto,
  tensorProto,
  valueInfoProto,
} from "../../backends/onnx/proto.ts";
import type { ByteSource } from "../../files/bytes.ts";
import { evaluate, Graph, Tensor, verify, weight, type WeightSource } from "../../ir/index.ts";
import { noWeights } from "../support/engines.ts";
import { allOf, append, exampleApart, importError, inTwoFiles } from "../support/onnxExample.ts";

describe("weights", () => {
  const leaves = (["f32", "f16", "bf16", "i32", "u32", "bool"] as const).map((dtype) =>
    weight(dtype, { dtype, shape: [4, 3] }),
  );
  const tensors = new Map(
    leaves.map(({ type }) => [
      type.dtype as string,
      Tensor.of(type.dtype, [4, 3], (i, j) => (i * 3 + j) % 5),
    ]),
  );
  const graph = new Graph(
    "weights",
    [],
    leaves.map((leaf) => [`out/${leaf.type.dtype}`, leaf]),
  );
  const source: WeightSource = { ...noWeights, read: (name) => Promise.resolve(tensors.get(name)!) };
  const program = exportOnnx(graph);

  test("of every dtype are read by rows, from the message as from another file", async () => {
    for (const [bytes, options] of [
      await inTwoFiles(program, source),
      [await embedded(program, source), {}] as const,
    ]) {
      const { weights, graph: imported } = await importOnnx(bytes, options);
      expect([...weights.tensors.keys()]).toEqual([...tensors.keys()]);
      const read = await allOf(weights);
      const got = evaluate(imported, ({ leaf }) => read.get(leaf!.name));
      for (const [name, tensor] of tensors)
        expect(got.get(`out/${name}`)?.numbers()).toEqual(tensor.numbers());
      for (const [name, tensor] of tensors) {
        const rows = await weights.read(name, [1, 3]);
        expect(rows.type).toEqual({ dtype: name === "bf16" ? "f32" : name, shape: [2, 3] });
        expect(Array.from(rows.numbers())).toEqual(Array.from(tensor.numbers()).slice(3, 9));
      }
      await expect(weights.read("none")).rejects.toThrow("model: has no tensor none [O3]");
    }
  });

  test("lie in a file that is opened once, read only where it is asked for, and closed", async () => {
    const [bytes, { openData }] = await inTwoFiles(program, source);
    const log: string[] = [];
    const logged = async (location: string): Promise<ByteSource> => {
      const file = await openData!(location);
      log.push(`open ${location}`);
      return {
        ...file,
        read: (offset, length) => (log.push(`read ${length}`), file.read(offset, length)),
        close: () => (log.push("close"), file.close()),
      };
    };
    const { weights } = await importOnnx(bytes, { openData: logged });
    await weights.read("f16", [1, 3]);
    await weights.close();
    expect(log).toEqual(["open weights/model.data", "read 12", "close"]);
    log.length = 0;
    const broken = decodeModel(bytes);
    broken.graph!.node!.push(nodeProto("Nothing", [], ["z"]));
    await expect(importOnnx(encodeModel(broken), { openData: logged })).rejects.toThrow(/\(Nothing\)/);
    expect(log).toEqual(["open weights/model.data", "close"]);
  });
});

/** The function x times a tensor of two numbers. */
const weighted = (name: string, ...numbers: number[]): FunctionProto => ({
  name,
  domain: "f",
  input: ["x"],
  output: ["y"],
  opsetImport: [{ domain: "", version: 21 }],
  node: [
    nodeProto("Constant", [], ["c"], {
      value: { tensor: tensorProto("", element.float, [2], Float32Array.from(numbers)) },
    }),
    nodeProto("Mul", ["x", "c"], ["y"]),
  ],
});

const calling = (name: string, x: string, y: string): NodeProto =>
  nodeProto(name, [x], [y], {}, { domain: "f" });

test("a tensor in a function is one weight, however often it is called", async () => {
  const bytes = encodeModel({
    irVersion: 10,
    opsetImport: [{ domain: "", version: 21 }],
    functions: [weighted("g", 2, 3), weighted("h", 5, 7)],
    graph: {
      name: "calls",
      node: [calling("g", "x", "a"), calling("g", "a", "b"), calling("h", "b", "y")],
      input: [valueInfoProto("x", element.float, [2])],
      output: [valueInfoProto("y", element.float, [2])],
    },
  });
  const { graph, weights } = await importOnnx(bytes);
  verify(graph);
  expect([...weights.tensors.keys()]).toEqual(["c", "c_2"]);
  const tensors = new Map([...(await allOf(weights)), ["x", Tensor.of("f32", [2], () => 1)]]);
  expect(evaluate(graph, ({ leaf }) => tensors.get(leaf!.name)).get("y")?.data).toEqual(
    Float32Array.of(20, 63),
  );
});

const ints = (graph: GraphProto, values: bigint[]): void => {
  graph.initializer!.push(tensorProto("many", element.int64, [values.length], BigInt64Array.from(values)));
};
const tensorOf = ({ initializer }: GraphProto, name: string): TensorProto =>
  initializer!.find((each) => each.name === name)!;

/** Sets an entry of where the weight `w` lies. */
function place(graph: GraphProto, key: string, value: string): void {
  const entries = tensorOf(graph, "w").externalData!;
  entries.splice(0, entries.length, ...entries.filter((each) => each.key !== key), { key, value });
}

type Edit = (graph: GraphProto) => unknown;

const broken: Readonly<Record<string, readonly (readonly [says: RegExp, edit: Edit])[]>> = {
  tensors: [
    [
      /^tensor w is of element type 8, which is not supported here \[O4\]/,
      (graph) => void (tensorOf(graph, "w").dataType = 8),
    ],
    [/^tensor w has sizes that no tensor has \[O3\]/, (graph) => void (tensorOf(graph, "w").dims = [-3, -5])],
    [
      /^tensor w has sizes that no tensor has \[O3\]/,
      (graph) => void (tensorOf(graph, "w").dims = [2 ** 31, 2 ** 31]),
    ],
    [
      /^tensor w must have 4000000000000 bytes; it has 60 \[O3\]/,
      (graph) => void (tensorOf(graph, "w").dims = [10 ** 6, 10 ** 6]),
    ],
    [/must have 8000000 bytes; it has \d+ \[O3\]/, (graph) => void (graph.initializer![0]!.dims = [10 ** 6])],
    [
      /^tensor many has 5000 numbers of int64; at most 4096 are read \[O4\]/,
      (graph) => ints(graph, Array<bigint>(5000).fill(1n)),
    ],
    [
      /^tensor a\/Constant of a node must not lie in another file \[O3\]/,
      (graph) => append(graph, "Constant", [], { value: { tensor: tensorOf(graph, "w") } }),
    ],
  ],
  "weights in another file": [
    [
      /^tensor w lies in "\/etc\/passwd": the path escapes the model's folder \[O3\]/,
      (graph) => place(graph, "location", "/etc/passwd"),
    ],
    [/^tensor w lies in ".*": the path escapes/, (graph) => place(graph, "location", "a/../../w.data")],
    [/^tensor w lies in ".*": the path escapes/, (graph) => place(graph, "location", "..")],
    [/^tensor w lies in ".*": the path escapes/, (graph) => place(graph, "location", "%2E./w.data")],
    [/^tensor w lies in ".*": the path escapes/, (graph) => place(graph, "location", "a\\w.data")],
    [/^tensor w lies in ".*": the path escapes/, (graph) => place(graph, "location", "c:w.data")],
    [/^tensor w lies in ".*": the path escapes/, (graph) => place(graph, "location", "https://w.data")],
    [/^tensor w lies in "": the path escapes/, (graph) => place(graph, "location", "")],
    [
      /^tensor w has offset = "-4", which is no number of bytes \[O3\]/,
      (graph) => place(graph, "offset", "-4"),
    ],
    [/^tensor w has offset = "9{20}", which is no number/, (graph) => place(graph, "offset", "9".repeat(20))],
    [/^tensor w has length = "0x3c", which is no number/, (graph) => place(graph, "length", "0x3c")],
    [/^tensor w must have 60 bytes; it has 64 \[O3\]/, (graph) => place(graph, "length", "64")],
    [
      /^tensor w lies beyond the end of w.data: needs 9060 bytes, has 256 \[O3\]/,
      (graph) => place(graph, "offset", "9000"),
    ],
    [
      /^tensor w lies beyond the end of w.data: needs 257 bytes, has 256 \[O3\]/,
      (graph) => place(graph, "offset", "197"),
    ],
  ],
};

const cases = Object.entries(broken).flatMap(([topic, edits]) =>
  edits.map(([says, edit]) => ({ topic, says, edit })),
);

test.each(cases)("$topic: $says", async ({ says, edit }) => {
  const model = decodeModel(exampleApart());
  edit(model.graph!);
  const error = await importError(encodeModel(model));
  expect(error?.message.slice("model.onnx: ".length)).toMatch(says);
});

test("files of weights that nothing opens, or that are not there", async () => {
  const unopened = await importError(exampleApart(), {});
  expect(unopened?.message).toMatch(/tensor w lies in w.data, and nothing was given to open it with \[O3\]/);
  const missing = await importError(exampleApart(), {
    openData: () => Promise.reject(new Error("no such file")),
  });
  expect(missing?.message).toMatch(/tensor w lies in w.data, which cannot be opened: no such file \[O3\]/);
});
