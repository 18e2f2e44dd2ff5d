/** Capacity planning: slots for each sparse block, and what they cost, from a model and a trace of what tokens ask for. */
import { z } from "zod";

import { CompileError } from "../../ir/index.ts";
import { parseKeys } from "../config.ts";
import type { Model, SparseBlock } from "../model.ts";
import { type Demand, demandOf, type Priority, shareAt } from "./demand.ts";
import type { RoutingTrace } from "./trace.ts";

/** What is wanted of a plan; with neither a target nor a budget, the capacities that the model has. */
export interface PlanGoal {
  /** Who is served first; where it is not given, by position. */
  readonly priority?: Priority;
  /** At most this share of each block's choices may be dropped. */
  readonly dropRate?: number;
  /** Operations that the experts of all sparse blocks may take for an image, in 1e9, every slot counted. */
  readonly gflops?: number;
  /**
   * Capacities are raised to a multiple of this: the rows that a device's matrix product takes at a time, which it would
   * pad otherwise. 1 by default.
   */
  readonly tile?: number;
}

/** What one block's capacity means. */
export interface LayerPlan {
  readonly block: string;
  readonly experts: number;
  readonly groups: number;
  readonly groupSize: number;
  readonly choices: number;
  /** Slots of an expert and group: those of the model, and those of the plan. */
  readonly configured: number;
  readonly capacity: number;
  /** Slots as a multiple of an even share of the choices. */
  readonly factor: number;
  /** Bytes of the experts' buffers of a run, in f32: hidden layer and output, every slot counted. */
  readonly bufferBytes: number;
  /** Operations of the experts for an image, in 1e9: every slot counted, and those that the trace fills. */
  readonly gflops: number;
  readonly usedGflops: number | null;
  /** What the trace says of it. */
  readonly dropRate: number | null;
  readonly lostWeight: number | null;
  readonly unserved: number | null;
}

/** A block with what planning asks of it. */
interface Layer {
  readonly block: SparseBlock;
  readonly demand: Demand | undefined;
  /** Operations of one slot of every expert and group, for an image, in 1e9. */
  readonly gflopsOfSlot: number;
}

/** Slots beyond which nothing is ever dropped. */
const enough = ({ block, demand }: Layer): number =>
  Math.max(1, demand ? demand.dropped.length - 1 : block.groupSize);

const raised = (slots: number, tile: number): number => Math.ceil(Math.max(1, slots) / tile) * tile;

/**
 * The plan for `model` and, where a goal asks for it, a trace of it. A drop rate is met with the fewest slots, block by
 * block. A budget is spent where a tile of slots saves the most weight; with batch priority what slots save falls from
 * each to the next, so that no other division of the budget loses less. Throws M6 for a goal without a trace or out of
 * range, and for a trace of another model.
 */
export function planCapacities(
  model: Model,
  batch: number,
  goal: PlanGoal = {},
  trace?: RoutingTrace,
): LayerPlan[] {
  const { dropRate, gflops, tile = 1 } = goal;
  check(goal, trace);
  const layers = model.blocks.map((block) => layerOf(block, model, batch, goal, trace));
  const fewest = (layer: Layer): number =>
    raised(
      (layer.demand as Demand).dropped.findIndex((share) => share <= (dropRate ?? 0)),
      tile,
    );
  const slots =
    gflops !== undefined
      ? spend(layers, gflops, tile)
      : layers.map((layer) => (dropRate === undefined ? raised(layer.block.capacity, tile) : fewest(layer)));
  return layers.map((layer, i) => described(layer, slots[i] ?? 1, model, batch));
}

const wrong = (subject: string, message: string): CompileError => new CompileError("M6", subject, message);

function check({ dropRate, gflops, tile = 1 }: PlanGoal, trace: RoutingTrace | undefined): void {
  if (dropRate !== undefined && gflops !== undefined) {
    throw wrong("plan", "takes a drop rate or a budget, not both");
  }
  if (!Number.isSafeInteger(tile) || tile < 1) {
    throw wrong("tile", `must be an integer of at least 1; got ${tile}`);
  }
  if (dropRate !== undefined && !(dropRate >= 0 && dropRate < 1)) {
    throw wrong("drop rate", `must be at least 0 and below 1; got ${dropRate}`);
  }
  if (gflops !== undefined && !(gflops > 0)) throw wrong("budget", `must be positive; got ${gflops}`);
  if (!trace && (dropRate !== undefined || gflops !== undefined)) {
    throw wrong("plan", "needs a trace for a drop rate or a budget");
  }
}

