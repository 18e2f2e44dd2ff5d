/** `defineRouter`: a router from a declaration, with its place in a configuration. */
import { z } from "zod";

import { CompileError, ops, type Shape, type Value } from "../../ir/index.ts";
import { type CapacityChoice, capacityOf } from "../capacity.ts";
import { type Json, parseKeys } from "../config.ts";
import type { Parameters } from "../parameters.ts";
import {
  type Dispatcher,
  dispatcher,
  type Knobs,
  noiseKeys,
  type Selection,
  selectionKeys,
} from "./options.ts";
import type { PlanParts, RoutingContext, RoutingContract, RoutingPlan } from "./plan.ts";
import { type ByToken, chosenByTokens, contractOf } from "./tokenChoice.ts";

/** Keys of a router's own: schemas, or plain values that are the defaults of keys of their kind. */
export type OptionShape = Readonly<Record<string, z.ZodType | number | boolean | string>>;

type Plain<V> = V extends number ? number : V extends boolean ? boolean : V extends string ? string : never;

/** What a router's functions are given of its own keys and of those that routers share. */
export type OptionsOf<O extends OptionShape> = {
  readonly [K in keyof O]: O[K] extends z.ZodType ? z.output<O[K]> : Plain<O[K]>;
} & Selection;

/** What every router says of itself. */
interface Described<O extends OptionShape> {
  /** What a configuration calls it: `router: { name: ... }`. */
  readonly name: string;
  readonly summary: string;
  readonly source?: string;
  readonly options?: O;
  /** Words for what functions decide; what is data is worded already. */
  readonly contract?: Partial<RoutingContract>;
  /** Throws for options that contradict each other or the number of experts. */
  check?(options: OptionsOf<O>, experts: number): void;
  /** Random legal options of its own, drawn for the laws; `pick(n)` is a random integer of 0 .. n-1. */
  sample?(demand: SampleDemand, pick: (n: number) => number): Readonly<Partial<Record<keyof O, unknown>>>;
}

/** What random options must be legal for. */
export interface SampleDemand {
  readonly experts: number;
  readonly choices: number;
}

/** A router whose rule is of another kind than tokens that choose experts. */
interface ByPlan<O> {
  plan(context: RoutingContext, options: O): PlanParts;
  /** Default of `noise_std`; 0. */
  readonly noise?: number;
  /**
   * Rows of an expert MLP per token, for a router that sizes its buffers itself: its configurations have no dispatcher.
   * By default they have one, and its capacity factor says.
   */
  rows?(options: O, tokens: number, experts: number): number;
}

/** What a router's author writes: the rule of tokens that choose, or a plan. */
export type RouterSpec<O extends OptionShape> = Described<O> &
  ((ByToken<OptionsOf<O>> & { readonly plan?: never }) | ByPlan<OptionsOf<O>>);

/** What a sparse block gives its router. */
export interface Grouped {
  /** The tokens, f32[G, T, D]. */
  readonly x: Value;
  readonly experts: number;
  /** Members of an ensemble, whose copies of a token stand side by side; 1 without. */
  readonly members: number;
  /** Slots of an expert; where it is left out, the options say. */
  readonly capacity?: number | undefined;
  readonly parameters: Parameters;
  /** Makes a standard normal draw an input of the program; undefined when routing is noise-free. */
  readonly noise: ((shape: Shape) => Value) | undefined;
  /** See `RoutingContext`; for routers whose tokens choose. */
  readonly limits?: Value | undefined;
}

/** A router, its options already read. */
export interface BoundRouter {
  readonly name: string;
  readonly contract: RoutingContract;
  /** Whether the configuration turns noise on in evaluation too. */
  readonly noisy: boolean;
  /** Experts that each token chooses; 0 where tokens do not choose. */
  readonly choices: number;
  /** Expected rows of an expert MLP per token, without rounding: where tokens choose, k times the capacity factor. */
  load(tokens: number, experts: number): number;
  /**
   * Choices that count, slots of an expert and order of service (1 by priority) of a program of this configuration that
   * is run with other `knobs`, as if compiled for them; `capacity` is that of a plan, in place of the configuration's.
   * Throws M6 for knobs beyond the configuration, or no knobs at all.
   */
  limits(
    knobs: Knobs,
    tokens: number,
    experts: number,
    capacity?: number,
  ): readonly [k: number, slots: number, order: 0 | 1];
  route(grouped: Grouped): RoutingPlan;
}

