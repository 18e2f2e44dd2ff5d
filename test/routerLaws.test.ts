/** Every shipped router keeps every law of routing on every backend; and the laws catch routers that do not. */
import { describe, expect, test } from "vitest";

import { backends } from "../backends/index.ts";
import { reference } from "../backends/reference/index.ts";
import { defineOp, ops, type Value } from "../ir/index.ts";
import { defineRouter, type Grouped, type Router, routers, type RoutingPlan } from "../models/index.ts";
import { filled, scaled } from "../models/shorthand.ts";
import { routerLaws } from "../testing/index.ts";
import { runs } from "./support/runs.ts";

const devices = Object.keys(backends).filter((name) => name !== reference.name);
// A software driver of a GPU takes long to compile for a case.
const backendRuns = runs(2);

describe.each([...routers])("%s", (_, router) => {
  const laws = routerLaws(router, { backends: devices, backendRuns, numRuns: runs(50) });
  test.each(laws.map((law) => [law.name, law] as const))("%s", async (name, law) => {
    await expect(law.check(), name).resolves.toBeUndefined();
  });
});

const honest = routers.get("NoisyTopExpertsPerItemRouter")!;

/** The honest router with its options, its tokens or its plan changed. */
const altered = (change: {
  readonly options?: (dispatcher: Record<string, unknown>) => Record<string, unknown>;
  readonly x?: (grouped: Grouped) => Value;
  readonly plan?: (plan: RoutingPlan) => Partial<RoutingPlan>;
}): Router => ({
  ...honest,
  bind(options, experts) {
    const given = options as { readonly dispatcher: Record<string, unknown> };
    const dispatcher = change.options?.(given.dispatcher) ?? given.dispatcher;
    const bound = honest.bind({ ...given, dispatcher }, experts);
    return {
      ...bound,
      route(grouped) {
        const plan = bound.route({ ...grouped, x: change.x?.(grouped) ?? grouped.x });
        return { ...plan, ...change.plan?.(plan), items: grouped.x };
      },
    };
  },
});

/** The slots of all experts in reverse order. */
const mirrored = ({ tokens: { type }, slots }: RoutingPlan): Value => {
  const [, E = 1, capacity = 1] = type.shape;
  const turned = ops.subtract(filled(E * capacity - 1, slots), slots);
  return ops.select(ops.compare(slots, filled(0, slots), { is: "lt" }), slots, turned);
};

/** The entries of all buffers of a group in reverse order. */
const reversed = (tokens: Value): Value => {
  const [G = 1, E = 1, capacity = 1] = tokens.type.shape;
  const size = E * capacity;
  const backwards = ops.subtract(
    ops.constant({ value: size - 1, to: "i32", shape: [size] }),
    ops.iota({ size }),
  );
  const flat = ops.reshape(tokens, { shape: [G, size] });
  return ops.reshape(ops.take(flat, ops.broadcast(backwards, { shape: [G, size] })), {
    shape: [G, E, capacity],
  });
};

const signature = "x: f32[...] -> y: f32[...]";
const twoFaced = defineOp<typeof signature>({
  name: "two_faced",
  summary: "x, but when decomposed its negation.",
  signature,
  evaluate: ({ x }) => ({ y: x.numbers() }),
  decompose: ({ x }) => ({ y: scaled(x, -1) }),
});

let calls = 0;

const broken: readonly (readonly [what: string, router: Router, law: RegExp])[] = [
  [
    "weights that are not finite",
    altered({ plan: ({ weights }) => ({ weights: ops.divide(weights, filled(0, weights)) }) }),
    /^every number is finite/,
  ],
  [
    "negative weights",
    altered({ plan: ({ weights }) => ({ weights: scaled(weights, -1) }) }),
    /^every number is finite/,
  ],
  [
    "tokens that do not exist",
    altered({ plan: ({ tokens }) => ({ tokens: ops.add(tokens, filled(1, tokens)) }) }),
    /^every number is finite/,
  ],
  [
    "half precision",
    altered({ plan: ({ weights }) => ({ weights: ops.cast(weights, { to: "f16" }) }) }),
    /^the plan has the declared types/,
  ],
  [
    "more slots than allowed",
    altered({ options: (given) => ({ ...given, capacity: Number(given["capacity"]) + 1 }) }),
    /^the plan has the declared types/,
  ],
  [
    "buffers that fill from the back",
    altered({ plan: (plan) => ({ tokens: reversed(plan.tokens), slots: mirrored(plan) }) }),
    /^buffers fill from the front/,
  ],
  ["slots of another expert", altered({ plan: (plan) => ({ slots: mirrored(plan) }) }), /^each kept choice/],
  [
    "choices dropped but seated",
    altered({ plan: ({ slots }) => ({ slots: filled(-1, slots) }) }),
    /^each kept choice/,
  ],
  [
    "one token in all seats",
    altered({ plan: ({ tokens }) => ({ tokens: ops.minimum(tokens, filled(0, tokens)) }) }),
    /^each kept choice/,
  ],
  [
    "state of its own",
    altered({ x: ({ x }) => scaled(x, calls++ % 2 === 0 ? 1 : -1) }),
    /^the same tokens get the same bits/,
  ],
  [
    "a look at the first group",
    altered({
      x({ x }) {
        const first = ops.slice(x, { start: [0, 0, 0], limit: [1, ...x.type.shape.slice(1)] });
        return ops.add(x, ops.broadcast(first, { shape: x.type.shape }));
      },
    }),
    /^groups do not see each other/,
  ],
  [
    "choices that do not count, undeclared",
    {
      ...defineRouter({
        name: "mine",
        summary: "",
        keeps: ({ weights }) => ops.compare(weights, filled(0.3, weights), { is: "ge" }),
      }),
      abstains: false,
    },
    /^capacity decides drops alone/,
  ],
  [
    "other choices where slots are few",
    altered({
      options: (given) => ({ ...given, batch_priority: true }),
      plan: ({ tokens, weights }) => ({
        weights: scaled(weights, tokens.type.shape[2] === 1 ? 0.5 : 1),
      }),
    }),
    /^capacity decides drops alone/,
  ],
  [
    "no priority where it matters",
    altered({
      options: (given) => ({ ...given, batch_priority: Number(given["capacity"]) > 2 }),
    }),
    /^with batch priority/,
  ],
  ["an op that decomposes into another", altered({ x: ({ x }) => twoFaced(x) }), /^decomposed into core ops/],
];

test.each(broken)("a router with %s is caught", async (_, router, law) => {
  const caught: string[] = [];
  for (const { name, check } of routerLaws(router)) {
    await check().catch(() => caught.push(name));
  }
  expect(caught).toContainEqual(expect.stringMatching(law));
});
