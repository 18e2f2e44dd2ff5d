/** What holds of every router's plan: each law says which routers it is about, and throws where it is broken. */
import { type AnyOp, ops, type Shape, sizeOf, Tensor } from "../ir/index.ts";
import { normalDraws, type Router } from "../models/index.ts";
import { pipeline, runPasses } from "../passes/index.ts";
import { compared, disagreement, farthest, rounding } from "./agreement.ts";
import { capacityOf, type Case, dispatched, groupOf, reordered, rowsReordered } from "./case.ts";
import { isDecided } from "./decided.ts";
import { applied, eighths, experts, outputsOf, type Plan, planOf, programOf } from "./program.ts";

/** A law of routing, for random cases. */
export interface Law {
  readonly name: string;
  /** Whether it compares ways to compute, for which there is no noise and, where ties are not kept, no tie. */
  readonly exact?: boolean;
  /** Whether the law is about `router`; by default it is. */
  readonly about?: (router: Router) => boolean;
  /** Throws where `router` breaks the law on `c`. */
  readonly holds: (router: Router, c: Case) => Promise<void>;
}

const tokensChoose = ({ keys }: Router): boolean => keys.includes("num_selected_experts");
const hasBuffers = ({ keys }: Router): boolean => keys.includes("dispatcher");

function ensure(holds: boolean, otherwise: () => string): void {
  if (!holds) throw new Error(otherwise());
}

const same = (got: ArrayLike<number>, want: ArrayLike<number>): boolean =>
  got.length === want.length && Array.from(got).every((value, i) => Object.is(value, want[i]));

const list = (values: ArrayLike<number>): string => `[${Array.from(values).join(", ")}]`;

/** Choice `i` of a plan, for people. */
const choice = ({ T, k }: Plan, i: number): string =>
  `choice ${i % k} of token ${Math.floor(i / k) % T} in group ${Math.floor(i / (T * k))}`;

/** Where the buffer of choice `i`'s group begins in `tokens`. */
const groupStart = ({ T, k, E, capacity }: Plan, i: number): number => Math.floor(i / (T * k)) * E * capacity;

const typed: Law = {
  name: "the plan has the declared types, and no more slots than the configuration allows",
  async holds(router, c) {
    const { plan } = await programOf(router, c);
    const { items, tokens, slots, weights, auxiliaryLoss, metrics } = plan;
    const { G, T, D, E } = c;
    const k = tokensChoose(router)
      ? Number(c.options["num_selected_experts"] ?? slots.type.shape[2])
      : slots.type.shape[2];
    const expect = (name: string, { type }: typeof items, dtype: string, shape: Shape): void =>
      ensure(
        type.dtype === dtype && same(type.shape, shape),
        () => `${name} must be ${dtype}${list(shape)}; it is ${type.dtype}${list(type.shape)}`,
      );
    expect("items", items, "f32", [G, items.type.shape[1] ?? 0, D]);
    expect("tokens", tokens, "i32", [G, E, tokens.type.shape[2] ?? 0]);
    expect("slots", slots, "i32", [G, T, k ?? 0]);
    expect("weights", weights, "f32", slots.type.shape);
    for (const [name, value] of [...metrics, ["auxiliary loss", auxiliaryLoss] as const])
      expect(name, value, "f32", [G, ...value.type.shape.slice(1)]);
    if (!hasBuffers(router)) return;
    const [most, capacity] = [capacityOf(c), tokens.type.shape[2] ?? 0];
    ensure(capacity <= most, () => `experts have ${capacity} slots; the configuration says ${most}`);
  },
};

const inRange: Law = {
  name: "every number is finite and in its range",
  async holds(router, c) {
    const { N, E, capacity, tokens, slots, weights, outputs } = await planOf(router, c);
    const within = (name: string, values: readonly number[], below: number): void => {
      const stray = values.find((value) => value < -1 || value >= below);
      ensure(stray === undefined, () => `${name} must be from -1 to ${below - 1}; there is ${stray}`);
    };
    within("tokens", tokens, N);
    within("slots", slots, E * capacity);
    const negative = weights.find((weight) => weight < 0);
    ensure(negative === undefined, () => `weights must not be negative; there is ${negative}`);
    for (const [name, tensor] of outputs) {
      const odd = Array.from(tensor.numbers()).find((value) => !Number.isFinite(value));
      ensure(odd === undefined, () => `${name} must be finite; there is ${odd}`);
    }
  },
};

