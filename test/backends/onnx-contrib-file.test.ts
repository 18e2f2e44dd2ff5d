/** What of an MoE layer is written for com.microsoft.MoE: weights in its order, and nothing that it would not mean. */
import { describe, expect, test } from "vitest";

import { exportOnnx, type OnnxProgram } from "../../backends/onnx/export.ts";
import { writeGraph } from "../../backends/onnx/graph.ts";
import { operator } from "../../backends/onnx/operator.ts";
import { contribOperators } from "../../backends/onnx/operators/contrib.ts";
import {
  defineOp,
  Graph,
  input,
  ops,
  scoped,
  type Shape,
  Tensor,
  type Value,
  weight,
  type WeightSource,
} from "../../ir/index.ts";
import { createModel } from "../../models/index.ts";
import { distance } from "../support/close.ts";
import { expectOneLine } from "../support/errors.ts";
import { tinyVmoe } from "../support/golden.ts";
import {
  expertWeights,
  f32,
  inMemory,
  inputsFor,
  layer,
  moeNodes,
  referenceOutput,
  runOnnx,
  weightNames,
  weightsFor,
} from "../support/moeLayer.ts";

const sizes = { G: 2, T: 5, E: 3, D: 4, F: 6 };
const { G, T, E, D } = sizes;
const [x, logits] = [input("x", f32([G, T, D])), input("logits", f32([G, T, E]))];

const namesIn = ({ weights }: OnnxProgram): string[] => weights.map(({ name }) => name);

/** The tensor `name` of a program as it is written, and the bytes of its longest part. */
async function readBack(
  { weights }: OnnxProgram,
  name: string,
  source: WeightSource,
): Promise<{ readonly tensor: Tensor; readonly longest: number }> {
  const file = weights.find((each) => each.name === name)!;
  const data = new Uint8Array(file.bytes);
  let [at, longest] = [0, 0];
  for await (const part of file.parts(source)) {
    data.set(part, at);
    at += part.length;
    longest = Math.max(longest, part.length);
  }
  expect(at).toBe(file.bytes);
  return { tensor: Tensor.fromBytes(f32(file.shape), data), longest };
}

describe("the experts' weights", () => {
  const derived = ["w1/transposed+2", "b1/padded+2", "w2/transposed+2", "b2/padded+2"];
  const weights = weightsFor(sizes);

  test("are in the file as the op takes them, and not otherwise", async () => {
    const program = exportOnnx(layer(sizes), { contrib: true });
    expect(namesIn(program)).toEqual(derived);
    for (const [i, name] of weightNames.entries()) {
      const plain = weights.get(name)!;
      const [, ...axes] = plain.type.shape;
      const { tensor } = await readBack(program, derived[i]!, inMemory(weights));
      const want = Tensor.of("f32", [E + 2, ...axes.toReversed()], (e, ...index) =>
        e < E ? plain.at(e, ...index.toReversed()) : 0,
      );
      expect(tensor).toEqual(want);
    }
  });

  test("are there in both ways where something else reads them", async () => {
    const own = expertWeights(sizes);
    const graph = layer(sizes, {}, own);
    const both = new Graph("both", graph.inputs, [...graph.outputs, ["own", own[0]]]);
    const program = exportOnnx(both, { contrib: true });
    expect(namesIn(program)).toEqual(["w1", ...derived]);
    const got = await runOnnx(program, inMemory(weights), inputsFor(sizes));
    expect(got.get("own")).toEqual(weights.get("w1"));
  });

  test("are there once where layers share them", () => {
    const [w1, b1, w2, b2] = expertWeights(sizes);
    const twice = [1, 2].map((capacity): [string, Value] => {
      const plan = ops.routeTopExperts(logits, { k: 2, capacity, priority: "token" });
      const outputs = ops.expertMlp(ops.dispatch(x, plan.tokens), w1, b1, w2, b2, { approximate: "tanh" });
      return [`y${capacity}`, ops.combine(outputs, plan.slots, plan.weights)];
    });
    const program = exportOnnx(new Graph("twice", [x, logits], twice), { contrib: true });
    expect(moeNodes(program)).toBe(2);
    expect(namesIn(program)).toEqual(derived);
  });

  test("have names of their own", async () => {
    const unlucky = new Map([["b1", "w1/transposed+2"]]);
    const rename = (name: string): string => unlucky.get(name) ?? name;
    const own = expertWeights(sizes, (name, shape) => weight(rename(name), f32(shape)));
    const renamed = new Map([...weights].map(([name, tensor]) => [rename(name), tensor]));
    const program = exportOnnx(layer(sizes, {}, own), { contrib: true });
    const got = await runOnnx(program, inMemory(renamed), inputsFor(sizes));
    const want = referenceOutput(layer(sizes), inputsFor(sizes), weights);
    expect(distance(got.get("y")!, want)).toBeLessThan(1e-5);
  });

  test("are turned in the graph where they are inputs, or computed", async () => {
    const given: Value[] = [];
    const make = {
      w: (name: string, shape: Shape): Value => {
        given.push(input(name, f32(shape)));
        return given.at(-1)!;
      },
      b: (name: string, shape: Shape): Value => ops.exp(weight(name, f32(shape))),
    };
    const own = expertWeights(sizes, (name, shape) => make[name[0] as "w" | "b"](name, shape));
    const { inputs, outputs } = layer(sizes, {}, own);
    const graph = new Graph("computed", [...inputs, ...given], outputs);
    const program = exportOnnx(graph, { contrib: true });
    expect(moeNodes(program)).toBe(1);
    expect(namesIn(program)).toEqual(["b1", "b2"]);
    const all = new Map([...inputsFor(sizes), ["w1", weights.get("w1")!], ["w2", weights.get("w2")!]]);
    const got = await runOnnx(program, inMemory(weights), all);
    expect(distance(got.get("y")!, referenceOutput(graph, all, weights))).toBeLessThan(1e-5);
  });

  test("are read, turned and written expert by expert", async () => {
    const large = { G: 1, T: 1, E: 3, D: 1100, F: 2100 };
    const expertBytes = 4 * large.D * large.F;
    const w1 = new Tensor(
      f32([large.E, large.D, large.F]),
      Float32Array.from({ length: large.E * large.D * large.F }, (_, i) => i),
    );
    const memory = inMemory(new Map([["w1", w1]]));
    const read: unknown[] = [];
    const source: WeightSource = {
      ...memory,
      read(name, rows) {
        read.push(rows);
        return memory.read(name, rows);
      },
    };
    const program = exportOnnx(layer(large), { contrib: true });
    const { tensor, longest } = await readBack(program, "w1/transposed+2", source);
    expect(tensor.type.shape).toEqual([5, 2100, 1100]);
    expect(longest).toBe(expertBytes);
    expect(read).toEqual([0, 1, 2].map((e) => [e, e + 1]));
    for (const e of [0, 1, 2]) expect(tensor.at(e, 2000, 70)).toBe(w1.at(e, 70, 2000));
    expect(tensor.at(4, 2099, 1099)).toBe(0);
  });
});