/** A router with the type of its options erased. */
export interface Router {
  readonly name: string;
  readonly summary: string;
  readonly source: string;
  readonly contract: RoutingContract;
  /** The keys that a configuration may give it. */
  readonly keys: readonly string[];
  /** Whether a token may have fewer than its k choices. */
  readonly abstains: boolean;
  /** Whether equal logits are equal scores however they are rounded, since no function of the author's makes them. */
  readonly keepsTies: boolean;
  /** Random legal options of its own, for the laws; those without a law of their own keep their defaults. */
  sample(demand: SampleDemand, pick: (n: number) => number): Json;
  /** The router with the options that a configuration gives; throws M1 or M3 naming the key. */
  bind(options: unknown, experts: number, members?: number): BoundRouter;
}

/** Where a router's options stand in a configuration. */
export const routerPath: readonly string[] = ["encoder", "moe", "router"];

/**
 * A router. From the declaration follow its place in a configuration, its meaning, every backend, docs and laws. With
 * no more than a name it is V-MoE's without noise: see `ByToken` for what can be said otherwise.
 */
export function defineRouter<const O extends OptionShape = Record<never, never>>(
  spec: RouterSpec<O>,
): Router {
  const { name, summary, source = "" } = spec;
  const erased = spec as unknown as RouterSpec<OptionShape>;
  const schema = schemaOf(erased);
  const contract = { ...contractOf(erased as ByToken<Selection>), ...spec.contract };
  return {
    name,
    summary,
    source,
    contract,
    keys: Object.keys(schema.shape),
    abstains: !erased.plan && erased.keeps !== undefined,
    keepsTies: !makesScores(erased),
    sample: (demand, pick) => erased.sample?.(demand, pick) ?? {},
    bind(given, experts, members = 1) {
      const options = parseKeys(schema, given, routerPath) as OptionsOf<OptionShape>;
      checkAgreement(erased, options, experts / members, members === 1 ? "" : " / ensemble_size");
      erased.check?.(options, experts);
      return {
        name,
        contract,
        noisy: !options.deterministic,
        choices: erased.plan ? 0 : options.num_selected_experts,
        load: (tokens, among) => loadOf(erased, options, tokens, among),
        limits(knobs, tokens, among, capacity) {
          if (erased.plan)
            throw new CompileError("M6", "live", `is for routers whose tokens choose; got ${name}`);
          return limitsOf(options, knobs, { tokens, experts: among, capacity });
        },
        route(grouped) {
          const context = contextOf(grouped, options);
          const parts = erased.plan
            ? erased.plan(context, options)
            : chosenByTokens(erased, options, context);
          return completed(parts, context, options);
        },
      };
    },
  };
}

/** What may be a function and yet has no say in the choice. */
const bystanders = ["check", "sample", "metrics", "weights", "scale"];

const makesScores = (rule: object): boolean =>
  Object.entries(rule).some(([part, value]) => typeof value === "function" && !bystanders.includes(part));

function schemaOf(spec: RouterSpec<OptionShape>): z.ZodObject {
  const own = Object.entries(spec.options ?? {}).map(([key, value]) => [
    key,
    value instanceof z.ZodType ? value : plain(value),
  ]);
  const shared = spec.plan
    ? { ...noiseKeys(spec.noise ?? 0), ...(!spec.rows && { dispatcher }) }
    : selectionKeys(spec.choices ?? 1, spec.noise ?? 0, spec.losses ?? {});
  return z.strictObject({ name: z.string(), ...shared, ...(Object.fromEntries(own) as z.ZodRawShape) });
}

/** The schema of a key whose default is `value`. */
function plain(value: number | boolean | string): z.ZodType {
  if (typeof value === "number") return z.number().default(value);
  return typeof value === "boolean" ? z.boolean().default(value) : z.string().default(value);
}

/** The error of an option, at `path` below the router, that contradicts others. */
export const contradiction = (path: readonly string[], message: string): CompileError =>
  new CompileError("M3", [...routerPath, ...path].join("."), message);

