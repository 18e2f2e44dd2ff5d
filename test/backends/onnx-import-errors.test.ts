/** Files that are no ONNX model, or not one that is read, fail in one line that says what and where. */
import { expect, test } from "vitest";

import {
  type AttributeProto,
  decodeModel,
  element,
  encodeModel,
  type FunctionProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  nodeProto,
  type TensorProto,
  tensorProto,
  valueInfoProto,
} from "../../backends/onnx/proto.ts";
import { append, exampleApart, importError, wholeExample } from "../support/onnxExample.ts";

type Edit = (model: ModelProto, graph: GraphProto) => void;

const nodeOf = ({ node }: GraphProto, type: string): NodeProto =>
  node!.find(({ opType }) => opType === type)!;
const tensorOf = ({ initializer }: GraphProto, name: string): TensorProto =>
  initializer!.find((each) => each.name === name)!;

/** Gives an integer attribute of a node another value. */
function setInt(node: NodeProto, name: string, i: number): void {
  const attribute = node.attribute!.find((each: AttributeProto) => each.name === name)!;
  attribute.i = i;
}

const ints = (graph: GraphProto, values: bigint[]): string => {
  const name = `ints ${graph.initializer!.length}`;
  graph.initializer!.push(tensorProto(name, element.int64, [values.length], BigInt64Array.from(values)));
  return name;
};

/** A function of x that gives y, in a domain of its own. */
const functionOf = (name: string, node: NodeProto[], version = 21): FunctionProto => ({
  name,
  domain: "f",
  input: ["x"],
  output: ["y"],
  node,
  opsetImport: [{ domain: "", version }],
});
const calling = (name: string): NodeProto => nodeProto(name, ["x"], ["y"], {}, { domain: "f" });

/** The first input with another type. */
const setInput = (
  graph: GraphProto,
  ...type: Parameters<typeof valueInfoProto> extends [string, ...infer T] ? T : never
): void => void (graph.input![0] = valueInfoProto("x", ...type));

