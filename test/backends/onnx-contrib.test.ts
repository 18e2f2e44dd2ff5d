/** MoE layers as com.microsoft.MoE give what the plain nodes and the reference give, whatever is routed. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { exportOnnx } from "../../backends/onnx/export.ts";
import { evaluate, Graph, ops, Tensor, type Value } from "../../ir/index.ts";
import { createModel } from "../../models/index.ts";
import { matchWeights } from "../../models/weights/match.ts";
import { legalCase } from "../support/arbitrary.ts";
import { distance } from "../support/close.ts";
import { tinyVmoe } from "../support/golden.ts";
import {
  drawn,
  inMemory,
  inputsFor,
  layer,
  type LayerSizes,
  moeNodes,
  referenceOutput,
  type Routing,
  runOnnx,
  type Tensors,
  weightsFor,
} from "../support/moeLayer.ts";
import { runs } from "../support/runs.ts";

/** Largest distance from the reference and from the plain nodes. */
const accepted = 1e-5;

/** The output `y` by ONNX Runtime, of the MoE op and of plain nodes. */
async function bothForms(graph: Graph, weights: Tensors, inputs: Tensors): Promise<[Tensor, Tensor]> {
  const program = exportOnnx(graph, { contrib: true });
  expect(moeNodes(program)).toBe(1);
  const contrib = await runOnnx(program, inMemory(weights), inputs);
  const plain = await runOnnx(exportOnnx(graph), inMemory(weights), inputs);
  return [contrib.get("y")!, plain.get("y")!];
}

async function expectExact(graph: Graph, weights: Tensors, inputs: Tensors): Promise<void> {
  const [contrib, plain] = await bothForms(graph, weights, inputs);
  const want = referenceOutput(graph, inputs, weights);
  expect(contrib.type).toEqual(want.type);
  expect(distance(contrib, want)).toBeLessThan(accepted);
  expect(distance(contrib, plain)).toBeLessThan(accepted);
}

interface Case {
  readonly sizes: LayerSizes;
  readonly routing: Routing;
  readonly logits: Tensor;
  /** The plan's, by the reference. */
  readonly slots: Tensor;
  readonly weights: Tensor;
}

type Kind = "separated" | "tied";

/** `logits` as other numbers: apart, they lie on no grid; tied, some are so far apart that gates underflow. */
const warps: Readonly<Record<Kind, fc.Arbitrary<(v: number) => number>>> = {
  separated: fc.constant(Math.exp),
  // Times 12 the gates reach down to 1e-30, times 400 to 0; none is subnormal, where engines differ.
  tied: fc.constantFrom(1, 12, 400).map((scale) => (v: number) => v * scale),
};

const caseOf = (kind: Kind): fc.Arbitrary<Case> =>
  fc
    .record({
      warp: warps[kind],
      D: fc.integer({ min: 1, max: 6 }),
      F: fc.integer({ min: 1, max: 6 }),
      // The last: fast-check forgets what follows a stream when it copies a record.
      drawnCase: legalCase(ops.routeTopExperts, { floats: kind, maxSize: 8 }),
    })
    .map(({ warp, D, F, drawnCase: { attrs, tensors, params } }) => {
      const [given, leaf] = [tensors[0]!, params[0]!];
      const [G = 1, T = 1, E = 1] = given.type.shape;
      const logits = Tensor.from(given.type, given.numbers().map(warp));
      const routing = attrs as unknown as Routing;
      const { slots, weights } = ops.routeTopExperts(leaf, routing);
      const outputs: [string, Value][] = [
        ["slots", slots],
        ["weights", weights],
      ];
      const plan = evaluate(new Graph("plan", [leaf], outputs), () => logits);
      const sizes = { G, T, E, D, F };
      return { sizes, routing, logits, slots: plan.get("slots")!, weights: plan.get("weights")! };
    })
    .filter((each) => kind === "tied" || isClear(each));

/** Whether no rounding changes the order of service: the tokens' largest gates lie apart, or are 1. */
const isClear = ({ sizes: { G, T }, weights }: Case): boolean =>
  Array.from({ length: G }, (_, g) => g).every((g) => {
    const largest = Array.from({ length: T }, (_, t) => weights.at(g, t, 0)).toSorted((a, b) => a - b);
    return largest.every((gate, t) => gate === 1 || gate - (largest[t - 1] ?? 0) > 1e-6);
  });

test.each<[Kind, extremes: number]>([
  ["separated", 0],
  ["tied", 100],
])("any routing of logits that are %s", async (kind, extremes) => {
  const seen = { kept: 0, dropped: 0, zero: 0, one: 0 };
  await fc.assert(
    fc.asyncProperty(caseOf(kind), async ({ sizes, routing, logits, slots, weights }) => {
      await expectExact(layer(sizes, routing), weightsFor(sizes), inputsFor(sizes, logits));
      for (const slot of slots.numbers()) seen[slot < 0 ? "dropped" : "kept"]++;
      for (const gate of weights.numbers()) {
        if (gate === 0) seen.zero++;
        if (gate === 1) seen.one++;
      }
    }),
    { numRuns: runs(250) },
  );
  expect(Math.min(seen.kept, seen.dropped)).toBeGreaterThan(1000);
  expect(Math.min(seen.zero, seen.one)).toBeGreaterThanOrEqual(extremes);
});

