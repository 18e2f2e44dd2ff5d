/** Every router whose tokens choose, against its rule on plain numbers; and what a configuration may not say. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { evaluate, Graph, input, ops, Tensor, type Value } from "../../ir/index.ts";
import {
  createModel,
  defineRouter,
  type Json,
  type Model,
  randomWeights,
  type Router,
  routers,
} from "../../models/index.ts";
import { Parameters } from "../../models/parameters.ts";
import { expectOneLine } from "../support/errors.ts";
import { tinyWith } from "../support/golden.ts";
import { ranked, type RuleOptions, rules, seated } from "../support/routingRules.ts";

/** One group of tokens with E logits each. */
interface Case {
  readonly logits: readonly (readonly number[])[];
  readonly bias?: readonly number[];
  /** The draw that noise is made of, one number a logit. */
  readonly draw?: readonly (readonly number[])[];
  readonly options?: Json;
}

interface Routed {
  readonly tokens: readonly number[];
  readonly slots: readonly number[];
  readonly weights: readonly number[];
  readonly outputs: ReadonlyMap<string, Tensor>;
}

const f32 = (shape: readonly number[], numbers: readonly number[]): Tensor =>
  Tensor.from({ dtype: "f32", shape }, numbers);

const identity = (n: number): Tensor => Tensor.of("f32", [n, n], (i, j) => (i === j ? 1 : 0));

/** The router's plan for tokens that are their own logits: the kernel is the identity. */
async function route(name: string, { logits, bias, draw, options }: Case): Promise<Routed> {
  const [T, E] = [logits.length, logits[0]!.length];
  const type = { dtype: "f32", shape: [1, T, E] } as const;
  const [x, noise] = [input("x", type), input("noise", type)];
  const parameters = new Parameters();
  const router = routers.get(name)!.bind({ name, ...options }, E);
  const plan = router.route({ x, experts: E, members: 1, parameters, noise: draw && (() => noise) });
  const outputs: [string, Value][] = [
    ["tokens", plan.tokens],
    ["slots", plan.slots],
    ["weights", plan.weights],
    ["auxiliary_loss", plan.auxiliaryLoss],
    ...plan.metrics,
  ];
  const graph = new Graph(name, draw ? [x, noise] : [x], outputs);
  const tensors = new Map([
    ["x", f32(type.shape, logits.flat())],
    ["noise", f32(type.shape, (draw ?? logits).flat())],
    ["dense/kernel", identity(E)],
    ["bias", f32([E], bias ?? Array(E).fill(0))],
  ]);
  const tables = randomWeights(parameters.all, 0);
  for (const { name: table, trained } of parameters.all) {
    if (!trained) tensors.set(table, await tables.read(table));
  }
  const results = evaluate(graph, ({ leaf }) => tensors.get(leaf!.name));
  const numbers = (output: string): number[] => Array.from(results.get(output)!.numbers());
  return {
    tokens: numbers("tokens"),
    slots: numbers("slots"),
    weights: numbers("weights"),
    outputs: results,
  };
}

const { fround } = Math;

/** These look at more than a token's logits; golden.test.ts holds them to the original's own outputs. */
const recorded = ["KLProjectionNoisyTopExpertsPerItemRouter", "NoisyTopExpertsPerItemEnsembleRouter"];

const choosing: readonly Router[] = [...routers.values()].filter(
  ({ name, keys }) => keys.includes("num_selected_experts") && !recorded.includes(name),
);

test("each router whose tokens choose has a rule on plain numbers", () => {
  expect(choosing.map(({ name }) => name).toSorted()).toEqual(Object.keys(rules).toSorted());
});

/** Logits, biases and draws in quarters, so that ties happen. */
const quarters = (length: number): fc.Arbitrary<number[]> =>
  fc.array(
    fc.integer({ min: -6, max: 6 }).map((v) => v / 4),
    { minLength: length, maxLength: length },
  );

const sizes = fc.record({
  T: fc.integer({ min: 1, max: 7 }),
  E: fc.integer({ min: 1, max: 8 }),
  choices: fc.integer({ min: 1, max: 8 }),
  capacity: fc.integer({ min: 1, max: 7 }),
  priority: fc.constantFrom("position" as const, "largest" as const, "sum" as const),
  noisy: fc.boolean(),
  stream: fc.infiniteStream(fc.nat(2 ** 20)),
});