const tests: Readonly<Record<string, readonly (readonly [says: RegExp, edit: Edit])[]>> = {
  "what is no model": [
    [/^is not an ONNX model: it has no graph \[O3\]/, (model) => void delete model.graph],
    [/^is not an ONNX model: it has no version \[O3\]/, (model) => void delete model.irVersion],
    [/^does not say which opset .* \[O3\]/, (model) => void (model.opsetImport = [])],
  ],
  "a version that is not read": [
    [/^is of version 14 of the format; 3 to 13 are read \[O4\]/, (model) => void (model.irVersion = 14)],
    [
      /^is of version 17 of opset; 18 to 26 are read \[O4\]/,
      (model) => void (model.opsetImport![0]!.version = 17),
    ],
    [
      /^is of version 27 of opset; 18 to 26 are read \[O4\]/,
      (model) => void (model.opsetImport![0]!.version = 27),
    ],
    [
      /^is of version 2 of moec's functions; 1 to 1 are read \[O4\]/,
      (model) => void (model.opsetImport![1]!.version = 2),
    ],
    [/^has sparse tensors.* \[O4\]/, (_, graph) => void (graph.sparseInitializer = [{}])],
  ],
  "foreign ops": [
    [
      /^node a\/MoE \(com.microsoft.MoE\) is of an op that is not read \[O4\]/,
      (_, graph) => append(graph, "MoE", ["x"], {}, "com.microsoft"),
    ],
    [/^node a\/X{400,500} \.\.\. \[O4\]$/, (_, graph) => append(graph, "X".repeat(10_000), ["x"])],
    [
      /^node a\/constructor \(constructor\) is of an op that is not read/,
      (_, graph) => append(graph, "constructor", ["x"]),
    ],
    [
      /^node a\/Softmax \(ai.onnx.ml.Softmax\) is of an op/,
      (_, graph) => append(graph, "Softmax", ["x"], {}, "ai.onnx.ml"),
    ],
  ],
  names: [
    [
      /^node a\/Exp \(Exp\) uses nothing, which nothing defines \[O3\]/,
      (_, graph) => append(graph, "Exp", ["nothing"]),
    ],
    [/^node a\/Exp \(Exp\) must have an input 0 \[O3\]/, (_, graph) => append(graph, "Exp", [""])],
    [
      /^node a\/Exp \(Exp\) uses later before it is defined: .*cycles \[O3\]/,
      (_, graph) => void graph.node!.push(nodeProto("Exp", [append(graph, "Exp", ["later"])], ["later"])),
    ],
    [/\(Exp\) defines x again \[O3\]/, (_, graph) => void graph.node!.push(nodeProto("Exp", ["x"], ["x"]))],
    [/^defines x twice \[O3\]/, (_, graph) => void graph.input!.push(graph.input![0]!)],
    [/^defines w twice \[O3\]/, (_, graph) => void graph.initializer!.push(tensorOf(graph, "w"))],
    [/^has a tensor without a name \[O3\]/, (_, graph) => void (graph.input![0]!.name = "")],
    [
      /^has an output nothing that nothing defines \[O3\]/,
      (_, graph) => void (graph.output![0]!.name = "nothing"),
    ],
    [/has more outputs than its op \[O3\]/, (_, graph) => void nodeOf(graph, "MatMul").output!.push("more")],
  ],
  operands: [
    [
      /^node a\/Add \(Add\) has shapes that do not broadcast: \[2, 4, 3\] and \[3, 5\] \[O3\]/,
      (_, graph) => append(graph, "Add", ["x", "w"]),
    ],
    [
      /^node a\/Add \(Add\) must have inputs of one type; got float, uint32 \[O3\]/,
      (_, graph) => append(graph, "Add", ["x", "u"]),
    ],
    [
      /^node a\/Dispatch \(moec.Dispatch\) cannot be: dispatch: .* \[O3\]/,
      (_, graph) => append(graph, "Dispatch", ["x", "x"], {}, "moec"),
    ],
    [
      /^node a\/Reshape \(Reshape\) makes \[7\] of 24 elements \[O3\]/,
      (_, graph) => append(graph, "Reshape", ["x", ints(graph, [7n])]),
    ],
    [
      /^node a\/Reshape \(Reshape\) has an input 1 that is known only when the program runs \[O4\]/,
      (_, graph) => append(graph, "Reshape", ["x", "x"]),
    ],
    [
      /^node a\/Squeeze \(Squeeze\) drops axes \[0\] of \[2, 4, 3\] \[O3\]/,
      (_, graph) => append(graph, "Squeeze", ["x", ints(graph, [0n])]),
    ],
    [
      /^node a\/Slice \(Slice\) has steps other than 1 \[O4\]/,
      (_, graph) =>
        append(graph, "Slice", [
          "x",
          ints(graph, [0n]),
          ints(graph, [2n]),
          ints(graph, [0n]),
          ints(graph, [2n]),
        ]),
    ],
    [
      /^node a\/Unsqueeze \(Unsqueeze\) names an axis twice \[O3\]/,
      (_, graph) => append(graph, "Unsqueeze", ["x", ints(graph, [1n, -4n])]),
    ],
    [
      /^node a\/Expand \(Expand\) makes a shape \[.*\] \[O3\]/,
      (_, graph) => append(graph, "Expand", ["x", ints(graph, [2n ** 40n, 2n ** 40n, 1n, 1n, 1n])]),
    ],
    [
      /^node a\/Expand \(Expand\) makes a shape \[.*\] \[O3\]/,
      (_, graph) => append(graph, "Expand", ["x", ints(graph, Array<bigint>(40).fill(1n))]),
    ],
    [
      /^node a\/Exp \(Exp\) computes with a constant of more than 16 different numbers, which must be a weight/,
      (_, graph) => {
        const many = ints(
          graph,
          Array.from({ length: 20 }, (__, i) => BigInt(i)),
        );
        append(graph, "Exp", [append(graph, "Cast", [many], { to: { int: element.float } })]);
      },
    ],
  ],
  attributes: [
    [
      /^node a\/Softmax \(Softmax\) has axis 3 of 3 \[O3\]/,
      (_, graph) => append(graph, "Softmax", ["x"], { axis: { int: 3 } }),
    ],
    [
      /^node a\/Softmax \(Softmax\) must have an integer as attribute axis \[O3\]/,
      (_, graph) => append(graph, "Softmax", ["x"], { axis: { float: 1 } }),
    ],
    [
      /must have an integer as attribute capacity \[O3\]/,
      (_, graph) => setInt(nodeOf(graph, "RouteByGate"), "capacity", 2 ** 60),
    ],
    [/^node a\/Cast \(Cast\) must have an attribute to \[O3\]/, (_, graph) => append(graph, "Cast", ["x"])],
    [
      /^node a\/Exp \(Exp\) has an attribute base, which is not read \[O4\]/,
      (_, graph) => append(graph, "Exp", ["x"], { base: { int: 2 } }),
    ],
    [
      /^node a\/CumSum \(CumSum\) has reverse = 1; only 0 is read \[O4\]/,
      (_, graph) => append(graph, "CumSum", ["x", ints(graph, [0n])], { reverse: { int: 1 } }),
    ],
    [
      /^node a\/Gelu \(Gelu\) has approximate = sigmoid \[O3\]/,
      (_, graph) => append(graph, "Gelu", ["x"], { approximate: { text: "sigmoid" } }),
    ],
    [
      /combines what it scatters by mul, which is not read \[O4\]/,
      (_, graph) => {
        const places = append(graph, "Cast", ["u"], { to: { int: element.int32 } });
        append(graph, "ScatterElements", ["u", places, "u"], { reduction: { text: "mul" } });
      },
    ],
    [
      /^node a\/Less \(Less\) has 64-bit integers that may lie beyond 32 bits/,
      (_, graph) => {
        const places = append(graph, "Cast", ["u"], { to: { int: element.int32 } });
        const wide = append(graph, "Cast", ["u"], { to: { int: element.int64 } });
        const scattered = append(graph, "ScatterElements", [wide, places, wide], {
          reduction: { text: "add" },
        });
        append(graph, "Less", [scattered, wide]);
      },
    ],
    [
      /must have logits of 6 experts \[O3\]/,
      (_, graph) => setInt(nodeOf(graph, "RouteByGate"), "experts", 6),
    ],
  ],
  "element types": [
    [
      /^node a\/Less \(Less\) has 64-bit integers that may lie beyond 32 bits \[O4\]/,
      (_, graph) => {
        const wide = append(graph, "Cast", ["u"], { to: { int: element.int64 } });
        const sum = append(graph, "Add", [wide, wide]);
        append(graph, "Less", [sum, wide]);
      },
    ],
    [
      /^node a\/Less \(Less\) has 64-bit integers that may lie beyond 32 bits/,
      (_, graph) => {
        const wide = append(graph, "Cast", ["u"], { to: { int: element.int64 } });
        const signed = append(graph, "Cast", ["u"], { to: { int: element.int32 } });
        append(graph, "Less", [append(graph, "Cast", [signed], { to: { int: element.int64 } }), wide]);
      },
    ],
    [
      /^node a\/Max \(Max\) has 64-bit integers that may lie beyond 32 bits/,
      (_, graph) => {
        const wide = append(graph, "Cast", ["u"], { to: { int: element.int64 } });
        append(graph, "Max", [wide, ints(graph, [-1n])]);
      },
    ],
    [
      /^node a\/Cast \(Cast\) has 64-bit integers that may lie beyond 32 bits/,
      (_, graph) => {
        const wide = append(graph, "Cast", ["u"], { to: { int: element.int64 } });
        const sum = append(graph, "ReduceSum", [wide]);
        append(graph, "Cast", [sum], { to: { int: element.float } });
      },
    ],
    [
      /^node a\/ReduceMax \(ReduceMax\) has 64-bit integers that may lie beyond 32 bits/,
      (_, graph) => {
        const wide = append(graph, "Cast", ["u"], { to: { int: element.int64 } });
        append(graph, "ReduceMax", [append(graph, "CumSum", [wide, ints(graph, [0n])])]);
      },
    ],
    [
      /^node a\/GatherElements \(GatherElements\) has 64-bit integers that may lie beyond 32 bits/,
      (_, graph) => {
        const wide = append(graph, "Cast", ["u"], { to: { int: element.int64 } });
        append(graph, "GatherElements", ["u", append(graph, "Mul", [wide, wide])]);
      },
    ],
    [
      /^node a\/Cast \(Cast\) converts double to float, which is not read/,
      (_, graph) => {
        const wide = append(graph, "Cast", ["x"], { to: { int: element.double } });
        graph.initializer!.push(tensorProto("one", element.double, [], Float64Array.of(1)));
        append(graph, "Cast", [append(graph, "Min", [wide, "one"])], { to: { int: element.float } });
      },
    ],
    [
      /\(Cast\) converts float to int64, which is not read \[O4\]/,
      (_, graph) => append(graph, "Cast", ["x"], { to: { int: element.int64 } }),
    ],
    [
      /\(Cast\) converts to element type 17, which is not supported here \[O4\]/,
      (_, graph) => append(graph, "Cast", ["x"], { to: { int: 17 } }),
    ],
    [
      /\(Cast\) converts double to int32, which is not read \[O4\]/,
      (_, graph) =>
        append(graph, "Cast", [append(graph, "Cast", ["x"], { to: { int: element.double } })], {
          to: { int: element.int32 },
        }),
    ],
    [
      /^node a\/Exp \(Exp\) has input 0 of double, which is not supported here \[O4\]/,
      (_, graph) => append(graph, "Exp", [append(graph, "Cast", ["x"], { to: { int: element.double } })]),
    ],
  ],
  "inputs and outputs": [
    [
      /^input x is of int64, which is not supported here \[O4\]/,
      (_, graph) => setInput(graph, element.int64, [2]),
    ],
    [/^input x must be a tensor \[O4\]/, (_, graph) => void (graph.input![0]!.type = { sequenceType: {} })],
    [/^input x has no shape \[O4\]/, (_, graph) => void delete graph.input![0]!.type!.tensorType!.shape],
    [
      /^input x has an axis with neither a size nor a name \[O4\]/,
      (_, graph) => setInput(graph, element.float, [0]),
    ],
    [
      /^has axes of two names, n and m: only a batch is read \[O4\]/,
      (_, graph) => setInput(graph, element.float, ["n", "m"]),
    ],
    [
      /^input x has an axis n\/2: not for a batch of 1 \[O4\]/,
      (_, graph) => setInput(graph, element.float, ["n/2"]),
    ],
    [
      /^output z must be f32\[2, 4, 9\]; it comes out as f32\[2, 4, 3\] \[O3\]/,
      (_, graph) => void (graph.output![0] = valueInfoProto("z", element.float, [2, 4, 9])),
    ],
    [
      /^output z must be i32\[2, 4, 3\]; .* \[O3\]/,
      (_, graph) => void (graph.output![0] = valueInfoProto("z", element.int32, [2, 4, 3])),
    ],
    [
      /^output new\d+ has numbers of int64, which is not supported here \[O4\]/,
      (_, graph) => void (graph.output![0]!.name = append(graph, "Shape", ["x"])),
    ],
  ],
  functions: [
    [
      /\(f.a\) calls itself|\(f.a\) .*: f.a, f.b, f.a \[O3\]/,
      (model, graph) => {
        model.functions!.push(functionOf("a", [calling("b")]), functionOf("b", [calling("a")]));
        append(graph, "a", ["x"], {}, "f");
      },
    ],
    [
      /is called by 32 functions, one in the other \[O4\]/,
      (model, graph) => {
        for (let n = 0; n < 40; n++) model.functions!.push(functionOf(`f${n}`, [calling(`f${n + 1}`)]));
        append(graph, "f0", ["x"], {}, "f");
      },
    ],
    [
      /^node a\/g \(f.g\) has a function without its output y \[O3\]/,
      (model, graph) => {
        model.functions!.push(functionOf("g", []));
        append(graph, "g", ["x"], {}, "f");
      },
    ],
    [
      /^node a\/g \(f.g\) has more inputs than its function \[O3\]/,
      (model, graph) => {
        model.functions!.push(functionOf("g", [nodeProto("Exp", ["x"], ["y"])]));
        append(graph, "g", ["x", "x"], {}, "f");
      },
    ],
    [
      /^is of version 30 of opset/,
      (model, graph) => {
        model.functions!.push(functionOf("g", [], 30));
        append(graph, "g", ["x"], {}, "f");
      },
    ],
    [
      /^node a\/y \(Exp\) has input 0 of double|^node a\/y \(Nothing\) is of an op/,
      (model, graph) => {
        model.functions!.push(functionOf("g", [nodeProto("Nothing", ["x"], ["y"])]));
        append(graph, "g", ["x"], {}, "f");
      },
    ],
  ],
};

const cases = Object.entries(tests).flatMap(([topic, edits]) =>
  edits.map(([says, edit]) => ({ topic, says, edit })),
);

test.each(cases)("$topic: $says", async ({ says, edit }) => {
  const model = decodeModel(exampleApart());
  edit(model, model.graph!);
  const error = await importError(encodeModel(model));
  expect(error?.message.slice("model.onnx: ".length)).toMatch(says);
});

test("a batch is that of a model without an open axis, and at least 1", async () => {
  expect(await importError(await wholeExample(), { batch: 2 })).toBeUndefined();
  expect((await importError(await wholeExample(), { batch: 3 }))?.message).toMatch(
    /: is for a batch of 2; got 3 \[O4\]/,
  );
  expect((await importError(await wholeExample(), { batch: 0 }))?.message).toMatch(
    /: cannot have a batch of 0 \[O4\]/,
  );
});

test.each(["", "hello, these are words", "{}", "<html>", "\n\n\n\n"])("%j is no model", async (text) => {
  const error = await importError(new TextEncoder().encode(text));
  expect(error?.message).toMatch(/^model.onnx: is not an ONNX model: .* \[O3\]$/);
});
