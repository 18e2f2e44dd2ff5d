/** Live knobs: a program that is run with other k, capacity and priority is what a fresh compile for them would be. */
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";

import type { Engine, Executable } from "../backends/backend.ts";
import { backends } from "../backends/index.ts";
import { reference } from "../backends/reference/index.ts";
import { CompileError, sizeOf, Tensor } from "../ir/index.ts";
import {
  capacityPolicies,
  createModel,
  type Json,
  type Knobs,
  knobsOf,
  knobsPrefix,
  mergeConfig,
  type Model,
  normalDraws,
  probing,
  randomWeights,
  type Router,
  routers,
} from "../models/index.ts";
import { distance } from "./support/close.ts";
import { underTest } from "./support/engines.ts";
import { expectOneLine } from "./support/errors.ts";
import { runs } from "./support/runs.ts";

const imageSize = [8, 8] as const;

const dispatcherPath = (dispatcher: Json): Json => ({ encoder: { moe: { router: { dispatcher } } } });

/** A small model of two blocks, one or both of them sparse. */
const configOf = (router: Json, experts: number, layers: readonly number[], groupImages: number): Json => ({
  name: "VisionTransformerMoe",
  num_classes: 6,
  patch_size: [4, 4],
  hidden_size: 8,
  classifier: "token",
  encoder: {
    num_layers: 2,
    mlp_dim: 12,
    num_heads: 2,
    moe: { num_experts: experts, layers, group_size: 5 * groupImages, router },
  },
});

interface Drawn {
  readonly config: Json;
  readonly batch: number;
  readonly noise: boolean;
  readonly settings: readonly Knobs[];
  readonly seed: number;
}

const factors = [0.2, 0.5, 1, 1.05, 2, 8];

const drawn = (router: Router): fc.Arbitrary<Drawn> =>
  fc
    .record({
      experts: fc.integer({ min: 1, max: 9 }),
      choices: fc.integer({ min: 1, max: 4 }),
      factor: fc.constantFrom(...factors),
      policy: fc.constantFrom(null, ...[...capacityPolicies.keys()].filter((name) => name !== "dropless")),
      multiple: fc.constantFrom(null, 4),
      bfloat16: fc.boolean(),
      sum: fc.boolean(),
      noise: fc.boolean(),
      layers: fc.constantFrom([1], [0, 1]),
      groups: fc.integer({ min: 1, max: 3 }),
      groupImages: fc.integer({ min: 1, max: 3 }),
      own: fc.infiniteStream(fc.nat(2 ** 20)),
      seed: fc.nat(2 ** 20),
    })
    .chain((sizes) => {
      const { experts, factor, multiple, bfloat16, own, layers, groups, groupImages } = sizes;
      const pick = (n: number): number => (own.next().value as number) % n;
      const asked = Math.min(sizes.choices, experts);
      const choices = router.name === "SwitchRouter" ? 1 : asked;
      const options = {
        name: router.name,
        num_selected_experts: choices,
        dispatcher: {
          capacity_factor: factor,
          capacity_policy: sizes.policy,
          capacity_multiple_of: multiple,
          bfloat16,
          // All gates of a softmax sum to 1: that orders nothing.
          priority_by: sizes.sum && choices < experts ? "sum" : "largest",
        },
        ...router.sample({ experts, choices }, pick),
      };
      const knobs: fc.Arbitrary<Knobs> = fc.record(
        {
          k: fc.integer({ min: 1, max: choices }),
          capacity: fc.constantFrom(...factors.filter((each) => each <= factor)),
          priority: fc.constantFrom("token", "gate"),
        },
        { requiredKeys: [] },
      );
      return fc.array(knobs, { minLength: 1, maxLength: 3 }).map((settings) => ({
        config: configOf(options, experts, layers, groupImages),
        batch: groups * groupImages,
        noise: sizes.noise,
        settings,
        seed: sizes.seed,
      }));
    });

/** What the configuration would be for settings that are not changed any more. */
const settled = (config: Json, { k, capacity, priority }: Knobs): Json =>
  mergeConfig(config, {
    encoder: {
      moe: {
        router: {
          ...(k !== undefined && { num_selected_experts: k }),
          dispatcher: {
            ...(capacity !== undefined && { capacity_factor: capacity }),
            ...(priority !== undefined && { batch_priority: priority === "gate" }),
          },
        },
      },
    },
  });

/** The value of `make`, or the code of the error that it throws. */
const orCode = <T>(make: () => T): T | string => {
  try {
    return make();
  } catch (error) {
    if (error instanceof CompileError) return error.code;
    throw error;
  }
};