function layerOf(
  block: SparseBlock,
  { router, facts }: Model,
  batch: number,
  { priority = "token" }: PlanGoal,
  trace: RoutingTrace | undefined,
): Layer {
  const { name, experts, groups, groupSize } = block;
  const layer = trace?.get(name);
  if (trace && !layer) throw wrong(name, "is not in the trace");
  if (layer && layer.experts !== experts) {
    const message = `must have a trace of ${experts} experts; it is of ${layer.experts}`;
    throw wrong(name, message);
  }
  const k = router?.choices ?? 1;
  const most = layer?.choices.type.shape[2] ?? k;
  if (k > most) {
    throw new CompileError("M6", name, `must have a trace of ${k} choices a token; it is of ${most}`);
  }
  const { hiddenSize: D = 1, mlpDim: F = 1 } = facts;
  return {
    block,
    demand: layer && demandOf(name, layer, { groupSize, k, priority }),
    gflopsOfSlot: (4 * D * F * groups * experts) / batch / 1e9,
  };
}

/** Slots of each layer, a tile at a time to the one where it saves the most weight for an operation. */
function spend(layers: readonly Layer[], budget: number, tile: number): number[] {
  const slots = layers.map(() => tile);
  const cost = (layer: Layer): number => tile * layer.gflopsOfSlot;
  let left = budget - layers.reduce((sum, layer) => sum + cost(layer), 0);
  if (left < 0) {
    const least = (budget - left).toPrecision(3);
    throw new CompileError("M6", "budget", `must be at least ${least}, ${tile} slots a block; got ${budget}`);
  }
  for (;;) {
    const savings = layers.map((layer, i) => {
      const [now, demand] = [slots[i] ?? 0, layer.demand as Demand];
      if (cost(layer) > left || now >= enough(layer)) return 0;
      const saved = shareAt(demand.lostWeight, now) - shareAt(demand.lostWeight, now + tile);
      return saved / cost(layer);
    });
    const best = savings.indexOf(Math.max(...savings));
    const layer = layers[best];
    if (!layer || !((savings[best] ?? 0) > 0)) return slots;
    slots[best] = (slots[best] ?? 0) + tile;
    left -= cost(layer);
  }
}

function described(layer: Layer, capacity: number, { router, facts }: Model, batch: number): LayerPlan {
  const { block, demand, gflopsOfSlot } = layer;
  const { name, experts, groups, groupSize } = block;
  const choices = router?.choices ?? 1;
  const { hiddenSize: D = 1, mlpDim: F = 1 } = facts;
  const kept = demand && (1 - shareAt(demand.dropped, capacity)) * demand.choices;
  return {
    block: name,
    experts,
    groups,
    groupSize,
    choices,
    configured: block.capacity,
    capacity,
    factor: (capacity * experts) / (groupSize * choices),
    bufferBytes: 4 * groups * experts * capacity * (D + F),
    gflops: capacity * gflopsOfSlot,
    usedGflops: kept === undefined ? null : (4 * D * F * groups * kept) / batch / 1e9,
    dropRate: demand ? shareAt(demand.dropped, capacity) : null,
    lostWeight: demand ? shareAt(demand.lostWeight, capacity) : null,
    unserved: demand ? shareAt(demand.unserved, capacity) : null,
  };
}

/** Slots of an expert and group, by sparse block, as `ModelOptions.capacities` takes them. */
export type Capacities = Readonly<Record<string, number>>;

const schema = z.strictObject({ capacities: z.record(z.string(), z.int().min(1)) });

/** The capacities in a plan as JSON, of the file `name`. Throws M1 naming the key that is wrong. */
export const parsePlan = (value: unknown, name: string): Capacities =>
  parseKeys(schema, value, [name]).capacities;

/** The slots of each block. */
export const capacitiesOf = (plan: readonly LayerPlan[]): Capacities =>
  Object.fromEntries(plan.map(({ block, capacity }) => [block, capacity]));
