/** Whatever the bytes, reading a model ends soon, in a program or in an error of one line. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { readers } from "../../backends/onnx/import/readers/index.ts";
import {
  decodeModel,
  element,
  encodeModel,
  type GraphProto,
  type ModelProto,
  nodeProto,
  tensorProto,
} from "../../backends/onnx/proto.ts";
import { append, importError, wholeExample } from "../support/onnxExample.ts";
import { runs } from "../support/runs.ts";

const types = [...readers.keys()];

/** Gives a node another's op, inputs or attributes, or a constant another's numbers. */
function exchange({ node, initializer }: GraphProto, kind: number, i: number, j: number): void {
  const [one, other] = [node![i % node!.length]!, node![j % node!.length]!];
  const [tensor, another] = [initializer![i % initializer!.length]!, initializer![j % initializer!.length]!];
  const edits = [
    () => (one.opType = types[j % types.length]!),
    () => (one.input = i % 2 ? other.input! : one.input!.toReversed()),
    () => (one.attribute = other.attribute!),
    () => one.input!.splice(i % 3, i % 2, other.input![0] ?? "", another.name!),
    () => Object.assign(tensor, { ...another, name: tensor.name }),
  ];
  edits[kind % edits.length]!();
}

describe.each([false, true])("a model with inline %s", async (inline) => {
  const bytes = await wholeExample({ inline });

  test("is read", async () => {
    expect(await importError(bytes)).toBeUndefined();
  });

  test("with other bytes", async () => {
    const flips = fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(flips, async (places) => {
        const mutated = bytes.slice();
        for (const [at, byte] of places) mutated[at] = byte;
        await importError(mutated);
      }),
      { numRuns: runs(400) },
    );
  });

  test("with nodes that have each other's ops, inputs and attributes", async () => {
    const edit = fc.tuple(fc.nat(4), fc.nat(1000), fc.nat(1000));
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 5 }), async (edits) => {
        const model = decodeModel(bytes);
        for (const [kind, i, j] of edits) exchange(model.graph!, kind, i, j);
        await importError(encodeModel(model));
      }),
      { numRuns: runs(400) },
    );
  });

  test("cut off anywhere", async () => {
    const lengths = fc.nat(bytes.length - 1);
    await fc.assert(
      fc.asyncProperty(lengths, async (length) => {
        await importError(bytes.slice(0, length));
      }),
      { numRuns: runs(200) },
    );
  });
});

type Edit = (model: ModelProto, graph: GraphProto) => void;

const bombs: Readonly<Record<string, readonly [says: RegExp, edit: Edit]>> = {
  "functions that call the next one twice": [
    /has more than 262144 nodes, functions expanded \[O4\]/,
    (model, graph) => {
      for (let n = 0; n < 24; n++) {
        const [name, domain] = n === 23 ? ["Identity", ""] : [`f${n + 1}`, "f"];
        const node = [
          nodeProto(name, ["x"], ["m"], {}, { domain }),
          nodeProto(name, ["m"], ["y"], {}, { domain }),
        ];
        const opsetImport = [{ domain: "", version: 21 }];
        model.functions!.push({ name: `f${n}`, domain: "f", input: ["x"], output: ["y"], node, opsetImport });
      }
      append(graph, "f0", ["x"], {}, "f");
    },
  ],
  "lists that double": [
    /\(Concat\) computes with a constant of more than 16 different numbers/,
    (_, graph) => {
      graph.initializer!.push(tensorProto("pair", element.int64, [2], BigInt64Array.of(1n, 2n)));
      let list = "pair";
      for (let n = 0; n < 40; n++) list = append(graph, "Concat", [list, list], { axis: { int: 0 } });
    },
  ],
  "a range beyond memory": [
    /\(Range\) is read for int32, and for few int64 numbers \[O4\]/,
    (_, graph) => {
      const limits = [0n, 2n ** 40n, 1n].map((value, i) =>
        tensorProto(`r${i}`, element.int64, [], BigInt64Array.of(value)),
      );
      graph.initializer!.push(...limits);
      append(
        graph,
        "Range",
        limits.map(({ name }) => name!),
      );
    },
  ],
};

test.each(Object.entries(bombs))("%s", async (_, [says, edit]) => {
  const model = decodeModel(await wholeExample());
  edit(model, model.graph!);
  expect((await importError(encodeModel(model)))?.message).toMatch(says);
});