const errorOf = (made: unknown): string => (typeof made === "string" ? made : "none");

/** Outputs that a routing plan is made of; all others mean the same whatever the sizes are. */
const isPlan = (output: string): boolean => /\/(tokens|slots|weights)$/.test(output);

/** Entries of rows of `width` up to `length`, and whether all others are `none`. */
function cut(x: Tensor, width: number, length: number): { readonly kept: number[]; readonly rest: number[] } {
  const all = Array.from(x.numbers());
  return {
    kept: all.filter((_, i) => i % width < length),
    rest: all.filter((_, i) => i % width >= length),
  };
}

/** Holds the outputs of a live program to those of a fresh one, block by block, with slots numbered alike. */
function expectRoutedAlike(live: Model, fresh: Model, got: Outputs, want: Outputs): void {
  for (const [b, { name, capacity: room }] of live.blocks.entries()) {
    const { capacity } = fresh.blocks[b]!;
    const [tokens, slots, weights] = ["tokens", "slots", "weights"].map((part) =>
      got.get(`${name}/${part}`)!,
    );
    const [k, most] = [want, got].map((outputs) => outputs.get(`${name}/slots`)!.type.shape[2]!) as [
      number,
      number,
    ];
    const seated = cut(tokens!, room, capacity);
    expect(seated.kept).toEqual(Array.from(want.get(`${name}/tokens`)!.numbers()));
    expect(seated.rest.every((token) => token === -1)).toBe(true);
    const served = cut(slots!, most, k);
    const renumbered = served.kept.map((slot) =>
      slot < 0 ? -1 : Math.floor(slot / room) * capacity + (slot % room),
    );
    expect(renumbered).toEqual(Array.from(want.get(`${name}/slots`)!.numbers()));
    expect(served.rest.every((slot) => slot === -1)).toBe(true);
    const own = Array.from(want.get(`${name}/weights`)!.numbers());
    expect(cut(weights!, most, k).kept.every((weight, i) => Math.abs(weight - own[i]!) < 1e-6)).toBe(true);
  }
}

type Outputs = ReadonlyMap<string, Tensor>;

/** Holds a live program, run with each of `settings`, to a program compiled for them; floats within `allowed`. */
async function expectLive(
  engine: Engine,
  { config, batch, noise, settings, seed }: Drawn,
  allowed: number,
): Promise<void> {
  const built = (live: boolean, knobs: Knobs = {}): Model | string =>
    orCode(() => createModel(settled(config, knobs), { batch, imageSize, live, noise }));
  const live = built(true);
  fc.pre(typeof live !== "string");
  const prepared = ({ graph, parameters }: Model): Promise<Executable> =>
    engine.compile(graph, randomWeights(probing(parameters), seed));
  const drawnFor = ({ graph }: Model): [string, Tensor][] =>
    graph.inputs.flatMap(({ leaf, type }) =>
      leaf!.name.startsWith(knobsPrefix)
        ? []
        : [[leaf!.name, new Tensor(type, normalDraws(seed, leaf!.name, sizeOf(type.shape)))]],
    );
  const program = await prepared(live);
  for (const knobs of settings) {
    const fresh = built(false, knobs);
    const inputs = orCode(() => knobsOf(live, knobs));
    // Where a policy leaves an expert without a slot, both are the same error.
    expect(errorOf(inputs)).toBe(errorOf(fresh));
    if (typeof fresh === "string" || typeof inputs === "string") continue;
    const got = await program.run(new Map([...drawnFor(live), ...inputs]));
    const once = await prepared(fresh);
    const want = await once.run(new Map(drawnFor(fresh)));
    once.dispose();
    expectRoutedAlike(live, fresh, got, want);
    expect([...got.keys()]).toEqual([...want.keys()]);
    for (const [output, own] of want) {
      if (isPlan(output)) continue;
      expect(distance(got.get(output)!, own), output).toBeLessThanOrEqual(allowed);
    }
  }
  program.dispose();
}

const choosing = [...routers].filter(
  ([name, router]) =>
    router.keys.includes("num_selected_experts") && name !== "NoisyTopExpertsPerItemEnsembleRouter",
);

/** ONNX Runtime blocks a product by its number of rows, and so adds up in another order for other capacities. */
const isExact = (backend: string): boolean => backend !== "onnx";

