/**
 * Kernels whose rows and choices threads share, in each form that a profile may ask for, against the reference: within a
 * subgroup, over several subgroups, and without subgroups. The profiles promise subgroups of 8, which may be larger.
 */
import { afterAll, describe, expect, test } from "vitest";

import type { Engine } from "../../backends/backend.ts";
import { dawn, dawnGpu } from "../../backends/webgpu/dawn.ts";
import { compile, type Profile, profiles, webgpuOn } from "../../backends/webgpu/index.ts";
import { Graph, input, ops, type Shape, sizeOf, Tensor, type Value } from "../../ir/index.ts";
import { normalDraws } from "../../models/random.ts";
import { expectClose } from "../support/close.ts";
import { bothWays, noWeights } from "../support/engines.ts";
import { runs, someOf } from "../support/runs.ts";

const gpu = await dawnGpu();
const [software, generic] = profiles as [Profile, Profile];

const { features, subgroupMinSize } = software;
const forms: readonly (readonly [name: string, profile: Profile])[] = [
  ["one subgroup a row", { ...generic, features, subgroupMinSize, lanesPerRow: 8 }],
  ["several subgroups a row", { ...generic, features, subgroupMinSize, lanesPerRow: 32 }],
  ["several subgroups of unknown size", { ...generic, features, lanesPerRow: 64 }],
  ["no subgroups, 8 threads", { ...generic, lanesPerRow: 8 }],
  ["no subgroups, 64 threads", { ...generic, lanesPerRow: 64 }],
  ["a row a thread, in subgroups", { ...generic, features, subgroupMinSize, lanesPerRow: 1 }],
  ["a row a thread, no subgroups", { ...generic, lanesPerRow: 1 }],
];

type Numbers = (i: number) => number;

/** Leaves with their numbers, and what becomes of them. */
class Case {
  readonly #inputs = new Map<string, Tensor>();
  readonly #params: Value[] = [];

  f32(shape: Shape, number?: Numbers): Value {
    const drawn = normalDraws(0, `${this.#params.length}`, sizeOf(shape));
    return this.#leaf("f32", shape, number ?? ((i) => drawn[i] as number));
  }

  i32(shape: Shape, number: Numbers): Value {
    return this.#leaf("i32", shape, number);
  }

