/** Laws of the routers in which experts choose or share tokens evenly, and the original's test vector of one. */
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";

import { reference } from "../backends/reference/index.ts";
import { type AnyOp, evaluate, Graph, input, ops, type Sizes, Tensor } from "../ir/index.ts";
import { createModel, type Json } from "../models/index.ts";
import { matchWeights } from "../models/weights/match.ts";
import { distance } from "./support/close.ts";
import { underTest } from "./support/engines.ts";
import { tinyVmoe } from "./support/golden.ts";

const f32 = (shape: readonly number[], numbers: readonly number[]): Tensor =>
  Tensor.from({ dtype: "f32", shape }, numbers);

/** The results of one application by its meaning, and by its decomposition. */
const bothWays = (op: AnyOp, tensor: Tensor, attrs: Sizes): readonly number[][][] => {
  const x = input("x", tensor.type);
  const lowered = op.decompose!([x], op.sizesOf([tensor.type], attrs));
  return [op.apply([x], attrs), lowered].map((results) => {
    const graph = new Graph(
      "case",
      [x],
      results.map((value, i) => [`r${i}`, value]),
    );
    return [...evaluate(graph, () => tensor).values()].map((result) => Array.from(result.numbers()));
  });
};

test("the original's test vector of experts that choose", () => {
  const gates = f32([1, 3, 3], [0.4, 0, 0.2, 0.5, 0.1, 0.4, 0.3, 0.2, 0.6]);
  for (const [tokens, slots, weights] of bothWays(ops.routeTopTokens, gates, { capacity: 2 })) {
    expect(tokens).toEqual([1, 0, 2, 1, 2, 1]);
    expect(slots).toEqual([1, -1, -1, 0, 3, 5, -1, 2, 4]);
    expect(weights).toEqual([0.4, 0, 0, 0.5, 0.1, 0.4, 0, 0.2, 0.6].map(Math.fround));
  }
});

const scores = (reach: number): fc.Arbitrary<Tensor> =>
  fc
    .tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 5 }))
    .chain(([G, T, E]) =>
      fc
        .array(fc.integer({ min: -8, max: 8 }), { minLength: G * T * E, maxLength: G * T * E })
        .map((values) =>
          f32(
            [G, T, E],
            values.map((v) => (v * reach) / 8),
          ),
        ),
    );

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

describe.each([1, 1e4])("logits of up to %d", (reach) => {
  test("the rows of a transport plan are probabilities", () => {
    fc.assert(
      fc.property(scores(reach), fc.integer({ min: 1, max: 20 }), (logits, iterations) => {
        const [, , E = 1] = logits.type.shape;
        for (const [plan = []] of bothWays(ops.sinkhornPlan, logits, { iterations })) {
          for (let row = 0; row < plan.length / E; row++)
            expect(sum(plan.slice(row * E, (row + 1) * E))).toBeCloseTo(1, 5);
          expect(plan.every((share) => share >= 0)).toBe(true);
        }
      }),
    );
  });
});

test("the columns of a transport plan tend to be equal", () => {
  fc.assert(
    fc.property(scores(1), (logits) => {
      const [, T = 1, E = 1] = logits.type.shape;
      for (const [plan = []] of bothWays(ops.sinkhornPlan, logits, { iterations: 60 })) {
        const first = Array.from({ length: E }, (_, e) =>
          sum(plan.slice(0, T * E).filter((_share, i) => i % E === e)),
        );
        for (const column of first) expect(column).toBeCloseTo(T / E, 3);
      }
    }),
  );
});

/** The balanced choices, by meaning and by decomposition. */
const chosen = (x: Tensor, capacity: number): readonly number[][] =>
  bothWays(ops.chooseEvenly, x, { capacity }).map(([choices = []]) => choices);

const share = ([, T = 1, E = 1]: readonly number[]): number => Math.ceil(T / E);