describe.each([{ name: reference.name, load: () => backends[reference.name]!(), models: 40 }, ...underTest])(
  "$name",
  async ({ name: backendName, load, models }) => {
    const backend = await load();
    const engine = await backend.open();
    afterAll(() => engine.close());
    const each = Math.ceil(runs(models) / choosing.length);

    test.each(choosing)("live results of %s are a fresh compile's", async (_, router) => {
      const allowed = isExact(backendName) ? 0 : 5 * backend.tolerance.f32;
      await fc.assert(
        fc.asyncProperty(drawn(router), (one) => expectLive(engine, one, allowed)),
        { numRuns: each },
      );
    });

    test("losses of noisy logits count the choices of a run", async () => {
      const dispatcher = { capacity_factor: 1.05 };
      const router = { name: "NoisyTopExpertsPerItemRouter", num_selected_experts: 3, dispatcher };
      const config = configOf(router, 6, [1], 2);
      const settings = [1, 2, 3].map((k) => ({ k }));
      await expectLive(
        engine,
        { config, batch: 2, noise: true, settings, seed: 1 },
        5 * backend.tolerance.f32,
      );
    });
  },
);

const vmoe = (dispatcher: Json = { capacity_factor: 1.05 }): Json =>
  configOf({ name: "NoisyTopExpertsPerItemRouter", num_selected_experts: 2, dispatcher }, 4, [1], 2);

test.each<[string, Knobs, Json, RegExp]>([
  ["too many choices", { k: 3 }, {}, /^k: must be an integer from 1 to the 2 .*; got 3 \[M6\]$/],
  ["no choice", { k: 0 }, {}, /^k: must be an integer from 1 to the 2 .*; got 0 \[M6\]$/],
  [
    "too many slots",
    { capacity: 3 },
    {},
    /^capacity: must give at most the 8 slots .*; got 3, 16 slots \[M6\]$/,
  ],
  [
    "an order that is none",
    { priority: "largest" as "gate" },
    {},
    /^priority: must be token or gate; got largest \[M6\]$/,
  ],
  ["no slots", { capacity: -1 }, {}, /^capacity: must be a positive number; got -1 \[M6\]$/],
  [
    "capacity without drops",
    { capacity: 0.5 },
    { capacity_policy: "dropless", capacity_factor: null },
    /^capacity: is not for a dropless dispatcher; got 0.5 \[M6\]$/,
  ],
])("%s is an error of one line", (_, knobs, dispatcher, message) => {
  const model = createModel(vmoe({ capacity_factor: 1.05, ...dispatcher }), {
    batch: 2,
    imageSize,
    live: true,
  });
  expect(expectOneLine(caught(() => knobsOf(model, knobs))).message).toMatch(message);
});

const caught = (f: () => unknown): unknown => {
  try {
    return f();
  } catch (error) {
    return error;
  }
};

test("live knobs are for sparse blocks whose tokens choose, and for programs made live", () => {
  const options = { batch: 2, imageSize, live: true };
  const soft = mergeConfig(vmoe(), { encoder: { moe: { router: null } } });
  for (const [router, message] of [
    [{ name: "SoftRouter" }, "SoftRouter"],
    [
      { name: "NoisyTopItemsPerExpertRouter", dispatcher: { capacity_factor: 1 } },
      "NoisyTopItemsPerExpertRouter",
    ],
  ] as const) {
    const config = mergeConfig(soft, { encoder: { moe: { router } } });
    expect(() => createModel(config, options)).toThrow(
      `live: is for routers whose tokens choose; got ${message} [M6]`,
    );
  }
  const dense = mergeConfig(vmoe(), { encoder: { moe: null } });
  expect(() => createModel(dense, options)).toThrow("live: is for models with sparse blocks [M6]");
  const fixed = createModel(vmoe(), { ...options, live: false });
  expect(knobsOf(fixed).size).toBe(0);
  expect(() => knobsOf(fixed, { k: 1 })).toThrow("k: is for programs made with live knobs [M6]");
});

test("a program is live in its inputs alone, one for each sparse block", () => {
  const config = mergeConfig(vmoe(), dispatcherPath({ batch_priority: true }));
  const model = createModel(config, { batch: 2, imageSize, live: true });
  expect([...knobsOf(model)].map(([name, { data }]) => [name, ...data])).toEqual([
    ["knobs/encoderblock_1", 2, 8, 1],
  ]);
  expect(
    [...knobsOf(model, { k: 1, capacity: 0.5, priority: "token" }).values()].map(({ data }) => [...data]),
  ).toEqual([[1, 4, 0]]);
});