const anyCase = sizes.chain(({ T, E, ...rest }) =>
  fc.record({
    logits: fc.array(quarters(E), { minLength: T, maxLength: T }),
    draw: fc.array(quarters(E), { minLength: T, maxLength: T }),
    bias: quarters(E),
    rest: fc.constant(rest),
  }),
);

describe.each(choosing.map((router) => [router.name, router] as const))("%s", (name, router) => {
  test("chooses, weighs and serves as its rule says", async () => {
    await fc.assert(
      fc.asyncProperty(anyCase, async ({ logits, draw, bias, rest }) => {
        const { choices, capacity, priority, noisy, stream } = rest;
        const [T, E] = [logits.length, logits[0]!.length];
        const k = Math.min(choices, E);
        const own = router.sample({ experts: E, choices: k }, (n) => stream.next().value! % n);
        const dispatcher = {
          capacity,
          batch_priority: priority !== "position",
          priority_by: priority === "sum" ? "sum" : "largest",
        };
        const noise = noisy ? { noise_std: 1.5 } : {};
        const options = { num_selected_experts: k, ...own, ...noise } as RuleOptions;
        // The sum of all gates of a softmax is 1: no order.
        fc.pre(priority !== "sum" || options.num_selected_experts < E || E === 1);
        const given = { logits, bias, options: { ...options, dispatcher }, ...(noisy && { draw }) };
        const { tokens, slots, weights } = await route(name, given);

        const disturbed = (row: readonly number[], t: number): readonly number[] =>
          noisy ? row.map((v, e) => fround(v + fround(draw[t]![e]! * fround(1.5 / E)))) : row;
        const tables = (await tableOf(router, options, T, E)).map(disturbed);
        const want = logits
          .map(disturbed)
          .map((row, t) => rules[name]!(row, options, { bias, table: tables[t] ?? [] }));
        expect({ tokens, slots }).toEqual(seated(want, E, { capacity, priority }));
        for (const [i, weight] of want.flatMap((choice) => choice.weights).entries()) {
          expect(weights[i]).toBeCloseTo(weight, 5);
        }
      }),
    );
  });
});

/** The rows of the router's table, where it has one. */
async function tableOf(router: Router, options: Json, T: number, E: number): Promise<number[][]> {
  const parameters = new Parameters();
  const x = input("x", { dtype: "f32", shape: [1, T, E] });
  const given = { name: router.name, ...options, dispatcher: { capacity: 1 } };
  router.bind(given, E).route({ x, experts: E, members: 1, parameters, noise: undefined });
  const table = parameters.all.find(({ trained }) => !trained);
  if (!table) return [];
  const numbers = Array.from((await randomWeights(parameters.all, 5).read(table.name)).numbers());
  return Array.from({ length: T }, (_, t) => numbers.slice(t * E, (t + 1) * E));
}

const roomy = { dispatcher: { capacity_policy: "dropless" } };

/** The experts of one token with room for all, -1 for a choice that does not count, and its weights. */
async function single(
  name: string,
  logits: readonly number[],
  { bias, options }: { readonly bias?: readonly number[]; readonly options?: Json } = {},
): Promise<{ readonly experts: readonly number[]; readonly weights: readonly number[] }> {
  const given = { logits: [logits], ...(bias && { bias }), options: { ...roomy, ...options } };
  const { slots, weights } = await route(name, given);
  return { experts: slots, weights: weights.map((w) => Number(w.toFixed(5))) };
}

const logs = [0.5, 0.3, 0.15, 0.05].map(Math.log);