describe("a balanced choice", () => {
  test("gives every token an expert, and no expert more than its share", () => {
    fc.assert(
      fc.property(scores(1), fc.nat(3), (x, more) => {
        const [G = 1, T = 1, E = 1] = x.type.shape;
        const capacity = share(x.type.shape) + more;
        for (const choices of chosen(x, capacity)) {
          for (let g = 0; g < G; g++) {
            const group = choices.slice(g * T, (g + 1) * T);
            const loads = Array.from({ length: E }, (_, e) => group.filter((choice) => choice === e).length);
            expect(sum(loads)).toBe(T);
            expect(Math.max(...loads)).toBeLessThanOrEqual(capacity);
          }
        }
      }),
    );
  });

  test("is every token's best where there is room for all, the lower expert among equals", () => {
    fc.assert(
      fc.property(scores(1), (x) => {
        const [, T = 1, E = 1] = x.type.shape;
        const rows = Array.from({ length: x.data.length / E }, (_, t) =>
          Array.from(x.numbers().subarray(t * E, (t + 1) * E)),
        );
        const best = rows.map((row) => row.indexOf(Math.max(...row)));
        for (const choices of chosen(x, T)) expect(choices).toEqual(best);
      }),
    );
  });

  test("lets the best of those who ask in, and sends the others to their next", () => {
    // Three ask for expert 0, which has room for two; of those turned away one has no choice left.
    const x = f32([1, 4, 2], [5, 1, 9, 3, 7, 2, 0, 8]);
    for (const choices of chosen(x, 2)) expect(choices).toEqual([1, 0, 0, 1]);
    // Of equal scores the earlier token is first.
    for (const choices of chosen(f32([1, 2, 2], [1, 0, 1, 0]), 1)) expect(choices).toEqual([0, 1]);
    // Who is taken stays: the second token would gain more by expert 0 than the first would lose.
    const y = f32([1, 3, 3], [4, 3, 0, 9, 10, 0, 8, 11, 0]);
    for (const choices of chosen(y, 1)) expect(choices).toEqual([0, 2, 1]);
  });
});

describe.each(underTest)("$name", async ({ load, tolerance }) => {
  const backend = await load();
  const engine = await backend.open();
  afterAll(() => engine.close());

  test("serves every token once, weighted by the sigmoid of its score", async () => {
    const { cases, image, weights: source } = tinyVmoe();
    const { config } = cases.get("vanilla_C1.05")!;
    const encoder = config["encoder"] as Json & { readonly moe: Json };
    const moe = { ...encoder.moe, router: { name: "BalancedAssignmentRouter" } };
    const model = createModel({ ...config, encoder: { ...encoder, moe } }, { batch: 4, imageSize: [12, 12] });
    const matched = matchWeights(model.parameters, source, "golden");
    const oracle = await reference.open();
    const [got, want] = await Promise.all(
      [engine, oracle].map(async (each) => {
        const executable = await each.compile(model.graph, matched, { check: true });
        const outputs = await executable.run(new Map([["image", image]]));
        expect(executable.report.readbacks ?? 0).toBe(0);
        executable.dispose();
        return outputs;
      }),
    );
    for (const { name, capacity, groups, experts } of model.blocks) {
      const slots = Array.from(got!.get(`${name}/slots`)!.numbers());
      expect(slots.every((slot) => slot >= 0)).toBe(true);
      expect([capacity, groups, experts, new Set(slots.slice(0, 20)).size]).toEqual([5, 2, 4, 20]);
      expect(got!.get(`${name}/tokens`)).toEqual(want!.get(`${name}/tokens`));
      const weights = Array.from(got!.get(`${name}/weights`)!.numbers());
      expect(weights.every((weight) => weight > 0 && weight < 1)).toBe(true);
      const best = `${name}/ratio_items_with_best_expert`;
      expect(distance(got!.get(best)!, want!.get(best)!)).toBeLessThan(1e-6);
    }
    const logits = distance(got!.get("logits")!, want!.get("logits")!);
    expect(logits).toBeLessThan(20 * (tolerance ?? backend.tolerance).f32);
  });
});
