/** Exported models: the same outputs in every form, on every engine of ONNX Runtime that is here. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { exportOnnx, type ExportOptions } from "../../backends/onnx/export.ts";
import { onnx, openModel } from "../../backends/onnx/runtime.ts";
import { saveProgram } from "../../backends/onnx/save.ts";
import { reference } from "../../backends/reference/index.ts";
import { Graph, input, ops, type Tensor, type Value, weight, type WeightSource } from "../../ir/index.ts";
import { anyBatch, createModel, type Model, probing, randomWeights, routers } from "../../models/index.ts";
import { matchWeights } from "../../models/weights/match.ts";
import { narrowWeights } from "../../passes/index.ts";
import { distance } from "../support/close.ts";
import { tinyVmoe, tinyWith } from "../support/golden.ts";

const tiny = tinyVmoe();
const imageSize = [12, 12] as const;
const folder = mkdtempSync(join(tmpdir(), "moec-onnx-test-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface Form {
  readonly opset: number;
  readonly inline: boolean;
  readonly dynamic: boolean;
  readonly cpu: boolean;
  readonly provider: string;
}

const isNightly = Boolean(process.env["MOEC_NIGHTLY"]);

const forms: Form[] = ["cpu", "webgpu"]
  .flatMap((provider) =>
    [18, 21, 26].flatMap((opset) =>
      [false, true].flatMap((inline) =>
        [false, true].map((dynamic) => ({ provider, opset, inline, dynamic, cpu: false })),
      ),
    ),
  )
  // Opset 18 lacks ops that others have; by day it is tried once, and the slow engine on the default opset.
  .filter(({ provider, opset }) => isNightly || opset === 21 || (provider === "cpu" && opset === 26))
  .concat(isNightly ? [] : [{ provider: "cpu", opset: 18, inline: false, dynamic: true, cpu: false }])
  .concat([{ provider: "cpu", opset: 21, inline: false, dynamic: true, cpu: true }]);

/** Rounding at the experts' door moves logits by more than the noise that put a value on the other side. */
const accepted = (name: string): number => (name.includes("bf16") ? 2e-3 : 1e-5);

/** The slots of each sparse block, by the reference. */
async function seatsOf(model: Model): Promise<ReadonlyMap<string, Tensor>> {
  const outputs = model.blocks.map((block) => `${block.name}/tokens`);
  const engine = await reference.open();
  const executable = await engine.compile(model.graph, weightsOf(model), { outputs });
  return executable.run(new Map([["image", tiny.image]]));
}

const weightsOf = ({ parameters }: Model): WeightSource => matchWeights(parameters, tiny.weights, "golden");

describe.each(forms)(
  "opset $opset, inline $inline, dynamic $dynamic, for the CPU alone $cpu on $provider",
  (form) => {
    test.each([...tiny.cases])("%s", async (name, { config, logits }) => {
      const options = { batch: 4, imageSize };
      const model = createModel(config, options);
      const seats = await seatsOf(model);
      const open = form.dynamic ? anyBatch(config, options) : undefined;
      const program = exportOnnx((open?.model ?? model).graph, {
        ...form,
        outputs: ["logits", ...seats.keys()],
        ...(open && { batch: { axis: "batch", sizes: open.sizes, other: open.other.graph } }),
      });
      const path = join(folder, "tiny.onnx");
      await saveProgram(path, program, weightsOf(model));
      const session = await openModel(path, form);
      const got = await session.run(new Map([["image", tiny.image]]));
      await session.close();
      const off = [...got.get("logits")!.numbers()].map((v, i) => Math.abs(v - logits[i]!));
      expect(Math.max(...off)).toBeLessThan(accepted(name));
      for (const [output, tensor] of seats) expect(got.get(output), output).toEqual(tensor);
    });
  },
);

const f32 = (...shape: number[]): Value["type"] => ({ dtype: "f32", shape });

const bf16 = (value: Value): Value => ops.cast(value, { to: "bf16" });

