/** Laws of the routers in which experts choose or share tokens evenly, and the original's test vector of one. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { type AnyOp, evaluate, Graph, input, ops, type Sizes, Tensor } from "../ir/index.ts";

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