// Here gates may be subnormal, and engines differ in what they choose: only one engine's two forms are comparable.
test("logits of any size give what the plain nodes give", async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.constantFrom(0.01, 1, 10, 40, 100), async (draw, scale) => {
      const sizes = { G: 2, T: 6, E: 1 + (draw % 7), D: 3, F: 2 };
      const routing = { k: 1 + (draw % Math.min(sizes.E, 4)), capacity: 1 + (draw % 5) };
      const normal = drawn(`logits ${draw}`, [sizes.G, sizes.T, sizes.E]);
      const logits = Tensor.from(
        normal.type,
        normal.numbers().map((v) => v * scale),
      );
      const inputs = inputsFor(sizes, logits);
      const [contrib, plain] = await bothForms(layer(sizes, routing), weightsFor(sizes), inputs);
      expect(distance(contrib, plain)).toBeLessThan(accepted);
    }),
    { numRuns: runs(100) },
  );
});

const small: LayerSizes = { G: 2, T: 5, E: 3, D: 4, F: 6 };

/** The same row of logits for every token. */
const everywhere = ({ G, T, E }: LayerSizes, row: readonly number[]): Tensor =>
  Tensor.of("f32", [G, T, E], (_g, _t, e) => row[e]!);

describe("corners", () => {
  test.each<[string, Partial<LayerSizes>, Partial<Routing>, readonly number[]]>([
    ["one expert", { E: 1 }, { k: 1 }, [3]],
    ["one expert with room for all", { E: 1 }, { k: 1, capacity: 9 }, [-7]],
    ["every expert is chosen", { E: 3 }, { k: 3 }, [0.5, 0.25, 2]],
    ["every expert is chosen, some at no weight", { E: 3 }, { k: 3 }, [0, 300, -300]],
    ["all gates are equal", { E: 6 }, { k: 2 }, [0, 0, 0, 0, 0, 0]],
    ["all gates are equal, and all are chosen", { E: 4 }, { k: 4 }, [1, 1, 1, 1]],
    ["a gate of 1", { E: 3 }, { k: 2 }, [500, 0, 1]],
    ["gates that underflow", { E: 4 }, { k: 3 }, [0, -150, -200, -200]],
    ["two tokens of a group are served, all others dropped", { T: 9, E: 2 }, { k: 2, capacity: 2 }, [1, 0]],
    ["equal gates, chosen and not", { E: 8 }, { k: 5, capacity: 3 }, [1, 1, 1, 0, 0, 0, 0, 0]],
    ["many groups", { G: 17, T: 3 }, { capacity: 1 }, [0.1, 0.3, 0.2]],
  ])("%s", async (_, more, routing, row) => {
    const sizes = { ...small, ...more };
    for (const priority of ["token", "gate"] as const) {
      const graph = layer(sizes, { ...routing, priority });
      await expectExact(graph, weightsFor(sizes), inputsFor(sizes, everywhere(sizes, row)));
    }
  });

  test("a choice counts that weighs less than the rounding of the others", async () => {
    const sizes = { G: 1, T: 40, E: 4, D: 2, F: 2 };
    const weights = new Map(weightsFor(sizes));
    weights.set(
      "b2",
      Tensor.of("f32", [sizes.E, sizes.D], (e) => (e === 2 ? 1e9 : 1)),
    );
    const first = drawn("first", [sizes.T]);
    const logits = Tensor.of("f32", [1, sizes.T, sizes.E], (_, t, e) => [first.at(t), 0, -20, -21][e]!);
    await expectExact(layer(sizes, { k: 3, capacity: sizes.T }), weights, inputsFor(sizes, logits));
  });
});

describe.each([false, true])("inline %s", (inline) => {
  test.each([18, 19, 20, 21, 22, 23, 24, 25, 26])("opset %i", async (opset) => {
    const program = exportOnnx(layer(small), { opset, inline, contrib: true });
    const got = await runOnnx(program, inMemory(weightsFor(small)), inputsFor(small));
    const want = referenceOutput(layer(small), inputsFor(small), weightsFor(small));
    expect(distance(got.get("y")!, want)).toBeLessThan(accepted);
  });

  test("a batch left open is any number of groups", async () => {
    const batch = { axis: "groups", sizes: [2, 3] as const, other: layer({ ...small, G: 3 }) };
    const program = exportOnnx(layer(small), { inline, contrib: true, batch });
    expect(moeNodes(program)).toBe(1);
    for (const G of [1, 2, 3, 7]) {
      const sizes = { ...small, G };
      const got = await runOnnx(program, inMemory(weightsFor(sizes)), inputsFor(sizes));
      const want = referenceOutput(layer(sizes), inputsFor(sizes), weightsFor(sizes));
      expect(got.get("y")!.type).toEqual(want.type);
      expect(distance(got.get("y")!, want)).toBeLessThan(accepted);
    }
  });
});

const tiny = tinyVmoe();

describe.each(["cpu", "webgpu"])("tiny V-MoE on %s", (provider) => {
  const exact = [...tiny.cases].filter(([name]) => !name.includes("bf16"));

  test.each(exact)("%s", async (_, { config, logits }) => {
    const { graph, parameters } = createModel(config, { batch: 4, imageSize: [12, 12] });
    const program = exportOnnx(graph, { contrib: true, outputs: ["logits"] });
    expect(moeNodes(program)).toBe(2);
    const weights = matchWeights(parameters, tiny.weights, "golden");
    const got = await runOnnx(program, weights, new Map([["image", tiny.image]]), provider);
    const off = [...got.get("logits")!.numbers()].map((v, i) => Math.abs(v - logits[i]!));
    expect(off.length).toBe(logits.length);
    expect(Math.max(...off)).toBeLessThan(2e-5);
  });
});
