/** What every router yields, what it is given, and what it promises. */
import type { DType, Shape, Value } from "../../ir/index.ts";
import type { Init } from "../init.ts";

/**
 * Which token goes where; the same kind for every router, so that dispatch, experts and combine, planning,
 * fusion, export and sharding are each written once.
 */
export interface RoutingPlan {
  /** What is dispatched, f32[G, N, D]: the tokens themselves, or what a router makes of them. */
  readonly items: Value;
  /** The item in each slot, i32[G, E, capacity]; -1 is an empty slot. */
  readonly tokens: Value;
  /** The slot, expert * capacity + place, that serves each choice, i32[G, T, k]; -1 is no slot. */
  readonly slots: Value;
  /** What each choice's output is multiplied by, f32[G, T, k]. */
  readonly weights: Value;
  /** The dtype to which items are rounded on their way in. */
  readonly arrives: DType;
  /** The dtype to which the experts' outputs are rounded on their way out. */
  readonly returns: DType;
  /** Numbers about the routing, by the original's names where it has them; f32[G], or one for each part of a group. */
  readonly metrics: ReadonlyMap<string, Value>;
  /** What training adds to the loss, f32[G], or one for each part of a group. */
  readonly auxiliaryLoss: Value;
}

/** A plan as an author gives it: what is left out is the tokens as they are, and neither metrics nor losses. */
export type PlanParts = Pick<RoutingPlan, "tokens" | "slots" | "weights"> & Partial<RoutingPlan>;

/** What a router is given. */
export interface RoutingContext {
  /** The tokens, f32[G, T, D]. */
  readonly x: Value;
  readonly G: number;
  readonly T: number;
  readonly D: number;
  readonly experts: number;
  /** Members of an ensemble, 1 without: token t of a group is a copy for member t % members. */
  readonly members: number;
  /** A trained parameter of the router's, f32; of any shape of as many elements in files, on request. */
  readonly weight: (name: string, shape: Shape, init: Init, stored?: "in any shape") => Value;
  /** A fixed table, f32, that no checkpoint holds. */
  readonly table: (name: string, shape: Shape, init: Init) => Value;
  /** Makes a standard normal draw, f32, an input of the program; undefined when routing is noise-free. */
  readonly noise: ((shape: Shape) => Value) | undefined;
  /**
   * How many of a token's choices count in this run, how many slots of an expert are filled, and who is served first:
   * `limits` of `assign_slots_within`, i32[3]; undefined when they are as configured.
   */
  readonly limits: Value | undefined;
  /** Slots of an expert where each token makes `choices`, as the configuration's dispatcher says. */
  readonly capacity: (choices: number) => number;
}

/** How a router decides, in words; docs and targets with a contract of their own read it. */
export interface RoutingContract {
  /** What the choice compares. */
  readonly compares: string;
  readonly ties: string;
  readonly weights: string;
  /** Who is served first. */
  readonly order: string;
  readonly noise: string;
}
