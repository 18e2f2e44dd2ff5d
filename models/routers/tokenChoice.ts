/** Routers whose tokens choose experts: what such a router may say, and the plan that it makes. */
import { ops, type Value } from "../../ir/index.ts";
import { constant } from "../init.ts";
import { filled, scaled, sum } from "../shorthand.ts";
import { linearLogits, withNoise } from "./logits.ts";
import { type Loss, losses, type Selection } from "./options.ts";
import type { PlanParts, RoutingContext, RoutingContract } from "./plan.ts";

/** What the choice is made of, f32[G, T, E] each. */
export interface Scores {
  /** The logits before noise. */
  readonly clean: Value;
  /** With noise where there is any, of standard deviation `sigma`; else the very same. */
  readonly logits: Value;
  readonly sigma: number;
  readonly gates: Value;
}

/** What was chosen, [G, T, k] each, in descending order of what was compared. */
export interface Chosen {
  readonly experts: Value;
  readonly compared: Value;
  readonly weights: Value;
}

/** The rule of a router whose tokens choose. What is left out is V-MoE's. */
export interface ByToken<O> {
  /** f32[G, T, E]; by default x W, without a bias. */
  logits?(context: RoutingContext, options: O): Value;
  /** What the logits, noise included, become; weights are made of it. By default the softmax over all experts. */
  readonly gates?: "softmax" | "sigmoid" | ((logits: Value, context: RoutingContext, options: O) => Value);
  /** What the k largest are taken of: by default the gates. Made by a function it is for the choice alone. */
  readonly compares?: "gates" | "logits" | ((scores: Scores, context: RoutingContext, options: O) => Value);
  /** Whether a learned number of each expert's is added to what is compared, and to nothing else. */
  readonly bias?: boolean;
  /** Which experts each token may choose, bool[G, T, E], given what is compared: at least k; by default all. */
  eligible?(compared: Value, context: RoutingContext, options: O): Value;
  /**
   * What an expert's output is multiplied by: the gate as it is, gates scaled to sum to 1 over the choices, the
   * softmax of the chosen logits, or the chosen entries of what a function makes. By default the gate.
   */
  readonly weights?:
    | "gates"
    | "renormalised gates"
    | "softmax of the chosen logits"
    | ((scores: Scores & { readonly compared: Value }, context: RoutingContext, options: O) => Value);
  /** What all weights are multiplied by; by default 1. */
  scale?(options: O): number;
  /**
   * How urgent each token is, f32[G, T], where a configuration asks for batch priority: the most urgent is served first.
   * By default what `priority_by` says.
   */
  priority?(chosen: Chosen, context: RoutingContext, options: O): Value;
  /** Which choices count, bool[G, T, k]; by default all. */
  keeps?(chosen: Chosen, context: RoutingContext, options: O): Value;
  /** Default of `num_selected_experts`; 1. */
  readonly choices?: number;
  /** Default of `noise_std`; 0. */
  readonly noise?: number;
  /** Defaults of the losses' weights; 0. */
  readonly losses?: Readonly<Partial<Record<Loss, number>>>;
  /** Numbers to report and losses, by name, in place of those of the gates. */
  metrics?(scores: Scores, context: RoutingContext, options: O): Readonly<Record<string, Value>>;
}