const fromTheFront: Law = {
  name: "buffers fill from the front",
  async holds(router, c) {
    const { E, capacity, tokens } = await planOf(router, c);
    for (let buffer = 0; buffer < tokens.length; buffer += capacity) {
      const places = tokens.slice(buffer, buffer + capacity);
      const gap = places.indexOf(-1);
      ensure(gap < 0 || places.slice(gap).every((token) => token === -1), () => {
        const at = buffer / capacity;
        return `expert ${at % E} of group ${Math.floor(at / E)} has ${list(places)}`;
      });
    }
  },
};

const seated: Law = {
  name: "each kept choice sits in exactly one slot, and each full slot serves a choice",
  async holds(router, c) {
    const plan = await planOf(router, c);
    const { T, k, tokens, slots, ofTokens } = plan;
    const guests = tokens.map(() => 0);
    for (const [i, slot] of slots.entries()) {
      if (slot < 0) continue;
      const seat = groupStart(plan, i) + slot;
      const item = tokens[seat] ?? -1;
      ensure(item >= 0, () => `${choice(plan, i)} is served by slot ${slot}, which is empty`);
      guests[seat] = (guests[seat] ?? 0) + 1;
      if (ofTokens)
        ensure(
          item === Math.floor(i / k) % T,
          () => `${choice(plan, i)} is served by slot ${slot}, where token ${item} sits`,
        );
    }
    for (const [seat, token] of tokens.entries()) {
      const served = guests[seat] ?? 0;
      if (token < 0) continue;
      ensure(served > 0, () => `item ${token} sits in slot ${seat} of all, and serves no choice`);
      if (ofTokens)
        ensure(
          served === 1,
          () => `token ${token} sits in slot ${seat} of all, and serves ${served} choices`,
        );
    }
  },
};

const repeatable: Law = {
  name: "the same tokens get the same bits every time",
  async holds(router, c) {
    const [first, second] = [await planOf(router, c), await planOf(router, c)];
    for (const [name, tensor] of first.outputs) {
      const again = second.outputs.get(name)?.numbers() ?? [];
      ensure(
        same(again, tensor.numbers()),
        () => `${name} is ${list(tensor.numbers())}, and then ${list(again)}`,
      );
    }
  },
};

const parts = ["tokens", "slots", "weights"] as const;

const apart: Law = {
  name: "groups do not see each other",
  async holds(router, c) {
    const all = await planOf(router, c);
    for (let g = 0; g < c.G; g++) {
      const alone = await planOf(router, groupOf(c, g));
      for (const part of parts) {
        const size = all[part].length / c.G;
        const own = all[part].slice(g * size, (g + 1) * size);
        ensure(
          same(own, alone[part]),
          () => `group ${g} has ${part} ${list(own)}, and ${list(alone[part])} alone`,
        );
      }
    }
  },
};

const expertOf = ({ capacity }: Plan, slot: number): number => (slot < 0 ? -1 : Math.floor(slot / capacity));
const unserved = ({ slots }: Plan): number => slots.filter((slot) => slot < 0).length;

const dropped: Law = {
  name: "capacity decides drops alone: none without a full buffer, fewer with more slots, none where a group fits",
  about: (router) => tokensChoose(router) && hasBuffers(router),
  async holds(router, c) {
    const at = (capacity: number): Promise<Plan> => planOf(router, dispatched(c, { capacity }));
    const [asked, wide, fitting] = [capacityOf(c), await at(c.T + 1), await at(c.T)];
    const [plan, more] = [await at(asked), await at(asked + 1)];
    const none = unserved(wide);
    ensure(
      none === 0 || router.abstains,
      () => `${none} choices have no slot where ${c.T + 1} slots are enough`,
    );
    ensure(
      unserved(fitting) === none,
      () => `${unserved(fitting) - none} choices are dropped where all ${c.T} tokens fit`,
    );
    ensure(
      unserved(more) <= unserved(plan),
      () => `${asked + 1} slots drop ${unserved(more)}; ${asked} slots ${unserved(plan)}`,
    );
    ensure(
      same(plan.weights, wide.weights),
      () => `weights depend on the capacity: ${list(plan.weights)}, ${list(wide.weights)}`,
    );
    for (const [i, slot] of plan.slots.entries()) {
      const wanted = expertOf(wide, wide.slots[i] ?? -1);
      const got = expertOf(plan, slot);
      ensure(
        got < 0 || got === wanted,
        () => `${choice(plan, i)} is served by expert ${got} where it chose ${wanted}`,
      );
      const last = groupStart(plan, i) + wanted * plan.capacity + plan.capacity - 1;
      ensure(
        got >= 0 || wanted < 0 || (plan.tokens[last] ?? -1) >= 0,
        () => `${choice(plan, i)} is dropped by expert ${wanted}, which has room`,
      );
    }
  },
};

