/** Laws of routing, for random gates with ties, empty experts and every capacity; and the original's test vectors. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { ops, Tensor } from "../ir/index.ts";
import { capacityOf, capacityPolicies, type Demand } from "../models/index.ts";
import { applied } from "../testing/program.ts";
import { drawScores, type ScoreKind, scoreKinds } from "../testing/scores.ts";

interface Plan {
  readonly tokens: readonly number[];
  readonly slots: readonly number[];
  readonly weights: readonly number[];
}

interface Case {
  readonly logits: Tensor;
  readonly G: number;
  readonly T: number;
  readonly E: number;
  readonly k: number;
  readonly capacity: number;
  readonly priority: "token" | "gate";
}

const f32 = (shape: readonly number[], numbers: readonly number[]): Tensor =>
  Tensor.from({ dtype: "f32", shape }, numbers);
const i32 = (shape: readonly number[], numbers: readonly number[]): Tensor =>
  Tensor.from({ dtype: "i32", shape }, numbers);

function route({ logits, k, capacity, priority }: Omit<Case, "G" | "T" | "E">): Plan {
  const [tokens, slots, weights] = applied(ops.routeTopExperts, [logits], { k, capacity, priority }).map(
    (t) => Array.from(t.numbers()),
  );
  return { tokens: tokens!, slots: slots!, weights: weights! };
}

const logitsOf = (kind: ScoreKind, ...shape: readonly number[]): fc.Arbitrary<Tensor> =>
  fc.infiniteStream(fc.nat(2 ** 20)).map((stream) =>
    f32(
      shape,
      drawScores(kind, shape, (n) => stream.next().value! % n),
    ),
  );

const anyCase = (kind: ScoreKind): fc.Arbitrary<Case> =>
  fc
    .record({
      G: fc.integer({ min: 1, max: 3 }),
      T: fc.integer({ min: 1, max: 9 }),
      E: fc.integer({ min: 1, max: 6 }),
      capacity: fc.integer({ min: 1, max: 12 }),
      priority: fc.constantFrom("token" as const, "gate" as const),
    })
    .chain((sizes) =>
      fc.record({
        ...(Object.fromEntries(Object.entries(sizes).map(([key, value]) => [key, fc.constant(value)])) as {
          [K in keyof typeof sizes]: fc.Arbitrary<(typeof sizes)[K]>;
        }),
        k: fc.integer({ min: 1, max: sizes.E }),
        logits: logitsOf(kind, sizes.G, sizes.T, sizes.E),
      }),
    );

const dropsOf = ({ slots }: Plan): number => slots.filter((slot) => slot < 0).length;

describe.each(scoreKinds)("%s gates", (kind) => {
  test("each kept choice sits in exactly one slot of the expert it chose, in order of service", () => {
    fc.assert(
      fc.property(anyCase(kind), (c) => {
        const { T, E, k, capacity } = c;
        const { tokens, slots } = route(c);
        const seats = slots.map((slot, choice) => tokens[Math.floor(choice / (T * k)) * E * capacity + slot]);
        const astray = slots.filter((slot, i) => slot >= 0 && seats[i] !== Math.floor(i / k) % T);
        expect(astray).toEqual([]);
        const kept = slots.length - dropsOf({ tokens, slots, weights: [] });
        expect(tokens.filter((token) => token >= 0).length).toBe(kept);
        // Buffers fill from the front.
        for (let buffer = 0; buffer < tokens.length; buffer += capacity) {
          const places = tokens.slice(buffer, buffer + capacity);
          const load = places.filter((token) => token >= 0).length;
          expect(places.slice(load).every((token) => token === -1)).toBe(true);
        }
      }),
    );
  });

  test("more capacity never drops more, and none is dropped once a group fits", () => {
    fc.assert(
      fc.property(anyCase(kind), (c) => {
        expect(dropsOf(route({ ...c, capacity: c.capacity + 1 }))).toBeLessThanOrEqual(dropsOf(route(c)));
        expect(dropsOf(route({ ...c, capacity: c.T }))).toBe(0);
      }),
    );
  });

  test("the choices are the k largest gates, the lower expert first among equals, whatever the capacity", () => {
    fc.assert(
      fc.property(anyCase(kind), (c) => {
        const { E, k, T } = c;
        const { slots, weights } = route({ ...c, capacity: T });
        const gates = Array.from(applied(ops.softmax, [c.logits], {})[0]!.numbers());
        for (let row = 0; row < gates.length / E; row++) {
          const own = gates.slice(row * E, (row + 1) * E);
          const order = [...own.keys()].toSorted((a, b) => own[b]! - own[a]! || a - b).slice(0, k);
          expect(slots.slice(row * k, (row + 1) * k).map((slot) => Math.floor(slot / T))).toEqual(order);
          expect(weights.slice(row * k, (row + 1) * k)).toEqual(order.map((e) => own[e]!));
        }
        expect(weights).toEqual(route(c).weights);
      }),
    );
  });

  test("relabelling experts relabels the plan, for gates without ties", () => {
    fc.assert(
      fc.property(anyCase("separated"), (c) => {
        const { E, capacity } = c;
        const reversed = Array.from(c.logits.numbers()).map(
          (_, i, all) => all[i - (i % E) + (E - 1 - (i % E))]!,
        );
        const mirrored = route({ ...c, logits: f32(c.logits.type.shape, reversed) });
        const relabel = (slot: number): number =>
          slot < 0 ? -1 : (E - 1 - Math.floor(slot / capacity)) * capacity + (slot % capacity);
        expect(mirrored.slots.map(relabel)).toEqual(route(c).slots);
      }),
    );
  });
});

test("batch prioritized routing does not depend on the order of tokens, for distinct gates; token order does", () => {
  const seen = new Set<boolean>();
  fc.assert(
    fc.property(anyCase("separated"), (c) => {
      const { G, T, E, k } = c;
      const flip = (values: ArrayLike<number>, width: number): number[] =>
        Array.from(values, (_, i) => {
          const [row, place] = [Math.floor(i / width), i % width];
          return values[(Math.floor(row / T) * T + (T - 1 - (row % T))) * width + place]!;
        });
      const first = Array.from(applied(ops.softmax, [c.logits], {})[0]!.numbers());
      const largest = Array.from({ length: G * T }, (_, t) => Math.max(...first.slice(t * E, (t + 1) * E)));
      fc.pre(
        Array.from({ length: G }, (_, g) => new Set(largest.slice(g * T, (g + 1) * T)).size).every(
          (n) => n === T,
        ),
      );
      const flipped = { ...c, logits: f32([G, T, E], flip(c.logits.numbers(), E)) };
      const bpr = route({ ...c, priority: "gate" });
      expect(flip(route({ ...flipped, priority: "gate" }).slots, k)).toEqual(bpr.slots);
      const vanilla = route({ ...c, priority: "token" });
      seen.add(String(flip(route({ ...flipped, priority: "token" }).slots, k)) === String(vanilla.slots));
    }),
    { numRuns: 200 },
  );
  expect(seen.has(false)).toBe(true);
});

const dot = (a: Tensor, b: Tensor): number =>
  Array.from(a.numbers()).reduce((sum, v, i) => sum + v * b.numbers()[i]!, 0);

test("dispatch and combine with unit weights are adjoint: <dispatch x, y> = <x, combine y>", () => {
  fc.assert(
    fc.property(anyCase("tied"), fc.infiniteStream(fc.integer({ min: -8, max: 8 })), (c, stream) => {
      const { G, T, E, k, capacity } = c;
      const draw = (...shape: number[]): Tensor =>
        f32(
          shape,
          Array.from({ length: shape.reduce((a, b) => a * b) }, () => stream.next().value as number),
        );
      const { tokens, slots } = route(c);
      const [x, y] = [draw(G, T, 3), draw(G, E, capacity, 3)];
      const [sent] = applied(ops.dispatch, [x, i32([G, E, capacity], tokens)], {});
      const ones = f32(
        [G, T, k],
        slots.map(() => 1),
      );
      const [back] = applied(ops.combine, [y, i32([G, T, k], slots), ones], {});
      expect(dot(sent!, y)).toBe(dot(x, back!));
    }),
  );
});

test("the original's test vectors of buffer assignment", () => {
  const gates = [0.4, 0, 0.2, 0.5, 0.1, 0.4, 0.3, 0.2, 0.6];
  const [, indices] = applied(ops.topK, [f32([1, 3, 3], gates)], { k: 2 });
  const assign = (order: readonly number[]): (string | number[])[] => {
    const [, slots] = applied(ops.assignSlots, [indices!, i32([1, 3], order)], { experts: 3, capacity: 2 });
    return Array.from(slots!.numbers(), (slot) => (slot < 0 ? "dropped" : [Math.floor(slot / 2), slot % 2]));
  };
  const byGate = applied(ops.topK, [f32([1, 3], [0.4, 0.5, 0.6])], { k: 3 })[1]!;
  expect(assign([0, 1, 2])).toEqual([[0, 0], [2, 1], [0, 1], "dropped", [2, 0], "dropped"]);
  expect(assign(Array.from(byGate.numbers()))).toEqual([
    [0, 1],
    "dropped",
    [0, 0],
    [2, 1],
    [2, 0],
    "dropped",
  ]);
});

test("the original's test vectors of the losses", () => {
  const gates = f32([1, 4, 3], [0.5, 0.4, 0.1, 0.3, 0.3, 0.4, 0.1, 0.2, 0.7, 0.8, 0.2, 0]);
  expect(applied(ops.gshardLoss, [gates], {})[0]!.at(0)).toBeCloseTo(1.0875, 6);
  expect(applied(ops.importanceLoss, [gates], {})[0]!.at(0)).toBeCloseTo(0.03875, 6);
  const logits = [0.9, 0.06, 0.04, 0.7, 0.18, 0.12, 0.85, 0.05, 0.1];
  const noise = [-0.037, 0.026, -0.018, -0.074, 0.045, -0.015, -0.067, -0.059, 0.073];
  const noisy = f32(
    [1, 3, 3],
    logits.map((v, i) => v + noise[i]!),
  );
  const [largest] = applied(ops.topK, [noisy], { k: 2 });
  const second = f32(
    [1, 3],
    [0, 1, 2].map((t) => largest!.at(0, t, 1)),
  );
  const [load] = applied(ops.loadLoss, [f32([1, 3, 3], logits), second], { sigma: 0.1 });
  expect(load!.at(0)).toBeCloseTo(0.48574, 5);
});

test("perfectly balanced gates lose nothing", () => {
  const even = f32([2, 4, 3], Array(24).fill(1 / 3));
  expect(Array.from(applied(ops.importanceLoss, [even], {})[0]!.numbers())).toEqual([0, 0]);
  expect(applied(ops.importanceLoss, [f32([1, 2, 1], [1, 1])], {})[0]!.at(0)).toBe(0);
});

test.each([
  [400, 2, 8, 1.05, 108, 105, 105],
  [400, 2, 8, 4.0, 400, 400, 400],
  [1160, 2, 8, 1.5, 436, 435, 435],
  [1576, 2, 8, 1.05, 416, 414, 414],
  [4616, 2, 8, 1.5, 1732, 1731, 1731],
  [520, 2, 8, 1.5, 196, 195, 195],
  [2056, 2, 32, 1.05, 136, 135, 135],
  [4352, 1, 8, 1.5, 816, 816, 816],
])(
  "capacity of groups of %i, k = %i, E = %i, C = %f",
  (group, k, experts, factor, repository, ceil, round) => {
    const policy = { capacity: null, factor, policy: "ceil", multipleOf: 4 };
    const demand = { tokens: group, choices: k, experts };
    expect(capacityOf(policy, demand)).toBe(repository);
    expect(capacityOf({ ...policy, multipleOf: null }, demand)).toBe(ceil);
    expect(capacityOf({ ...policy, multipleOf: 0, policy: "round" }, demand)).toBe(round);
  },
);

test("capacity rounds halves to even, takes an absolute number as it is, and is at least one", () => {
  const policy = { capacity: null, factor: 0.35, policy: "round", multipleOf: null };
  const demand = { tokens: 20, choices: 2, experts: 4 };
  expect(capacityOf(policy, demand)).toBe(4);
  expect(capacityOf({ ...policy, factor: 0.25 }, demand)).toBe(2);
  expect(capacityOf({ ...policy, capacity: 7 }, demand)).toBe(7);
  expect(() => capacityOf({ ...policy, factor: 0.01 }, demand)).toThrow(
    /capacity_factor: must give at least one slot/,
  );
});

test.each([
  ["ceil", 13],
  ["round", 13],
  ["tutel", 14],
  ["deepspeed", 13],
  ["gshard", 12],
  ["megablocks", 12],
  ["dropless", 197],
])("197 tokens, 32 experts, 2 choices and a factor of 1.05 get %s's %i slots", (policy, slots) => {
  const choice = { capacity: null, factor: 1.05, policy, multipleOf: null };
  expect(capacityOf(choice, { tokens: 197, choices: 2, experts: 32 })).toBe(slots);
});

const demands: fc.Arbitrary<Demand> = fc.record({
  tokens: fc.integer({ min: 1, max: 5000 }),
  choices: fc.integer({ min: 1, max: 8 }),
  experts: fc.integer({ min: 1, max: 256 }),
  factor: fc.integer({ min: 1, max: 400 }).map((v) => v / 100),
});

test.each([...capacityPolicies])("%s keeps its bounds, and grows with the demand", (_, policy) => {
  fc.assert(
    fc.property(demands, (demand) => {
      const slots = policy.slots(demand);
      const [least, most] = policy.bounds(demand);
      // Sources round once or twice on the way; so do the bounds.
      const slack = 1e-9 * (1 + most);
      expect(Number.isSafeInteger(slots)).toBe(true);
      expect(slots).toBeGreaterThanOrEqual(least - slack);
      expect(slots).toBeLessThanOrEqual(most + slack);
      expect(policy.slots({ ...demand, tokens: demand.tokens + 1 })).toBeGreaterThanOrEqual(slots);
      expect(policy.slots({ ...demand, factor: demand.factor + 0.01 })).toBeGreaterThanOrEqual(slots);
    }),
  );
});