describe("by hand", () => {
  test("gates as they are, renormalised, and softmax of the chosen logits", async () => {
    const options = { num_selected_experts: 2 };
    const of = (name: string): ReturnType<typeof single> => single(name, logs, { options });
    expect(await of("NoisyTopExpertsPerItemRouter")).toEqual({ experts: [0, 1], weights: [0.5, 0.3] });
    expect(await of("TopKRenormalisedRouter")).toEqual({ experts: [0, 1], weights: [0.625, 0.375] });
    expect(await single("SoftmaxAfterTopKRouter", [1, 3, 2])).toEqual({
      experts: [1, 2],
      weights: [0.73106, 0.26894],
    });
    expect(await single("SwitchRouter", logs)).toEqual({ experts: [0], weights: [0.5] });
  });

  test("a bias moves the choice and not the weights", async () => {
    // Gates 1/2, 1/2, 3/4.
    const logits = [0, 0, Math.log(3)];
    expect(await single("SigmoidBiasRouter", logits)).toEqual({ experts: [2, 0], weights: [0.6, 0.4] });
    const steered = await single("SigmoidBiasRouter", logits, { bias: [0.5, 0.3, 0] });
    expect(steered).toEqual({ experts: [0, 1], weights: [0.5, 0.5] });
  });

  test("the best expert is out of reach where its group is not the best", async () => {
    // Gates 0.9, 0.1 | 0.6, 0.6: pairs add up to 1 and 1.2.
    const logits = [Math.log(9), -Math.log(9), Math.log(1.5), Math.log(1.5)];
    const options = { n_group: 2, topk_group: 1, routed_scaling_factor: 2.5 };
    expect(await single("GroupLimitedRouter", logits, { options })).toEqual({
      experts: [2, 3],
      weights: [1.25, 1.25],
    });
    const open = await single("GroupLimitedRouter", logits, { options: { n_group: 2, topk_group: 2 } });
    expect(open).toEqual({ experts: [0, 2], weights: [0.6, 0.4] });
    // Far below 0, the best group is still that of the largest sum.
    const low = await single("GroupLimitedRouter", logits, { options, bias: [-9, -9, -9, -9] });
    expect(low.experts).toEqual([2, 3]);
  });

  test.each([
    [0.45, [0, -1, -1]],
    [0.6, [0, 1, -1]],
    [0.9, [0, 1, 2]],
  ])("until the gates sum to more than %f", async (top_p, experts) => {
    const options = { num_selected_experts: 3, top_p };
    expect(await single("ThresholdRouter", logs, { options })).toEqual({
      experts,
      weights: [0.5, 0.3, 0.15],
    });
  });

  test("a sum of exactly top_p is not more", async () => {
    const options = { num_selected_experts: 4, top_p: 0.5 };
    const { experts } = await single("ThresholdRouter", [0, 0, 0, 0], { options });
    expect(experts).toEqual([0, 1, 2, -1]);
  });

  test.each(choosing.filter(({ keys }) => !keys.includes("seed")).map(({ name }) => name))(
    "%s: the lower expert and the lower group first among equals",
    async (name) => {
      const k = name === "SwitchRouter" ? 1 : 2;
      const options = {
        num_selected_experts: k,
        ...(name === "GroupLimitedRouter" && { n_group: 3, topk_group: 1 }),
        ...(name === "ThresholdRouter" && { top_p: 1 }),
      };
      const { experts } = await single(name, [0.25, 0.25, 0.25, 0.25, 0.25, 0.25], { options });
      expect(experts).toEqual([0, 1].slice(0, k));
    },
  );

  test("a row of gates that are all 0 has weights of 0", async () => {
    const { weights } = await single("SigmoidBiasRouter", [-1000, -1000, -1000]);
    expect(weights).toEqual([0, 0]);
  });
});

const model = (router: Json): Model =>
  createModel(tinyWith({ ...router, dispatcher: { capacity_factor: 1 } }), {
    batch: 4,
    imageSize: [12, 12],
  });

describe("fixed assignments", () => {
  test.each([
    [12, 4],
    [50, 8],
    [5, 9],
    [7, 1],
  ])("%i positions are shared evenly by %i experts, whatever the choice", async (T, E) => {
    const rows = await tableOf(routers.get("HashRouter")!, {}, T, E);
    const orders = rows.map(ranked);
    for (let j = 0; j < E; j++) {
      const loads = Array.from({ length: E }, (_, e) => orders.filter((order) => order[j] === e).length);
      expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
    }
    expect(orders.every((order) => order.every((e, j) => e === (order[0]! + j) % E))).toBe(true);
  });

  test.each(["HashRouter", "RandomRouter"])("%s: drawn by its seed alone, learns nothing", async (name) => {
    const { parameters, blocks, flops } = model({ name });
    const [T, D, E] = [10, 16, 4];
    expect(model({ name: "SwitchRouter" }).flops - flops).toBe(blocks.length * 2 * T * D * E);
    const own = parameters.filter((parameter) => parameter.name.includes("/Router/"));
    expect(own.map(({ trained }) => trained)).toEqual(blocks.map(() => false));
    const read = async (seed: number, of: number): Promise<string[]> => {
      const source = randomWeights(model({ name, seed }).parameters, of);
      return Promise.all(own.map(async (table) => String((await source.read(table.name)).data)));
    };
    expect(await read(0, 1)).toEqual(await read(0, 2));
    expect(await read(0, 1)).not.toEqual(await read(1, 1));
    // Blocks differ.
    expect(new Set(await read(0, 1)).size).toBe(blocks.length);
  });

  test("have neither metrics nor losses", async () => {
    for (const name of ["HashRouter", "RandomRouter"]) {
      const { outputs } = await route(name, { logits: [[1, 2]], options: roomy });
      expect([...outputs.keys()]).toEqual(["tokens", "slots", "weights", "auxiliary_loss"]);
      expect(outputs.get("auxiliary_loss")!.at(0)).toBe(0);
    }
  });
});