const route = (capacity = 2): ReturnType<typeof ops.routeTopExperts> =>
  ops.routeTopExperts(logits, { k: 2, capacity, priority: "gate" });
const int = (name: string, shape: Shape): Value => input(name, { dtype: "i32", shape });

describe("is refused", () => {
  const block = "Encoder/encoderblock_1/Moe";
  const [w1, b1, w2, b2] = expertWeights(sizes);
  const tanh = { approximate: "tanh", through: "f32" } as const;
  const experts = (buffers: Value, approximate: "tanh" | "none" = "tanh"): Value =>
    ops.expertMlp(buffers, w1, b1, w2, b2, { approximate });

  type Plan = ReturnType<typeof ops.routeTopExperts>;
  /** The layer of a routing, but for what is changed in its plan. */
  const changed = (change: (plan: Plan) => Partial<Plan>) => (): Value => {
    const plan = route();
    const { tokens, slots, weights } = { ...plan, ...change(plan) };
    return ops.combine(experts(ops.dispatch(x, tokens)), slots, weights);
  };
  const through = (to: "bf16" | "f16") => (): Value => {
    const { tokens, slots, weights } = route();
    const buffers = ops.cast(ops.dispatch(ops.cast(x, { to }), tokens), { to: "f32" });
    return ops.combine(ops.cast(experts(buffers), { to }), slots, weights);
  };

  const layers: Readonly<Record<string, readonly [build: () => Value, got: RegExp]>> = {
    "for what rounds to bfloat16": [through("bf16"), /both rounded to bf16/],
    "for what rounds to float16": [through("f16"), /both rounded to f16/],
    "for GELU in its erf form": [
      () => {
        const { tokens, slots, weights } = route();
        return ops.combine(experts(ops.dispatch(x, tokens), "none"), slots, weights);
      },
      /erf form/,
    ],
    "for other items than the tokens": [
      () => {
        const { tokens, slots, weights } = route();
        const items = input("items", f32([G, T + 2, D]));
        return ops.combine(experts(ops.dispatch(items, tokens)), slots, weights);
      },
      /got 7 items for 5 tokens/,
    ],
    "for weights that are not the probabilities": [
      changed(({ weights }) => ({ weights: ops.add(weights, weights) })),
      /weights by add/,
    ],
    "for weights of another plan": [changed(() => ({ weights: route(1).weights })), /one plan/],
    "for a plan of any choices": [
      changed(() =>
        ops.assignSlots(int("choices", [G, T, 2]), int("order", [G, T]), { experts: E, capacity: 2 }),
      ),
      /slots by assign_slots, weights by route_top_experts/,
    ],
    "for tokens from elsewhere": [
      () => {
        const { slots, weights } = route();
        return ops.routedMlp(x, int("tokens", [G, E, 2]), slots, weights, w1, b1, w2, b2, tanh);
      },
      /tokens by the caller, slots by route_top_experts/,
    ],
    "for slots from elsewhere": [
      changed(({ slots }) => ({ slots: ops.maximum(slots, slots) })),
      /got (dispatch|expert_mlp|combine) apart/,
    ],
    "for a plan whose parts have changed places": [
      () => {
        const square = { k: 2, capacity: 2, priority: "token" } as const;
        const plan = ops.routeTopExperts(input("square", f32([G, E, E])), square);
        const items = input("items", f32([G, E, D]));
        return ops.routedMlp(items, plan.slots, plan.tokens, plan.weights, w1, b1, w2, b2, tanh);
      },
      /one plan/,
    ],
    "for buffers that nothing dispatched": [
      () => {
        const { slots, weights } = route();
        return ops.combine(experts(input("buffers", f32([G, E, 2, D]))), slots, weights);
      },
      /got expert_mlp apart/,
    ],
    "for outputs that no expert made": [
      () => {
        const { slots, weights } = route();
        return ops.combine(input("outputs", f32([G, E, 2, D])), slots, weights);
      },
      /got combine apart/,
    ],
    "for experts that are no MLP": [
      () => {
        const { tokens, slots, weights } = route();
        return ops.combine(ops.dispatch(x, tokens), slots, weights);
      },
      /got dispatch apart/,
    ],
  };

  test.each(Object.entries(layers))("%s", (_, [build, got]) => {
    const y = scoped(block, build);
    const leaves = new Graph("leaves", [], [["y", y]]).leaves();
    const inputs = leaves.filter(({ leaf }) => leaf?.kind === "input");
    let refusal: unknown;
    try {
      exportOnnx(new Graph("refused", inputs, [["y", y]]), { contrib: true });
    } catch (error) {
      refusal = error;
    }
    const { code, subject, message } = expectOneLine(refusal);
    expect([code, subject]).toEqual(["O1", block]);
    expect(message).toMatch(got);
  });

  test("for a plan whose weights are no probabilities", () => {
    const scores = defineOp({
      name: "scores",
      summary: "As `route_top_experts`, but for what the weights are.",
      signature:
        "logits: f32[G, T, E]; k, capacity -> tokens: i32[G, E, capacity], slots: i32[G, T, k], weights: f32[G, T, k]",
      traits: ["plan"],
      evaluate: () => ({ tokens: [], slots: [], weights: [] }),
    });
    const written = operator(scores, ({ logits: name }) => ({ tokens: name, slots: name, weights: name }));
    const { tokens, slots, weights } = scores(logits, { k: 2, capacity: 2 });
    const y = scoped(block, () => ops.routedMlp(x, tokens, slots, weights, w1, b1, w2, b2, tanh));
    const operators = new Map([...contribOperators, [scores, written] as const]);
    const options = { operators, opset: 21, inline: false, symbols: undefined };
    expect(() => writeGraph(new Graph("scores", [x, logits], [["y", y]]), options)).toThrow(
      expect.objectContaining({ code: "O1", subject: block }) as Error,
    );
  });

  const { graph } = createModel(tinyVmoe().cases.get("bf16_C1.05")!.config, {
    batch: 4,
    imageSize: [12, 12],
  });

  test("by the block, in a model", () => {
    const refused = /^Encoder\/encoderblock_1\/Moe: .* both rounded to bf16 \[O1\]$/;
    expect(() => exportOnnx(graph, { contrib: true })).toThrow(refused);
  });

  test("in no part of it that nobody asks for", () => {
    const outputs = [...graph.outputs.keys()].filter((name) => name.startsWith("encoderblock_1/"));
    expect(moeNodes(exportOnnx(graph, { contrib: true, outputs }))).toBe(0);
  });
});

test("a program without MoE layers is written as ever", () => {
  const dense = new Graph("dense", [x], [["y", ops.softmax(x)]]);
  expect(exportOnnx(dense, { contrib: true }).model).toEqual(exportOnnx(dense).model);
});
