/** What is written to ONNX reads back as a program of the same meaning; what is not such a file fails in one line. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { supportsIn } from "../../backends/onnx/export.ts";
import { restore } from "../../backends/onnx/import/restore.ts";
import {
  embedded,
  exportOnnx,
  type ExportOptions,
  type ImportedProgram,
  importOnnx,
  type ImportOptions,
} from "../../backends/onnx/index.ts";
import { decodeModel, element, encodeModel, nodeProto, valueInfoProto } from "../../backends/onnx/proto.ts";
import { memorySource } from "../../files/bytes.ts";
import {
  type DType,
  evaluate,
  Graph,
  type Node,
  ops,
  opset,
  parse,
  print,
  Tensor,
  verify,
  type WeightSource,
} from "../../ir/index.ts";
import { anyBatch, createModel, type Model } from "../../models/index.ts";
import { matchWeights } from "../../models/weights/match.ts";
import { computeHalf, narrowWeights, pipeline, rewrite, runPasses } from "../../passes/index.ts";
import { legalCase, randomProgram } from "../support/arbitrary.ts";
import { expectClose, type Tolerance } from "../support/close.ts";
import { noWeights } from "../support/engines.ts";
import { tinyVmoe } from "../support/golden.ts";
import { allOf, inTwoFiles } from "../support/onnxExample.ts";
import { runs } from "../support/runs.ts";

type Tensors = ReadonlyMap<string, Tensor>;

const tolerance: Tolerance = { f32: 2e-6, f16: 8e-3, bf16: 3e-2 };

const read = (bytes: Uint8Array, options: ImportOptions = {}): Promise<ImportedProgram> =>
  importOnnx(memorySource("model.onnx", bytes), options);

/** `graph` written and read back. */
async function roundTrip(graph: Graph, options: ExportOptions = {}): Promise<Graph> {
  const imported = await read(await embedded(exportOnnx(graph, options), noWeights));
  verify(imported.graph);
  const text = print(imported.graph);
  expect(print(parse(text, opset))).toBe(text);
  return imported.graph;
}

/** The outputs; a tensor of another float than its leaf is rounded to it. */
const run = (graph: Graph, tensors: Tensors): Tensors =>
  evaluate(graph, ({ leaf, type }) => {
    const tensor = tensors.get(leaf?.name ?? "");
    return tensor && tensor.type.dtype !== type.dtype ? Tensor.from(type, tensor.numbers()) : tensor;
  });

const narrow = (tensor: Tensor, dtype: DType): Tensor =>
  dtype === "bf16" ? Tensor.from({ ...tensor.type, dtype }, tensor.numbers()) : tensor;

/** Expects the outputs of `graph` from `imported`, where what is bf16 comes out as f32. */
function expectSame(
  imported: Graph,
  graph: Graph,
  tensors: Tensors,
  { allowed = tolerance, through = [] }: { allowed?: Tolerance; through?: readonly unknown[] } = {},
): void {
  const [got, want] = [run(imported, tensors), run(graph, tensors)];
  expect([...got.keys()]).toEqual([...want.keys()]);
  expectClose(
    [...want].map(([name, { type }]) => narrow(got.get(name)!, type.dtype)),
    [...want.values()],
    allowed,
    through,
  );
}

const ways = [
  { opset: 18, inline: false },
  { opset: 21, inline: false },
  { opset: 21, inline: true },
  { opset: 26, inline: true },
];

/** Whether the nodes of a file round as the application does: not where it rounds to bf16 from more than a f32. */
const isExact = ({ op, results }: Node, inline: boolean): boolean =>
  op === ops.cast ||
  !(
    results.some(({ type }) => type.dtype === "bf16") ||
    (inline && (op === ops.combine || op === ops.expertMlp))
  );

describe.each(ways)("opset $opset, inline $inline", (way) => {
  test("random programs mean the same as they were written, to the last bit", async () => {
    await fc.assert(
      fc.asyncProperty(randomProgram(), async ({ graph, inputs }) => {
        const lowered = runPasses(
          graph,
          pipeline({ supports: supportsIn(way.opset) }, [...graph.outputs.keys()]),
        );
        fc.pre(lowered.nodes.every((node) => isExact(node, way.inline)));
        const imported = await roundTrip(graph, way);
        expect(imported.inputs.map(({ leaf }) => leaf)).toEqual(graph.inputs.map(({ leaf }) => leaf));
        expectSame(imported, rewrite(lowered, restore), inputs, { allowed: { f32: 0, f16: 0, bf16: 0 } });
      }),
    );
  });

  test.each([...opset])("%s", async (_, op) => {
    for (const floats of op.has("discontinuous") ? (["separated", "tied"] as const) : (["grid"] as const)) {
      await fc.assert(
        fc.asyncProperty(legalCase(op, { floats }), async (c) => {
          const results = op.apply(c.params, c.attrs).map((value, i) => [`r${i}`, value] as const);
          const graph = new Graph("case", c.params, results);
          const tensors = new Map(c.tensors.map((tensor, i) => [`p${i}`, tensor]));
          expectSame(await roundTrip(graph, way), graph, tensors, { through: Object.values(c.attrs) });
        }),
        { numRuns: runs(8) },
      );
    }
  });
});

test("a program that was read is the same when it is written and read again", async () => {
  await fc.assert(
    fc.asyncProperty(randomProgram(), async ({ graph }) => {
      // Once more, since the first reading may find ops that were not there.
      const imported = await roundTrip(await roundTrip(graph));
      expect(print(await roundTrip(imported))).toBe(print(imported));
    }),
  );
});

const tiny = tinyVmoe();
const imageSize = [12, 12] as const;
const weightsOf = ({ parameters }: Model): WeightSource => matchWeights(parameters, tiny.weights, "golden");