function checkAgreement(
  spec: RouterSpec<OptionShape>,
  options: OptionsOf<OptionShape>,
  experts: number,
  shared: string,
): void {
  const { num_selected_experts: k, dispatcher: given } = options;
  if (!spec.plan && k > experts) {
    const must = `must be at most num_experts${shared} = ${experts}`;
    throw contradiction(["num_selected_experts"], `${must}; got ${k}`);
  }
  if (spec.plan && spec.rows) return;
  const { capacity, capacity_factor: factor, capacity_policy: policy, batch_priority, priority_by } = given;
  const isFree = policy === "dropless";
  if (isFree ? capacity !== null || factor !== null : (capacity === null) === (factor === null)) {
    const which = isFree
      ? "neither capacity nor capacity_factor"
      : "exactly one of capacity and capacity_factor";
    throw contradiction(["dispatcher"], `${which} must be given; got ${capacity} and ${factor}`);
  }
  if (!batch_priority) return;
  if (spec.plan) {
    throw contradiction(["dispatcher", "batch_priority"], `is for tokens that choose; not for ${spec.name}`);
  }
  const distribution = (spec.gates ?? "softmax") === "softmax";
  if (priority_by === "sum" && distribution && k === experts && experts > 1) {
    const message = `must be largest where each token chooses all ${k} experts: every sum of gates is 1; got sum`;
    throw contradiction(["dispatcher", "priority_by"], message);
  }
}

const capacityChoice = (given: Dispatcher): CapacityChoice => {
  const {
    capacity,
    capacity_factor: factor,
    capacity_policy: policy,
    capacity_multiple_of: multipleOf,
  } = given;
  const usual = policy === null ? 4 : null;
  return {
    capacity,
    factor,
    policy: policy ?? given.capacity_ceil_or_round,
    multipleOf: multipleOf === undefined ? usual : multipleOf,
  };
};

function loadOf(
  spec: RouterSpec<OptionShape>,
  options: OptionsOf<OptionShape>,
  tokens: number,
  experts: number,
): number {
  if (spec.plan && spec.rows) return spec.rows(options, tokens, experts);
  const { num_selected_experts: k, dispatcher: given } = options;
  const choices = spec.plan ? 1 : k;
  if (given.capacity_factor !== null) return choices * given.capacity_factor;
  return (capacityOf(capacityChoice(given), { tokens, choices, experts }) * experts) / tokens;
}

function limitsOf(
  { num_selected_experts: most, dispatcher: given }: Selection,
  { k = most, capacity: factor, priority = given.batch_priority ? "gate" : "token" }: Knobs,
  {
    tokens,
    experts,
    capacity,
  }: { readonly tokens: number; readonly experts: number; readonly capacity: number | undefined },
): readonly [k: number, slots: number, order: 0 | 1] {
  if (!Number.isSafeInteger(k) || k < 1 || k > most) {
    const message = `must be an integer from 1 to the ${most} that the program was compiled for; got ${k}`;
    throw new CompileError("M6", "k", message);
  }
  const configured = capacityChoice(given);
  if (factor !== undefined && !(factor > 0 && Number.isFinite(factor)))
    throw new CompileError("M6", "capacity", `must be a positive number; got ${factor}`);
  if (factor !== undefined && given.capacity_policy === "dropless")
    throw new CompileError("M6", "capacity", `is not for a dropless dispatcher; got ${factor}`);
  const slotsFor = (choice: CapacityChoice, choices: number): number =>
    capacityOf(choice, { tokens, choices, experts });
  const room = capacity ?? slotsFor(configured, most);
  const slots =
    factor === undefined
      ? (capacity ?? slotsFor(configured, k))
      : slotsFor({ ...configured, capacity: null, factor }, k);
  if (slots > room) {
    const message = `must give at most the ${room} slots that the program was compiled for; got ${factor}, ${slots} slots`;
    throw new CompileError("M6", "capacity", message);
  }
  if (!["token", "gate"].includes(priority))
    throw new CompileError("M6", "priority", `must be token or gate; got ${priority}`);
  return [k, slots, priority === "gate" ? 1 : 0];
}

function contextOf(
  { x, experts, members, capacity, parameters, noise, limits }: Grouped,
  options: OptionsOf<OptionShape>,
): RoutingContext {
  const [G = 1, T = 1, D = 1] = x.type.shape;
  return {
    x,
    G,
    T,
    D,
    experts,
    members,
    noise,
    limits,
    weight: (name, shape, init, stored) => parameters.weight(name, shape, init, stored),
    table: (name, shape, init) => parameters.table(name, shape, init),
    capacity: (choices) =>
      capacity ?? capacityOf(capacityChoice(options.dispatcher), { tokens: T, choices, experts }),
  };
}

/** The plan with what its author left out. */
function completed(parts: PlanParts, { x, G }: RoutingContext, options: OptionsOf<OptionShape>): RoutingPlan {
  const through = options.dispatcher?.bfloat16 ? "bf16" : "f32";
  return {
    items: x,
    arrives: through,
    returns: through,
    metrics: new Map(),
    auxiliaryLoss: ops.constant({ value: 0, to: "f32", shape: [G] }),
    ...parts,
  };
}