const byPriority: Law = {
  name: "with batch priority and distinct scores the order of tokens is without effect",
  about: (router) => tokensChoose(router) && hasBuffers(router),
  async holds(router, c) {
    const { T, order } = c;
    const turns = async (capacity: number, by: readonly number[]): Promise<boolean> => {
      const first = { capacity, batch_priority: true, priority_by: "largest" };
      const of = dispatched({ ...c, noisy: false }, first);
      const [plan, other] = [await planOf(router, of), await planOf(router, reordered(of, by))];
      const [slots, weights] = [plan.slots, plan.weights].map((part) => rowsReordered(part, by, plan.k));
      return same(other.slots, slots ?? []) && farthest(other.weights, weights ?? []) <= rounding.f32;
    };
    // Reversing the tokens turns around every tie, and all else that is decided by position.
    const reverse = [...Array(T).keys()].toReversed();
    if (!(await turns(T, reverse))) return;
    for (let capacity = 1; capacity < T; capacity++) {
      const told = (): string =>
        `with ${capacity} slots tokens in the order ${list(order)} are served otherwise`;
      ensure(await turns(capacity, order), told);
    }
  },
};

const adjoint: Law = {
  name: "dispatch and combine with unit weights are adjoint: <dispatch x, y> = <x, combine y>",
  async holds(router, c) {
    const { E, capacity, ofTokens, outputs } = await planOf(router, c);
    if (!ofTokens) return;
    const draw = (...shape: number[]): Tensor => {
      const draws = normalDraws(c.seed, "adjoint", sizeOf(shape));
      return Tensor.from({ dtype: "f32", shape }, eighths(draws));
    };
    const part = (name: string): Tensor => outputs.get(name) as Tensor;
    const [x, y] = [draw(c.G, c.T, c.D), draw(c.G, E, capacity, c.D)];
    const ones = Tensor.of("f32", part("slots").type.shape, () => 1);
    const [sent] = applied(ops.dispatch, [x, part("tokens")]);
    const [back] = applied(ops.combine, [y, part("slots"), ones]);
    const [there, here] = [dot(sent, y), dot(x, back)];
    ensure(there === here, () => `<dispatch x, y> is ${there}, and <x, combine y> ${here}`);
  },
};

/** The inner product of two tensors of one shape. */
function dot(a: Tensor | undefined, b: Tensor | undefined): number {
  const others = b?.numbers() ?? [];
  return Array.from(a?.numbers() ?? []).reduce((sum, value, i) => sum + value * (others[i] ?? 0), 0);
}

/** A law that a program says the same after the passes to a target. */
const lowered = (name: string, supports: (op: AnyOp) => boolean): Law => ({
  name,
  exact: true,
  async holds(router, c) {
    const program = await programOf(router, c, experts);
    if (!isDecided(program, compared, router.keepsTies)) return;
    const graph = runPasses(program.graph, pipeline({ supports }, compared), { check: true });
    const off = disagreement(outputsOf(program, graph), outputsOf(program, program.graph), rounding);
    ensure(off === undefined, () => String(off));
  },
});

export const laws: readonly Law[] = [
  typed,
  inRange,
  fromTheFront,
  seated,
  repeatable,
  apart,
  dropped,
  byPriority,
  adjoint,
  lowered("decomposed into core ops, the layer is what is declared", (op) => !op.decompose),
  lowered("fused, the layer is what is declared", () => true),
];