  #leaf(dtype: "f32" | "i32", shape: Shape, number: Numbers): Value {
    const name = `x${this.#params.length}`;
    const value = input(name, { dtype, shape });
    this.#params.push(value);
    this.#inputs.set(
      name,
      Tensor.from(
        { dtype, shape },
        Array.from({ length: sizeOf(shape) }, (_, i) => number(i)),
      ),
    );
    return value;
  }

  /** Both backends' results, and the device's once more. */
  async by(engine: Engine, results: readonly Value[]): Promise<Record<"got" | "want" | "again", Tensor[]>> {
    const graph = new Graph(
      "case",
      this.#params,
      results.map((value, i) => [`r${i}`, value]),
    );
    const first = await bothWays(engine, graph, this.#inputs);
    const executable = await engine.compile(graph, noWeights);
    const again = [...(await executable.run(this.#inputs)).values()];
    executable.dispose();
    return { ...first, again };
  }
}

/** Results are those of the reference, integers exactly, and the same bits every time. */
async function expectRight(
  engine: Engine,
  given: Case,
  results: readonly Value[],
): Promise<readonly Tensor[]> {
  const { got, want, again } = await given.by(engine, results);
  expectClose(got, want, dawn.tolerance);
  expect(again.map(({ data }) => data)).toEqual(got.map(({ data }) => data));
  return got;
}

/** Rows shorter than the threads, off their number, in vectors or not, and too long to be kept in registers. */
const widths = [1, 4, 7, 52, 130, 256, 516, 3200] as const;

/**
 * Tokens, their width, experts and choices, two for each form: one workgroup or several, of one token or more, full or not;
 * vectors or not; sums that cannot be halved; rows that workgroup memory has no room for; more experts than a subgroup or a
 * workgroup has threads.
 */
const gateSizes = [
  [12, 40, 8, 3],
  [3, 30, 3, 2],
  [7, 50, 2, 1],
  [2, 8, 12, 1],
  [2, 384, 8, 2],
  [2, 70, 4, 2],
  [2, 132, 32, 4],
  [1, 4100, 6, 6],
  [1, 3, 300, 2],
  [5, 16, 8, 2],
  [1, 1, 1, 1],
  [3, 11, 5, 3],
  [2, 30, 12, 1],
] as const;

type Chooser = (token: number, c: number) => number;

/**
 * Groups, tokens, choices, experts and capacity: more tokens than workgroup memory holds at once, more counters of all groups
 * too, and so many experts that it holds none.
 */
const seatings = [
  [1, 40, 2, 8, 7],
  [3, 50, 2, 5, 4],
  [1, 1, 1, 1, 1],
  [8, 9, 3, 7, 30],
  [1, 300, 1, 4, 100],
  [2, 300, 4, 600, 5],
  [1, 500, 7, 8, 300],
  [3, 70, 5, 5, 40],
  [2, 9, 2, 1000, 1],
] as const;

/** Choices that are hard to seat: those of `c` differ. */
const choosers: Readonly<Record<string, (E: number) => Chooser>> = {
  "all to one expert": (E) => (_, c) => (c === 0 ? E - 1 : -1),
  none: () => () => -1,
  evenly: (E) => (token, c) => (token * 7 + c * 3) % E,
  "some nowhere": (E) => (token, c) => ((token * 5 + c) % (E + 1)) - 1,
};

/** Weights with many equals, of either order. */
const urgencies: Numbers = (i) => ((i * 37) % 11) / 16;

/** Groups, tokens, experts and capacity, which leave room or none, for fewer and for more tokens than there are threads. */
const shares = [
  [2, 33, 7, 5],
  [1, 300, 4, 75],
  [3, 9, 12, 1],
  [1, 40, 300, 2],
  [1, 5, 1, 5],
] as const;

/** Scores that differ, that are often equal, and that send all tokens to one expert after the other. */
const tastes: readonly (Numbers | undefined)[] = [undefined, urgencies, () => -1e30];

describe.each(forms)("%s", async (name, profile) => {
  const place = forms.findIndex(([form]) => form === name);
  const engine = await webgpuOn(() => Promise.resolve(gpu), { ...profile, minWorkgroups: 1 }).open();
  afterAll(() => engine.close());

  test.each(someOf(widths, 2 * place).map((width) => [width]))("rows of %i", async (width) => {
    const given = new Case();
    const [x, scale, bias] = [given.f32([3, width]), given.f32([width]), given.f32([width])];
    const whole = given.i32([3, width], (i) => ((i * 7919) % 2001) - 1000);
    const norm = ops.layerNorm(x, scale, bias, { epsilon: 1e-6 });
    await expectRight(engine, given, [
      norm,
      ops.add(ops.layerNorm(x, bias, scale, { epsilon: 1e-3 }), x),
      ops.softmax(x),
      ops.reduceSum(x),
      ops.reduceMax(x),
      ops.reduceSum(whole),
      ops.reduceMax(whole),
    ]);
  });

  test.each(someOf(gateSizes, 2 * place))(
    "norm and gate of %i tokens of %i, %i experts, %i choices",
    async (T, D, E, k) => {
      const given = new Case();
      const [x, scale, bias] = [given.f32([1, T, D]), given.f32([D]), given.f32([D])];
      const kernel = given.f32([D, E]);
      const attrs = { epsilon: 1e-6, k, through: "f32" } as const;
      const { items, choices, weights } = ops.normAndGate(x, scale, bias, kernel, attrs);
      await expectRight(engine, given, [items, choices, weights]);
    },
  );

  test.each(someOf(gateSizes, 2 * place))(
    "norm and logits of %i tokens of %i, %i experts, and a choice of %i by them",
    async (T, D, E, k) => {
      for (const returned of [[], ["logits"], ["logits", "choice"], ["choice"]]) {
        const given = new Case();
        const [x, scale, bias] = [given.f32([1, T, D]), given.f32([D]), given.f32([D])];
        const [kernel, preference] = [given.f32([D, E]), given.f32([E])];
        const through = returned.length > 1 ? "bf16" : "f32";
        const { items, logits } = ops.normAndLogits(x, scale, bias, kernel, { epsilon: 1e-6, through });
        const gates = ops.sigmoid(logits);
        const preferred = ops.add(gates, ops.broadcast(preference, { shape: gates.type.shape }));
        const { indices } = ops.topK(preferred, { k });
        const chosen = ops.take(gates, indices);
        const total = ops.broadcast(ops.reduceSum(chosen), { shape: chosen.type.shape });
        await expectRight(engine, given, [
          items,
          ...(returned.includes("logits") ? [logits] : []),
          ...(returned.includes("choice") ? [indices, ops.divide(chosen, total)] : []),
        ]);
      }
    },
  );

  test("logits far below zero", async () => {
    const given = new Case();
    const x = given.f32([1, 5, 20]);
    const [scale, bias] = [given.f32([20], () => 1e-3), given.f32([20], () => -1)];
    const kernel = given.f32([20, 5], (i) => 10 + ((i * 7) % 5) / 64);
    const { choices, weights } = ops.normAndGate(x, scale, bias, kernel, {
      epsilon: 1e-6,
      k: 5,
      through: "f32",
    });
    await expectRight(engine, given, [choices, weights]);
  });

  test("equal gates go to the lower expert", async () => {
    for (const E of someOf([5, 8, 20], place).slice(0, runs(1))) {
      const given = new Case();
      const [x, scale, bias] = [given.f32([1, 6, 20]), given.f32([20]), given.f32([20])];
      // Experts of equal remainder have equal columns, and so exactly equal gates.
      const kernel = given.f32([20, E], (i) => (((Math.floor(i / E) * 5 + ((i % E) % 3) * 7) % 13) - 6) / 8);
      const attrs = { epsilon: 1e-6, k: E, through: "bf16" } as const;
      const { choices, weights } = ops.normAndGate(x, scale, bias, kernel, attrs);
      const [chosen, gate] = await expectRight(engine, given, [choices, weights]);
      const [experts, gates] = [Array.from(chosen!.numbers()), Array.from(gate!.numbers())];
      let equal = 0;
      for (const [i, e] of experts.entries()) {
        if (i % E === 0) continue;
        const before = experts[i - 1] as number;
        if (e % 3 !== before % 3) continue;
        equal++;
        expect(gates[i]).toBe(gates[i - 1]);
        expect(before).toBeLessThan(e);
      }
      expect(equal).toBeGreaterThanOrEqual(6 * (E - 3));
    }
  });

  test.each(someOf(seatings, 2 * place))(
    "seats of %i groups of %i, %i choices of %i experts of %i slots",
    async (G, T, k, E, capacity) => {
      for (const [c, chooser] of Object.values(choosers).entries()) {
        const given = new Case();
        const choose = chooser(E);
        const x = given.f32([G, T, 4]);
        const choices = given.i32([G, T, k], (i) => choose(Math.floor(i / k), i % k));
        const weights = given.f32([G, T, k], urgencies);
        const experts = [
          given.f32([E, 4, 4]),
          given.f32([E, 4]),
          given.f32([E, 4, 4]),
          given.f32([E, 4]),
        ] as const;
        const attrs = { capacity, approximate: "tanh", through: "f32" } as const;
        const priority = c % 2 === 0 ? "gate" : "token";
        const fixed = ops.seatedMlp(x, choices, weights, weights, ...experts, { ...attrs, priority });
        const limits = given.i32([3], (i) => [Math.ceil(k / 2), Math.ceil(capacity / 2), c % 2][i] as number);
        const live = ops.seatedMlpWithin(x, choices, weights, weights, limits, ...experts, attrs);
        const alone = ops.assignSlotsWithin(choices, weights, limits, { experts: E, capacity });
        await expectRight(engine, given, [
          fixed.y,
          fixed.tokens,
          fixed.slots,
          live.y,
          live.tokens,
          live.slots,
          alone.tokens,
          alone.slots,
        ]);
      }
    },
  );

  test.each(someOf(shares, place))(
    "balanced choices of %i groups of %i, %i experts of %i slots",
    async (G, T, E, capacity) => {
      for (const taste of tastes) {
        const given = new Case();
        const scores = given.f32([G, T, E], taste);
        await expectRight(engine, given, [ops.chooseEvenly(scores, { capacity })]);
      }
    },
  );
});

test("more rows than a grid has workgroups a side are all there, each once", async () => {
  const [[, profile] = ["", generic]] = forms;
  const limits = { ...profile.limits, maxComputeWorkgroupsPerDimension: 4 };
  const engine = await webgpuOn(() => Promise.resolve(gpu), { ...profile, limits }).open();
  try {
    const given = new Case();
    const [x, scale, bias] = [given.f32([1, 11, 12]), given.f32([12]), given.f32([12])];
    const attrs = { epsilon: 1e-6, k: 2, through: "f32" } as const;
    const gate = ops.normAndGate(x, scale, bias, given.f32([12, 4]), attrs);
    await expectRight(engine, given, [ops.softmax(x), gate.items, gate.choices, gate.weights]);
  } finally {
    engine.close();
  }
});

test("a row within a subgroup takes no barrier, and several subgroups one for each exchange", () => {
  const x = input("x", { dtype: "f32", shape: [3, 512] });
  const graph = new Graph("row", [x], [["y", ops.softmax(x)]]);
  const barriers = (profile: Profile): number =>
    compile(graph, profile).kernels.reduce(
      (sum, { wgsl }) => sum + wgsl.split("workgroupBarrier").length - 1,
      0,
    );
  expect(forms.map(([, profile]) => barriers(profile))).toEqual([0, 2, 2, 4, 4, 0, 0]);
});

test.each([
  ["few experts", 8, 400, 400],
  ["few experts, more tokens than twice the cores need", 8, 1600, 400],
  ["a kernel that takes long to load", 32, 400, 200],
  ["few tokens", 32, 50, 50],
])("tokens share a workgroup where that leaves enough of them: %s", (_, E, T, workgroups) => {
  const nvidia = profiles.find(({ name }) => name === "nvidia") as Profile;
  const it = new Case();
  const [x, scale, bias, kernel] = [it.f32([1, T, 512]), it.f32([512]), it.f32([512]), it.f32([512, E])];
  const { weights } = ops.normAndGate(x, scale, bias, kernel, { epsilon: 1e-6, k: 2, through: "f32" });
  const { launches } = compile(new Graph("gate", [x, scale, bias, kernel], [["weights", weights]]), nvidia);
  expect(launches.map((launch) => launch.workgroups)).toEqual([[workgroups, 1, 1]]);
});
