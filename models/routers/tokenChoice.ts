/** Routers whose tokens choose experts: what such a router may say, and the plan that it makes. */
import { ops, type Value } from "../../ir/index.ts";
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
  /**
   * What an expert's output is multiplied by: the gate as it is, gates scaled to sum to 1 over the choices, the
   * softmax of the chosen logits, or the chosen entries of what a function makes. By default the gate.
   */
  readonly weights?:
    | "gates"
    | "renormalised gates"
    | "softmax of the chosen logits"
    | ((scores: Scores & { readonly compared: Value }, context: RoutingContext, options: O) => Value);
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
  const { G, T, experts: E } = context;
  const { num_selected_experts: k, noise_std: std, dispatcher } = options;
  const clean = rule.logits?.(context, options) ?? linearLogits(context);
  const sigma = std / E;
  const logits = withNoise(clean, sigma, context);
  const capacity = context.capacity(k);

  const gatesOf = (of: Value): Value => gatesBy(rule, of, context, options);
  const scores = { clean, logits, sigma, gates: gatesOf(logits) };
  const metrics = rule.metrics?.(scores, context, options) ?? {
    importance_loss: ops.importanceLoss(gatesOf(clean)),
    gshard_loss: ops.gshardLoss(scores.gates),
    ...(logits !== clean && { load_loss: ops.loadLoss(clean, logits, { k, sigma }) }),
    ...(weightOf(options, "z_loss") > 0 && { z_loss: ops.zLoss(logits) }),
  };
  const terms = losses.flatMap((name) => {
    const [loss, weight] = [metrics[name], weightOf(options, name)];
    return loss && weight > 0 ? [scaled(loss, weight)] : [];
  });
  const none = Object.values(metrics)[0] ?? ops.constant({ value: 0, to: "f32", shape: [G] });
  const told = {
    metrics: new Map(Object.entries(metrics)),
    auxiliaryLoss: sum(terms, filled(0, none)),
  };
  if (isRouteTopExperts(rule, options)) {
    const priority = dispatcher.batch_priority ? "gate" : "token";
    return { ...ops.routeTopExperts(logits, { k, capacity, priority }), ...told };
  }

  const compared = comparedBy(rule, scores, context, options);
  const { values, indices } = ops.topK(compared, { k });
  const chosenOf = (x: Value): Value => (x === compared ? values : ops.take(x, indices));
  const weights =
    typeof rule.weights === "function"
      ? chosenOf(rule.weights({ ...scores, compared }, context, options))
      : weightsBy(rule.weights, scores, chosenOf);
  const chosen = { experts: indices, compared: values, weights };
  const kept = rule.keeps?.(chosen, context, options);
  const choices = kept ? ops.select(kept, indices, filled(-1, indices)) : indices;
  const first = ops.reshape(ops.slice(values, { start: [0, 0, 0], limit: [G, T, 1] }), { shape: [G, T] });
  const priority =
    dispatcher.priority_by === "sum" ? ops.reshape(ops.reduceSum(weights), { shape: [G, T] }) : first;
  const order = dispatcher.batch_priority
    ? ops.topK(priority, { k: T }).indices
    : ops.broadcast(ops.iota({ size: T }), { shape: [G, T] });
  return { ...ops.assignSlots(choices, order, { experts: E, capacity }), weights, ...told };
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

function comparedBy<O>(
  { compares = "gates" }: ByToken<O>,
  scores: Scores,
  context: RoutingContext,
  options: O,
): Value {
  return typeof compares === "function" ? compares(scores, context, options) : scores[compares];
}

/** The weights of the chosen, whose entries `chosenOf` takes. */
function weightsBy(
  weights: Exclude<ByToken<never>["weights"], (...of: never) => unknown>,
  scores: Scores,
  chosenOf: (x: Value) => Value,
): Value {
  if (weights === "softmax of the chosen logits") return ops.softmax(chosenOf(scores.logits));
  const chosen = chosenOf(scores.gates);
  if (weights !== "renormalised gates") return chosen;
  // A row of zeros stays one: nothing was worth choosing.
  const total = ops.maximum(ops.reduceSum(chosen), filled(tiny, ops.reduceSum(chosen)));
  return ops.divide(chosen, ops.broadcast(total, { shape: chosen.type.shape }));
}

/** The smallest normal float32. */
const tiny = 2 ** -126;

/** Whether the rule is that of the op `route_top_experts`. */
const isRouteTopExperts = <O extends Selection>(rule: ByToken<O>, { dispatcher }: O): boolean =>
  (rule.gates ?? "softmax") === "softmax" &&
  (rule.compares ?? "gates") === "gates" &&
  (rule.weights ?? "gates") === "gates" &&
  !rule.keeps &&
  !(dispatcher.batch_priority && dispatcher.priority_by === "sum");

/** The weight that a configuration gives a loss. */
export const weightOf = (options: object, loss: Loss): number =>
  (options as Readonly<Record<string, number>>)[`${loss}_weight`] ?? 0;

/** The contract in words. */
export function contractOf<O>({
  gates = "softmax",
  compares = "gates",
  weights = "gates",
}: ByToken<O>): RoutingContract {
  const gate =
    gates === "softmax"
      ? "gates, the f32 softmax of the logits over all experts"
      : gates === "sigmoid"
        ? "gates, the f32 sigmoid of each logit"
        : "gates of its own";
  return {
    compares: compares === "gates" ? gate : compares === "logits" ? "logits" : "scores of its own",
    ties: "lower expert first",
    weights: weightWords(weights),
    order:
      "position, or (batch_priority) the largest entry compared, or (priority_by: sum) the largest sum of weights; earlier tokens first among equals",
    noise: "N(0, (noise_std / E)^2) on the logits",
  };
}

const weightWords = (weights: NonNullable<ByToken<never>["weights"]>): string => {
  if (typeof weights === "function") return "weights of its own";
  return weights === "renormalised gates" ? "gates renormalised over the choices" : weights;
};