describe("a file for the CPU alone", () => {
  const { config } = [...tiny.cases.values()][0]!;
  const { graph } = createModel(config, { batch: 4, imageSize });
  const expertWeights = (options: ExportOptions): string[] =>
    exportOnnx(graph, options)
      .weights.map(({ name }) => name)
      .filter((name) => /encoderblock_1.*Moe\/Mlp\/Dense_0\/kernel/.test(name));

  test("has a matrix for each expert", () => {
    const [whole = "", ...none] = expertWeights({});
    expect(none).toEqual([]);
    expect(expertWeights({ cpu: true })).toEqual([0, 1, 2, 3].map((e) => `${whole}/${e}`));
  });

  test("is not written from a source that gives all experts for one", async () => {
    const source = { ...tiny.weights, read: (name: string) => tiny.weights.read(name) };
    const program = exportOnnx(graph, { cpu: true });
    const written = saveProgram(join(folder, "whole.onnx"), program, source);
    await expect(written).rejects.toThrow(/must read as f32\[1, .*; got f32\[4, .* \[W4\]$/);
  });

  test.each([
    ["half-weights", { precision: "half-weights" }, ""],
    ["int8", { quantizeExperts: "int8" }, "/int8/signed"],
    ["int4 beside half-weights", { precision: "half-weights", quantizeExperts: "int4" }, "/int4/signed"],
  ] as const)(
    "has a matrix of %s for each expert, and their logits are what is meant",
    async (_, way, form) => {
      const [whole = ""] = expertWeights({});
      expect(expertWeights({ ...way, cpu: true }).filter((name) => !name.includes("scales"))).toEqual(
        [0, 1, 2, 3].map((e) => `${whole}${form}/${e}`),
      );
      const model = createModel(config, { batch: 4, imageSize });
      const narrow = narrowWeights(model.graph, way);
      // An option of the user's own leaves the others as they are.
      const mine = { extra: { session: { intra_op: { allow_spinning: "0" } } } };
      const [apart, together] = await Promise.all(
        [onnx({ session: mine }), reference].map(async (backend) => {
          const engine = await backend.open();
          const source = narrow.weightsOf(weightsOf(model));
          const executable = await engine.compile(narrow.graph, source, { outputs: ["logits"] });
          const got = await executable.run(new Map([["image", tiny.image]]));
          executable.dispose();
          return got.get("logits")!;
        }),
      );
      expect(distance(apart!, together!)).toBeLessThan(1e-5);
    },
  );

  test("rounds each expert's weights as all of them", () => {
    const [w, b] = [bf16(weight("w", f32(2, 4, 4))), bf16(weight("b", f32(2, 4)))];
    const x = input("x", f32(1, 2, 3, 4));
    const y = ops.expertMlp(bf16(x), w, b, w, b, { approximate: "tanh" });
    const { model } = exportOnnx(new Graph("rounded", [x], [["y", y]]), { cpu: true });
    const made = new Map((model.graph?.node ?? []).map((node) => [node.output?.[0], node]));
    const products = [...made.values()].filter(({ opType }) => opType === "MatMul");
    expect(products).toHaveLength(4);
    for (const { input: operands } of products) {
      const widened = made.get(operands?.[1])!;
      expect([widened, made.get(widened.input![0])].map((node) => node?.opType)).toEqual(["Cast", "Cast"]);
    }
  });

  test("leaves experts together whose weights are computed in a run", () => {
    const [x, w1] = [input("x", f32(1, 2, 3, 4)), input("w1", f32(2, 4, 4))];
    const [b, w2] = [weight("b", f32(2, 4)), weight("w2", f32(2, 4, 4))];
    const y = ops.expertMlp(x, w1, b, w2, b, { approximate: "tanh" });
    const program = exportOnnx(new Graph("computed", [x, w1], [["y", y]]), { cpu: true });
    expect(program.weights.map(({ name }) => name)).toEqual(["b", "w2"]);
  });
});

/** A graph of one input `x` f32[batch * 2, 3] and what `build` makes of it. */
const growing = (build: (x: Value, batch: number) => Value, batch: number): Graph => {
  const x = input("x", { dtype: "f32", shape: [2 * batch, 3] });
  return new Graph("growing", [x], [["y", build(x, batch)]]);
};

test.each([
  ["a capacity", (x: Value, batch: number) => routed(x, 2 * batch), "capacity"],
  ["a count", (x: Value, batch: number) => ops.add(x, widened(ops.iota({ size: 2 * batch }), x)), "size"],
  [
    "a cut inside an axis",
    (x: Value, batch: number) => ops.slice(x, { start: [0, 0], limit: [batch, 3] }),
    "limit",
  ],
])("%s that grows with the batch cannot be left open", (_, build, attribute) => {
  const batch = { axis: "batch", sizes: [11, 13] as const, other: growing(build, 13) };
  expect(() => exportOnnx(growing(build, 11), { batch })).toThrow(
    new RegExp(`must have the same ${attribute} for every batch; got .*\\[O1\\]$`),
  );
});

const square = (x: Value, batch: number): Value =>
  ops.reshape(ops.matmul(x, ops.transpose(x, { perm: [1, 0] })), { shape: [2 * batch, 1, 2 * batch] });

test("two axes that grow cannot be left open", () => {
  const batch = { axis: "batch", sizes: [11, 13] as const, other: growing(square, 13) };
  expect(() => exportOnnx(growing(square, 11), { batch })).toThrow(
    /must have one axis that grows with the batch; got f32.* \[O1\]$/,
  );
});

const across = (batch: number): Graph => {
  const x = input("x", { dtype: "f32", shape: [3, batch] });
  const counts = ops.broadcast(ops.cast(ops.iota({ size: 3 }), { to: "f32" }), { shape: [batch, 3] });
  return new Graph("across", [x], [["y", ops.matmul(x, counts)]]);
};

test("the batch must be the first axis of an input where its size is asked for", () => {
  const batch = { axis: "batch", sizes: [11, 13] as const, other: across(13) };
  expect(() => exportOnnx(across(11), { batch })).toThrow(
    /^inputs: must have one whose first axis .*\[O1\]$/,
  );
});

function routed(x: Value, capacity: number): Value {
  const [T = 1, E = 1] = x.type.shape;
  const logits = ops.reshape(x, { shape: [1, T, E] });
  const { weights } = ops.routeTopExperts(logits, { k: 1, capacity, priority: "token" });
  return weights;
}

const widened = (counts: Value, { type }: Value): Value =>
  ops.broadcast(ops.reshape(ops.cast(counts, { to: "f32" }), { shape: [type.shape[0] ?? 1, 1] }), {
    shape: type.shape,
  });

test.each([...routers])("one file for any number of groups with %s", async (name, { keys }) => {
  const dispatcher = { capacity_factor: 0.5, batch_priority: keys.includes("num_selected_experts") };
  const router = { name, ...(keys.includes("dispatcher") && { dispatcher }) };
  const config = tinyWith(router);
  const open = anyBatch(config, { batch: 2, imageSize });
  const path = join(folder, "open.onnx");
  const program = exportOnnx(open.model.graph, {
    outputs: ["logits"],
    batch: { axis: "batch", sizes: open.sizes, other: open.other.graph },
  });
  const model = createModel(config, { batch: 4, groupSize: open.model.blocks[0]!.groupSize, imageSize });
  const weights = randomWeights(probing(model.parameters), 1);
  await saveProgram(path, program, weights);
  const session = await openModel(path);
  const got = await session.run(new Map([["image", tiny.image]]));
  await session.close();
  const engine = await reference.open();
  const executable = await engine.compile(model.graph, weights, { outputs: ["logits"] });
  const want = await executable.run(new Map([["image", tiny.image]]));
  expect(distance(got.get("logits")!, want.get("logits")!)).toBeLessThan(1e-5);
});
