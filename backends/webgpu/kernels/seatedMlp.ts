/**
 * The experts behind choices, in four launches however many there are: seat tokens and list rows, multiply tile by tile,
 * twice, and add up per token.
 */
import { ops, type Sizes as Attrs, type Value } from "../../../ir/index.ts";
import { bind, type Context, kernel, type Launch, type LaunchKernel } from "../kernel.ts";
import { combineRows, expertLayers, roundItems, tilesFor } from "./routedMlp.ts";
import { noRow, seat } from "./seating.ts";

type Operands = Readonly<Record<"x" | "choices" | "weights" | "urgency" | "w1" | "b1" | "w2" | "b2", Value>>;
type Results = Readonly<Record<"y" | "tokens" | "slots", Value>>;

interface Sizes extends Attrs {
  readonly G: number;
  readonly T: number;
  readonly D: number;
  readonly k: number;
  readonly u: number;
  readonly E: number;
  readonly F: number;
  readonly capacity: number;
  readonly approximate: "tanh" | "none";
  readonly through: Value["type"]["dtype"];
}

/** The launches; by urgency where `byUrgency`, within `limits` where there are any. */
function emit(
  context: Context<Operands, Results, Sizes>,
  byUrgency: boolean,
  limits?: Value,
): readonly Launch[] {
  const { operands, results, sizes, profile, scratch, output } = context;
  const { x, choices, weights, urgency, ...experts } = operands;
  const { tokens, slots } = results;
  const { G, T, D, k, u, E, capacity, through } = sizes;
  const rows = Math.min(G * E * capacity, G * T * k);
  const each = G * Math.min(capacity, T * k);
  const listing = tilesFor(experts.w1, sizes, { each, all: rows, mayBeFewer: limits !== undefined }, context);
  const { height, bound } = listing;
  const [sources, places] = [scratch("u32", rows), scratch("u32", G * T * k)];
  const list = scratch("vec4u", bound);
  const seating = {
    choices,
    urgency: byUrgency ? { resource: urgency, width: u } : undefined,
    limits,
    tokens,
    slots,
    sizes: { ...sizes, experts: E },
    rows: { sources, places, list, height, bound },
  };
  const items = through === x.type.dtype ? x : scratch("f32", G * T * D);
  const layer = { ...listing, items, sources, tiles: list, rows, M: each };
  const { launches, outputs } = expertLayers(experts, layer, sizes, context);
  const rowOf = `
        let row = places[choice];
        let isKept = row != ${noRow};`;
  return [
    seat(seating, profile),
    ...(items === x ? [] : [roundItems(x, items, G * T * D, through, profile)]),
    ...launches,
    combineRows({ outputs, places: [bind("places", places, "u32")], rowOf, weights, output }, sizes, profile),
  ];
}

export const seatedMlp: LaunchKernel = kernel(
  ops.seatedMlp,
  (context) => emit(context, context.sizes.priority === "gate"),
  { epilogue: 4, factors: ["w1", "w2"] },
);

export const seatedMlpWithin: LaunchKernel = kernel(
  ops.seatedMlpWithin,
  (context) => {
    const { limits, ...operands } = context.operands;
    return emit({ ...context, operands }, true, limits);
  },
  { epilogue: 4, factors: ["w1", "w2"] },
);