test("the load loss is that of routers that choose the largest logits", async () => {
  const names: string[] = [];
  for (const { name } of choosing) {
    const draw = [[1, -1]];
    const options = { ...roomy, num_selected_experts: 1, noise_std: 1 };
    const { outputs } = await route(name, { logits: [[1, 2]], draw, options });
    if (outputs.has("load_loss")) names.push(name);
  }
  const others = ["SigmoidBiasRouter", "GroupLimitedRouter", "HashRouter", "RandomRouter"];
  expect(names).toEqual(choosing.map(({ name }) => name).filter((name) => !others.includes(name)));
});

test.each([
  ["SwitchRouter", { num_selected_experts: 2 }, "num_selected_experts: expected 1"],
  ["SigmoidBiasRouter", { n_group: 2 }, "n_group: unknown key [M1]"],
  ["GroupLimitedRouter", { n_group: 3 }, "n_group: must divide num_experts = 8; got 3 [M3]"],
  [
    "GroupLimitedRouter",
    { n_group: 2, topk_group: 3 },
    "topk_group: must be at most n_group = 2; got 3 [M3]",
  ],
  [
    "GroupLimitedRouter",
    { n_group: 4, topk_group: 1, num_selected_experts: 3 },
    "num_selected_experts: must be at most 2, the experts of 1 of 4 groups; got 3 [M3]",
  ],
  ["GroupLimitedRouter", { routed_scaling_factor: 0 }, "routed_scaling_factor: "],
  ["ThresholdRouter", { top_p: 1.5 }, "top_p: "],
  ["HashRouter", { seed: "1" }, "seed: expected number, received string [M1]"],
  [
    "TopKRenormalisedRouter",
    { num_selected_experts: 8, dispatcher: { capacity: 1, batch_priority: true, priority_by: "sum" } },
    "dispatcher.priority_by: must be largest where each token chooses all 8 experts: every sum of gates is 1; got sum [M3]",
  ],
])("%s refuses %j by its key", (name, options, message) => {
  const caught = (() => {
    try {
      return routers.get(name)!.bind({ name, ...roomy, ...options }, 8);
    } catch (error) {
      return error;
    }
  })();
  expect(expectOneLine(caught).message).toContain(`encoder.moe.router.${message}`);
});

test("a priority of a router's own decides who is served first, where a configuration asks for it", () => {
  const last = defineRouter({
    name: "LastFirst",
    summary: "Later tokens are served first.",
    priority: (_chosen, { G, T }) =>
      ops.cast(ops.broadcast(ops.iota({ size: T }), { shape: [G, T] }), { to: "f32" }),
  });
  const seats = (batch_priority: boolean): number[] => {
    const x = input("x", { dtype: "f32", shape: [1, 4, 1] });
    const given = { name: last.name, dispatcher: { capacity: 2, batch_priority } };
    const plan = last
      .bind(given, 1)
      .route({ x, experts: 1, members: 1, parameters: new Parameters(), noise: undefined });
    const graph = new Graph("plan", [x], [["tokens", plan.tokens]]);
    const outputs = evaluate(graph, ({ type }) => Tensor.of("f32", type.shape, () => 1));
    return Array.from(outputs.get("tokens")!.numbers());
  };
  expect([seats(false), seats(true)]).toEqual([
    [0, 1],
    [3, 2],
  ]);
});