describe("tiny V-MoE", () => {
  const forms = [
    { opset: 21, inline: false, open: undefined },
    { opset: 26, inline: true, open: undefined },
    { opset: 18, inline: false, open: 4 },
    { opset: 21, inline: true, open: 4 },
    { opset: 21, inline: false, open: 2 },
  ];
  const cases = [...tiny.cases].flatMap(([name, { config }]) =>
    forms.map((form) => ({ name, config, ...form })),
  );

  test.each(cases)(
    "$name, opset $opset, inline $inline, any batch: $open",
    async ({ config, open, ...form }) => {
      const options = { batch: open ?? 4, imageSize };
      const model = createModel(config, options);
      const any = open === undefined ? undefined : anyBatch(config, { ...options, batch: 4 });
      const program = exportOnnx((any?.model ?? model).graph, {
        ...form,
        metadata: { from: "a test" },
        ...(any && { batch: { axis: "batch", sizes: any.sizes, other: any.other.graph } }),
      });
      const [bytes, importing] = form.inline
        ? [await embedded(program, weightsOf(model)), {}]
        : await inTwoFiles(program, weightsOf(model));
      const imported = await read(bytes, { ...importing, ...(open !== undefined && { batch: open }) });
      verify(imported.graph);
      expect(Object.fromEntries(imported.metadata)).toEqual({ from: "a test" });
      expect([imported.opset, imported.graph.name]).toEqual([form.opset, model.graph.name]);
      const image = Tensor.of("f32", [options.batch, 12, 12, 3], (...index) => tiny.image.at(...index));
      const own = await allOf(weightsOf(model));
      const [got, want] = [
        run(imported.graph, new Map([...(await allOf(imported.weights)), ["image", image]])),
        run(model.graph, new Map([...own, ["image", image]])),
      ];
      expectClose([...got.values()], [...want.values()], { ...tolerance, f32: 1e-5 });
    },
  );

  const exact = [...tiny.cases].filter(([name]) => !name.includes("bf16"));
  const storedWays: readonly Pick<ExportOptions, "precision" | "quantizeExperts">[] = [
    { precision: "single" },
    { precision: "half-weights" },
    { precision: "half" },
    { quantizeExperts: "int8" },
    { precision: "half-weights", quantizeExperts: "int4" },
    { precision: "half", quantizeExperts: "int4" },
  ];
  const stored = exact.flatMap(([name, { config }]) => storedWays.map((way) => ({ name, config, way })));

  test.each(stored)("$name as $way comes back as it was lowered", async ({ config, way }) => {
    const model = createModel(config, { batch: 4, imageSize });
    const imported = await read(...(await inTwoFiles(exportOnnx(model.graph, way), weightsOf(model))));
    const { precision, ...integers } = way;
    const narrowed = narrowWeights(
      model.graph,
      precision === "half-weights" ? { ...integers, precision } : integers,
    );
    const passes = [
      ...(precision === "half" ? [computeHalf] : []),
      ...pipeline({ supports: supportsIn() }, [...model.graph.outputs.keys()]),
    ];
    // Integers in a file are not in words, and have a name of their own.
    expect(print(imported.graph).replaceAll("/signed", "")).toBe(print(runPasses(narrowed.graph, passes)));
    const [got, want] = [await allOf(imported.weights), await allOf(narrowed.weightsOf(weightsOf(model)))];
    for (const { leaf, type } of narrowed.graph.weights.filter((value) =>
      value.leaf!.name.includes("/int"),
    )) {
      expect(got.get(leaf!.name) ?? got.get(`${leaf!.name}/signed`), leaf!.name).toEqual(
        want.get(leaf!.name),
      );
      expect(want.get(leaf!.name)!.type).toEqual(type);
    }
  });

  test("is read through bodies of functions of another domain, as through nodes", async () => {
    const { config } = tiny.cases.get("bpr_C0.4")!;
    const model = createModel(config, { batch: 4, imageSize });
    const message = decodeModel(await embedded(exportOnnx(model.graph), weightsOf(model)));
    for (const each of [...message.functions!, ...message.graph!.node!, ...message.opsetImport!]) {
      if (each.domain === "moec") each.domain = "theirs";
    }
    const imported = await read(encodeModel(message));
    const nodes = imported.graph.nodes.map(({ op }) => op);
    expect(nodes).not.toContain(ops.routeTopExperts);
    const tensors = new Map([...(await allOf(weightsOf(model))), ["image", tiny.image]]);
    expectSame(imported.graph, model.graph, tensors);
    const scopes = new Set(model.graph.nodes.map(({ scope }) => scope));
    expect(imported.graph.nodes.filter(({ scope }) => !scopes.has(scope))).toEqual([]);
    const choices = imported.graph.nodes.filter(({ op }) => op === ops.topK);
    expect(choices.length).toBeGreaterThan(0);
    for (const { scope } of choices) expect(scope).toMatch(/^Encoder\/encoderblock_\d/);
  });
});

test("an axis of any size may be a multiple or a part of the batch", async () => {
  const bytes = encodeModel({
    irVersion: 10,
    opsetImport: [{ domain: "ai.onnx", version: 21 }],
    graph: {
      name: "axes",
      node: [nodeProto("Exp", ["x"], ["y"], {}, { domain: "ai.onnx" })],
      input: [valueInfoProto("x", element.float, ["n*3", "n", "n/2", 7])],
      output: [valueInfoProto("y", element.float, ["n*3", "n", "n/2", 7])],
    },
  });
  const { graph } = await read(bytes, { batch: 4 });
  expect(graph.inputs[0]?.type.shape).toEqual([12, 4, 2, 7]);
});
