/** Programs of rows: what they take in, and that they compute what its applications compute one by one. */
import { describe, expect, test } from "vitest";

import { reference } from "../../backends/reference/index.ts";
import { dawn } from "../../backends/webgpu/dawn.ts";
import { type Profile, profiles } from "../../backends/webgpu/index.ts";
import { input, ops, sizeOf, Tensor, type Value } from "../../ir/index.ts";
import { createModel, probing, randomWeights, routers } from "../../models/index.ts";
import { expectClose } from "../support/close.ts";
import { noWeights } from "../support/engines.ts";
import { both, expectSame, graphOf, labels, launches } from "../support/fusion.ts";
import { drawn } from "../support/moeLayer.ts";
import { someOf } from "../support/runs.ts";

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

/** Both engines compute what they do apart, on numbers of any kind. */
async function expectTogether(outputs: readonly Value[]): Promise<void> {
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
}

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
    "rows that others are parts of": [
      [ops.softmax(ops.reshape(ops.softmax(x), { shape: [2, 16] }))],
      "softmax + softmax",
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
    "no rows that are long": [[best(ops.softmax(f32("long", 16, 129)))], "softmax", "top_k"],
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
    await expectTogether(outputs);
  });

  test("no more rows than a thread is promised room for", () => {
    let chain = f32("wide", 64, 128);
    for (let n = 0; n < 20; n++) chain = ops.add(ops.cumsum(chain), ops.exp(chain));
    const programs = launches([ops.softmax(chain)]).map(({ wgsl }) => wgsl);
    const bytes = programs.map((wgsl) =>
      [...wgsl.matchAll(/var<private> \w+: array<\w+, (\d+)>/g)].reduce(
        (sum, [, n]) => sum + 4 * Number(n),
        0,
      ),
    );
    expect(Math.max(...bytes)).toBeGreaterThan(4096);
    for (const of of bytes) expect(of).toBeLessThanOrEqual(8188);
  });

  test("a part of one row lies where the row is", async () => {
    const row = ops.cumsum(ops.exp(f32("one", 1, 16)));
    const part = ops.slice(row, { start: [0, 0], limit: [1, 8] });
    await expectTogether([row, part, ops.softmax(part)]);
  });

  test("choices are entries beside what is no number, too", async () => {
    const outputs = [ops.topK(ops.softmax(x), { k: 3 }).indices];
    expect(labels(outputs)).toEqual(["softmax + top_k"]);
    const numbers = Array.from({ length: 32 }, (_, i) => (i % 9 === 0 ? Number.NaN : i));
    const executable = await onCpu[0].compile(graphOf(outputs, [x]), noWeights);
    const chosen = (await executable.run(new Map([["x", Tensor.from(x.type, numbers)]]))).get("r0")!;
    executable.dispose();
    expect(chosen.numbers().every((at) => at >= 0 && at < 8)).toBe(true);
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

/** A norm of tokens so wide, and their product. */
const logitsOf = (width: number): { readonly items: Value; readonly logits: Value } =>
  ops.normAndLogits(f32("x", 1, 4, width), f32("scale", width), f32("bias", width), f32("kernel", width, 8), {
    epsilon: 1e-6,
    through: "f32",
  });

/** What belongs to the first token alone. */
const firstOf = (made: Value): Value => ops.slice(made, { start: [0, 0, 0], limit: [1, 1, 8] });

describe("what goes on from a product", () => {
  const [{ items, logits }, short] = [logitsOf(320), logitsOf(8)];
  const chosen = best(ops.softmax(logits));
  const shared = ops.broadcast(ops.reduceSum(items), { shape: logits.type.shape });
  const others = [...Array(3).keys()].map((n) => f32(`other${n}`, 1, 4, 8));
  const far = ops.softmax(ops.reshape(logits, { shape: [2, 16] }));
  const cases: Readonly<Record<string, readonly [outputs: readonly Value[], ...labels: string[]]>> = {
    "a choice by it": [[items, chosen], "norm_and_logits + softmax + top_k"],
    "the product returned, too": [[items, chosen, logits], "norm_and_logits + softmax + top_k"],
    "what is not the choice of its own rows": [
      [best(ops.cumsum(far))],
      "norm_and_logits",
      "softmax + cumsum + top_k",
    ],
    "what needs the items": [
      [best(ops.softmax(ops.add(short.logits, short.items)))],
      "norm_and_logits",
      "add + softmax + top_k",
    ],
    "what needs something made of the items": [
      [best(ops.softmax(ops.add(logits, shared)))],
      "norm_and_logits",
      "reduce_sum",
      "broadcast + add + softmax + top_k",
    ],
    "what reads rows of others": [
      [best(ops.softmax(ops.reshape(ops.transpose(logits, { perm: [0, 2, 1] }), { shape: [1, 4, 8] })))],
      "norm_and_logits",
      "transpose + softmax + top_k",
    ],
    "what reads the row of one for all": [
      [best(ops.softmax(ops.add(logits, ops.broadcast(firstOf(logits), { shape: logits.type.shape }))))],
      "norm_and_logits",
      "broadcast + add + softmax + top_k",
    ],
    "more than buffers can be bound": [
      [items, best(ops.softmax(others.reduce((a, b) => ops.add(a, b), logits)))],
      "norm_and_logits",
      "add + add + add + softmax + top_k",
    ],
  };
  test.each(Object.entries(cases))("%s", async (_, [outputs, ...want]) => {
    expect(labels(outputs)).toEqual(want);
    await expectTogether(outputs);
  });
});

const place = [...routers.keys()].indexOf("GroupLimitedRouter");

test.each(someOf([...routers], place))(
  "by the threads of a GPU, rows are what %s declares",
  async (name, router) => {
    const dispatcher = router.keys.includes("dispatcher") && { dispatcher: { capacity_factor: 1 } };
    const moe = { num_experts: 8, layers: [0], group_size: 16, router: { name, ...dispatcher } };
    const encoder = { num_layers: 1, mlp_dim: 8, num_heads: 1, moe };
    const config = { num_classes: 4, patch_size: [4, 4], hidden_size: 16, classifier: "gap", encoder };
    const { graph, parameters } = createModel(config, { batch: 2, imageSize: [16, 16] });
    const outputs = [...graph.outputs.keys()].filter((output) => !output.endsWith("loss"));
    const weights = randomWeights(probing(parameters), 0);
    const image = new Map([["image", drawn("image", graph.inputs[0]!.type.shape)]]);
    const engine = await reference.open();
    const [want, got] = await Promise.all(
      [engine, onGpu[0]].map(async (each) => {
        const executable = await each.compile(graph.select(outputs), weights);
        const found = await executable.run(image);
        executable.dispose();
        return outputs.map((output) => found.get(output)!);
      }),
    );
    expectClose(got!, want!, dawn.tolerance);
  },
);