/** The plan of a rule. */
export function chosenByTokens<O extends Selection>(
  rule: ByToken<O>,
  options: O,
  context: RoutingContext,
): PlanParts {
  const { G, experts: E, limits } = context;
  const { num_selected_experts: k, noise_std: std, dispatcher } = options;
  const clean = rule.logits?.(context, options) ?? linearLogits(context);
  const sigma = (std * context.members) / E;
  const logits = withNoise(clean, sigma, context);
  const capacity = context.capacity(k);

  const gatesOf = (of: Value): Value => gatesBy(rule, of, context, options);
  const scores = { clean, logits, sigma, gates: gatesOf(logits) };
  const metrics =
    rule.metrics?.(scores, context, options) ??
    lossesOf(scores, gatesOf, options, context, choosesLargestLogits(rule));
  const terms = losses.flatMap((name) => {
    const [loss, weight] = [metrics[name], weightOf(options, name)];
    return loss && weight > 0 ? [scaled(loss, weight)] : [];
  });
  const none = Object.values(metrics)[0] ?? ops.constant({ value: 0, to: "f32", shape: [G] });
  const told = {
    metrics: new Map(Object.entries(metrics)),
    auxiliaryLoss: sum(terms, filled(0, none)),
  };
  if (!limits && isRouteTopExperts(rule, options)) {
    const priority = dispatcher.batch_priority ? "gate" : "token";
    return { ...ops.routeTopExperts(logits, { k, capacity, priority }), ...told };
  }

  const compared = comparedBy(rule, scores, context, options);
  const { values, indices } = ops.topK(compared, { k });
  const ofChosen = (x: Value): Value => (x === compared ? values : ops.take(x, indices));
  const unscaled =
    typeof rule.weights === "function"
      ? ofChosen(rule.weights({ ...scores, compared }, context, options))
      : weightsBy(rule.weights, scores, ofChosen, context);
  const weights = rule.scale ? scaled(unscaled, rule.scale(options)) : unscaled;
  const chosen = {
    experts: countedOr(-1, indices, context),
    compared: values,
    weights: countedOr(0, weights, context),
  };
  const kept = rule.keeps?.(chosen, context, options);
  const choices = kept ? ops.select(kept, indices, filled(-1, indices)) : indices;
  const urgency = (): Value => {
    const own = rule.priority?.(chosen, context, options);
    if (own) return ops.reshape(own, { shape: [G, context.T, 1] });
    if (dispatcher.priority_by === "largest") return values;
    const gates = ofChosen(scores.gates);
    const counted = kept ? ops.select(kept, gates, filled(0, gates)) : gates;
    return ops.reduceSum(countedOr(0, counted, context));
  };
  const sizes = { experts: E, capacity };
  const plan = limits
    ? ops.assignSlotsWithin(choices, urgency(), limits, sizes)
    : ops.assignSlots(choices, orderBy(dispatcher.batch_priority ? urgency() : undefined, context), sizes);
  return { ...plan, weights, ...told };
}

/** `x` [G, T, k] where choices count; `other` for those beyond the k of this run. */
function countedOr(other: number, x: Value, { limits }: RoutingContext): Value {
  if (!limits) return x;
  const { shape } = x.type;
  const place = ops.broadcast(ops.iota({ size: shape.at(-1) ?? 1 }), { shape });
  const most = ops.broadcast(countedIn(limits), { shape });
  return ops.select(ops.compare(place, most, { is: "lt" }), x, filled(other, x));
}

/** How many of a token's choices count, i32[1]. */
const countedIn = (limits: Value): Value => ops.slice(limits, { start: [0], limit: [1] });

/** The losses of a choice by the logits, f32[G] each. */
export function lossesOf(
  scores: Omit<Scores, "gates">,
  gatesOf: (logits: Value) => Value,
  options: Selection,
  context: RoutingContext,
  choosesLargest = true,
): Readonly<Record<string, Value>> {
  const { clean, logits } = scores;
  return {
    importance_loss: ops.importanceLoss(gatesOf(clean)),
    gshard_loss: ops.gshardLoss(gatesOf(logits)),
    ...(logits !== clean && choosesLargest && { load_loss: loadLossOf(scores, options, context) }),
    ...(weightOf(options, "z_loss") > 0 && { z_loss: ops.zLoss(logits) }),
  };
}

/** The load loss of a choice by noisy logits, f32[G], for the k of this run. */
export function loadLossOf(
  { clean, logits, sigma }: Omit<Scores, "gates">,
  { num_selected_experts: k }: Selection,
  { limits }: RoutingContext,
): Value {
  const { values } = ops.topK(logits, { k });
  const [G = 1, T = 1] = values.type.shape;
  const most = limits && countedIn(limits);
  const least = most
    ? ops.take(values, ops.broadcast(ops.subtract(most, filled(1, most)), { shape: [G, T, 1] }))
    : ops.slice(values, { start: [0, 0, k - 1], limit: [G, T, k] });
  return ops.loadLoss(clean, ops.reshape(least, { shape: [G, T] }), { sigma });
}

function gatesBy<O>(
  { gates = "softmax" }: ByToken<O>,
  logits: Value,
  context: RoutingContext,
  options: O,
): Value {
  if (typeof gates === "function") return gates(logits, context, options);
  return gates === "softmax" ? ops.softmax(logits) : ops.sigmoid(logits);
}

