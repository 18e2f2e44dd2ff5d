/** Programs of rows: what they take in, and that they compute what its applications compute one by one. */
import { describe, expect, test } from "vitest";

import { type Profile, profiles } from "../../backends/webgpu/index.ts";
import { input, ops, sizeOf, Tensor, type Value } from "../../ir/index.ts";
import { both, expectSame, graphOf, labels, launches } from "../support/fusion.ts";

const [software, generic] = profiles as [Profile, Profile];
const onCpu = await both(software);
const onGpu = await both(generic);

const f32 = (name: string, ...shape: number[]): Value => input(name, { dtype: "f32", shape });

/** The largest entry of each row. */
const best = (made: Value): Value => ops.topK(made, { k: 1 }).values;

/** The inputs that values are made of. */
const leavesOf = (values: readonly Value[]): readonly Value[] => [
  ...new Set(values.flatMap((value) => (value.node ? leavesOf(value.node.operands) : [value]))),
];

describe("what a thread makes of a row", () => {
  const [x, w] = [f32("x", 4, 8), f32("w", 4, 4)];
  const rowOf = (made: Value): Value => ops.broadcast(made, { shape: x.type.shape });
  const [sums, powers] = [ops.reduceSum(x), ops.softmax(x)];
  const cases: Readonly<Record<string, readonly [outputs: readonly Value[], ...labels: string[]]>> = {
    "all that is made of rows": [
      [ops.divide(x, rowOf(best(ops.softmax(x))))],
      "softmax + top_k + broadcast + divide",
    ],
    "what is returned on the way, too": [
      [sums, best(ops.multiply(x, rowOf(sums)))],
      "reduce_sum + broadcast + multiply + top_k",
    ],
    "shorter rows in longer ones": [
      [ops.reduceSum(ops.reshape(ops.softmax(ops.reshape(x, { shape: [4, 2, 4] })), { shape: [4, 8] }))],
      "softmax + reduce_sum",
    ],
    "what moves within a row": [
      [ops.reduceMax(ops.transpose(ops.reshape(ops.cumsum(x), { shape: [4, 2, 4] }), { perm: [0, 2, 1] }))],
      "cumsum + transpose + reduce_max",
    ],
    "nothing that moves to another row": [
      [ops.softmax(ops.transpose(ops.softmax(ops.transpose(x, { perm: [1, 0] })), { perm: [1, 0] }))],
      "transpose",
      "softmax",
      "transpose",
      "softmax",
    ],
    "nothing around what comes between": [
      [ops.softmax(ops.add(ops.matmul(w, powers), powers))],
      "softmax",
      "matmul + add",
      "softmax",
    ],
    "no application over rows alone": [[ops.divide(x, rowOf(sums))], "reduce_sum", "broadcast + divide"],
    "no rows that are long": [[best(ops.softmax(f32("long", 4, 257)))], "softmax", "top_k"],
    "nothing that is made once": [
      [best(ops.add(x, ops.softmax(ops.constant({ value: 1, to: "f32", shape: [4, 8] }))))],
      "constant",
      "softmax",
      "add",
      "top_k",
    ],
  };
  test.each(Object.entries(cases))("%s", async (_, [outputs, ...want]) => {
    expect(labels(outputs)).toEqual(want);
    const graph = graphOf(outputs, leavesOf(outputs));
    const inputs = new Map(
      graph.inputs.map(({ leaf, type }) => [
        leaf!.name,
        Tensor.from(
          type,
          Array.from({ length: sizeOf(type.shape) }, (__, i) => Math.sin(1.37 * i)),
        ),
      ]),
    );
    for (const engines of [onCpu, onGpu]) await expectSame(engines, graph, inputs, { bitwise: false });
  });

  test("as many values as buffers can be bound", () => {
    const most = software.limits.maxStorageBuffersPerShaderStage;
    const others = Array.from({ length: most + 2 }, (_, n) => f32(`other${n}`, 4, 8));
    const chain = others.reduce((made, other) => ops.add(ops.cumsum(made), other), x);
    for (const { bindings, label } of launches([ops.softmax(chain)]))
      expect(bindings.length, label).toBeLessThanOrEqual(most);
    expect(launches([ops.softmax(chain)]).length).toBeLessThan(5);
  });
});
