/** What a router is: a rule from tokens to a plan, and the contract that its plan keeps. */
import type { z } from "zod";

import type { DType, Value } from "../../ir/index.ts";
import { parseKeys } from "../config.ts";
import type { Parameters } from "../parameters.ts";

/**
 * Which token goes where; the same kind for every router, so that dispatch, experts and combine, planning,
 * fusion, export and sharding are each written once.
 */
export interface RoutingPlan {
  /** What is dispatched, [G, N, D]: the tokens themselves, or what a router makes of them. */
  readonly items: Value;
  /** The item in each slot, i32[G, E, capacity]; -1 is an empty slot. */
  readonly tokens: Value;
  /** The slot, expert * capacity + place, that serves each choice, i32[G, T, k]; -1 is no slot. */
  readonly slots: Value;
  /** What each choice's output is multiplied by, f32[G, T, k]. */
  readonly weights: Value;
  /** The dtype to which items are rounded on their way in, and outputs on their way out. */
  readonly through: DType;
  /** Numbers about the routing by the original's names, f32[G] each. */
  readonly metrics: ReadonlyMap<string, Value>;
  /** What training adds to the loss, f32[G]. */
  readonly auxiliaryLoss: Value;
}

/** What a router is given. */
export interface RoutingContext {
  /** f32[G, T, D]. */
  readonly x: Value;
  readonly experts: number;
  readonly parameters: Parameters;
  /** Makes the standard normal draw f32[G, T, E] an input of the program; undefined when routing is noise-free. */
  readonly noise: (() => Value) | undefined;
}

/** How a router decides; docs and targets with a contract of their own read it. */
export interface RoutingContract {
  readonly compares: "gates, the f32 softmax of the logits over all experts" | "logits";
  readonly ties: "lower expert first";
  readonly weights: "gates" | "gates renormalised over the choices";
  readonly order: string;
  readonly noise: string;
}

/** A router, its options already read. */
export interface BoundRouter {
  readonly name: string;
  readonly contract: RoutingContract;
  /** Whether the configuration turns noise on in evaluation too. */
  readonly noisy: boolean;
  /** Slots per expert for groups of `tokens` tokens. */
  capacity(tokens: number, experts: number): number;
  /** Expected rows of an expert MLP per token, without rounding: k times the capacity factor. */
  load(tokens: number, experts: number): number;
  route(context: RoutingContext): RoutingPlan;
}

/** What a router's author writes. */
export interface RouterSpec<S extends z.ZodType> {
  /** The class name in the original's configurations. */
  readonly name: string;
  readonly summary: string;
  readonly source: string;
  readonly contract: RoutingContract;
  /** Its keys in a configuration, with defaults. */
  readonly options: S;
  capacity(options: z.output<S>, tokens: number, experts: number): number;
  load(options: z.output<S>, tokens: number, experts: number): number;
  noisy(options: z.output<S>): boolean;
  /** Throws for options that contradict each other or the number of experts. */
  check(options: z.output<S>, experts: number): void;
  route(options: z.output<S>, context: RoutingContext): RoutingPlan;
}

/** A router with the type of its options erased. */
export interface Router {
  readonly name: string;
  readonly summary: string;
  readonly source: string;
  readonly contract: RoutingContract;
  /** The router with the options that a configuration gives; throws M1 or M3 naming the key. */
  bind(options: unknown, experts: number): BoundRouter;
}

/** Where a router's options stand in a configuration. */
export const routerPath: readonly string[] = ["encoder", "moe", "router"];

export const defineRouter = <S extends z.ZodType>(spec: RouterSpec<S>): Router => ({
  name: spec.name,
  summary: spec.summary,
  source: spec.source,
  contract: spec.contract,
  bind(given, experts) {
    const options = parseKeys(spec.options, given, routerPath);
    spec.check(options, experts);
    return {
      name: spec.name,
      contract: spec.contract,
      noisy: spec.noisy(options),
      capacity: (tokens, among) => spec.capacity(options, tokens, among),
      load: (tokens, among) => spec.load(options, tokens, among),
      route: (context) => spec.route(options, context),
    };
  },
});