function comparedBy<O>(rule: ByToken<O>, scores: Scores, context: RoutingContext, options: O): Value {
  const { compares = "gates" } = rule;
  const own = typeof compares === "function" ? compares(scores, context, options) : scores[compares];
  const all = rule.bias ? ops.add(own, biasOf(context)) : own;
  const eligible = rule.eligible?.(all, context, options);
  return eligible ? ops.select(eligible, all, filled(lowest, all)) : all;
}

/** A learned number of each expert's, for every token. */
const biasOf = ({ G, T, experts: E, weight }: RoutingContext): Value =>
  ops.broadcast(weight("bias", [E], constant(0)), { shape: [G, T, E] });

/** The weights of the chosen, given the entries of anything at the chosen. */
function weightsBy(
  weights: Exclude<ByToken<never>["weights"], (...of: never) => unknown>,
  { logits, gates }: Scores,
  ofChosen: (x: Value) => Value,
  context: RoutingContext,
): Value {
  if (weights === "softmax of the chosen logits")
    return ops.softmax(countedOr(never, ofChosen(logits), context));
  if (weights !== "renormalised gates") return ofChosen(gates);
  const chosen = countedOr(0, ofChosen(gates), context);
  // A row of zeros stays one: nothing was worth choosing.
  const total = ops.maximum(ops.reduceSum(chosen), filled(tiny, ops.reduceSum(chosen)));
  return ops.divide(chosen, ops.broadcast(total, { shape: chosen.type.shape }));
}

/** The tokens in the order of service, i32[G, T]: of largest first entry of `urgency`, by position where there is none. */
function orderBy(urgency: Value | undefined, { G, T }: RoutingContext): Value {
  if (!urgency) return ops.broadcast(ops.iota({ size: T }), { shape: [G, T] });
  const isOne = urgency.type.shape[2] === 1;
  const first = isOne ? urgency : ops.slice(urgency, { start: [0, 0, 0], limit: [G, T, 1] });
  return ops.topK(ops.reshape(first, { shape: [G, T] }), { k: T }).indices;
}

/** So low that its power beside any other's is 0 exactly. */
const never = -1e30;

/** The smallest normal float32, and the lowest of all. */
const tiny = 2 ** -126;
const lowest = -(2 - 2 ** -23) * 2 ** 127;

/** Whether the choice is that of the k largest logits. */
function choosesLargestLogits<O>(rule: ByToken<O>): boolean {
  const { gates, compares = "gates" } = rule;
  const rising = compares === "logits" || (compares === "gates" && typeof gates !== "function");
  return rising && !rule.bias && !rule.eligible;
}

/** Whether the rule is that of the op `route_top_experts`. */
const isRouteTopExperts = <O extends Selection>(rule: ByToken<O>, { dispatcher }: O): boolean =>
  (rule.gates ?? "softmax") === "softmax" &&
  (rule.compares ?? "gates") === "gates" &&
  (rule.weights ?? "gates") === "gates" &&
  !(rule.bias || rule.eligible || rule.scale || rule.keeps || rule.priority) &&
  !(dispatcher.batch_priority && dispatcher.priority_by === "sum");

/** The weight that a configuration gives a loss. */
export const weightOf = (options: object, loss: Loss): number =>
  (options as Readonly<Record<string, number>>)[`${loss}_weight`] ?? 0;

/** The contract in words. */
export function contractOf<O>({
  gates = "softmax",
  compares = "gates",
  bias = false,
  weights = "gates",
}: ByToken<O>): RoutingContract {
  const gate =
    gates === "softmax"
      ? "gates, the f32 softmax of the logits over all experts"
      : gates === "sigmoid"
        ? "gates, the f32 sigmoid of each logit"
        : "gates of its own";
  const own = compares === "gates" ? gate : compares === "logits" ? "logits" : "scores of its own";
  return {
    compares: bias ? `${own}, plus a learned number of each expert's` : own,
    ties: "lower expert first",
    weights: weightWords(weights),
    order:
      "position, or (batch_priority) the largest entry compared, or (priority_by: sum) the largest sum of the gates chosen; earlier tokens first among equals",
    noise: "N(0, (noise_std / E)^2) on the logits",
  };
}

const weightWords = (weights: NonNullable<ByToken<never>["weights"]>): string => {
  if (typeof weights === "function") return "weights of its own";
  return weights === "renormalised gates" ? "gates renormalised over the choices" : weights;
};
