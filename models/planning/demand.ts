/** What a layer's capacity costs and loses, for every capacity at once, as a trace tells it. */
import { CompileError } from "../../ir/index.ts";
import type { LayerTrace } from "./trace.ts";

/** Who is served first: tokens by position, or by their largest weight (batch prioritized routing). */
export type Priority = "token" | "gate";

/** How tokens are grouped and seated. */
export interface Seating {
  /** Tokens that are routed together. */
  readonly groupSize: number;
  /** Choices of each token that count, from the first; all by default. */
  readonly k?: number;
  readonly priority: Priority;
}

/** What becomes of a layer's choices, as shares by the number of slots of an expert and group: entry c is for c slots. */
export interface Demand {
  /** Groups of the trace that were seated. */
  readonly groups: number;
  /** Choices of a group, on average. */
  readonly choices: number;
  /** Choices that find their expert full, as a share of all. */
  readonly dropped: Float64Array;
  /** Weight of those choices, as a share of the weight of all. */
  readonly lostWeight: Float64Array;
  /** Tokens with no choice left, as a share of all tokens. */
  readonly unserved: Float64Array;
}

/**
 * Seats the trace of `block` as `assign_slots` does: first choices before second ones, each in the order of service. A
 * choice that is the n-th of its expert and group is served by n slots or more, so one pass serves all capacities.
 * Groups are cut from the images in their order; what does not fill one is left out. Throws M6 where nothing does.
 * O(choices log tokens).
 */
export function demandOf(block: string, { experts, choices, weights }: LayerTrace, seating: Seating): Demand {
  const { groupSize, priority } = seating;
  const [images = 0, tokens = 0, all = 0] = choices.type.shape;
  const k = Math.min(seating.k ?? all, all);
  const groups = Math.floor((images * tokens) / groupSize);
  if (groups === 0) {
    const got = `${images} images of ${tokens}`;
    throw new CompileError(
      "M6",
      block,
      `needs a trace of at least ${groupSize} tokens, a group; it has ${got}`,
    );
  }
  const [asked, weighed] = [choices.numbers(), weights.numbers()];
  const at = (token: number, j: number): number => token * all + j;
  // By place in the expert's line: choices, their weight, and tokens whose best place this is.
  const [count, weight, best] = [0, 0, 0].map(() => new Float64Array(groupSize * k + 1)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  for (let group = 0; group < groups; group++) {
    const members = Array.from({ length: groupSize }, (_, t) => group * groupSize + t);
    const urgency = (token: number): number =>
      Math.max(...Array.from({ length: k }, (_, j) => weighed[at(token, j)] ?? 0));
    const order = priority === "token" ? members : members.toSorted((a, b) => urgency(b) - urgency(a));
    const line = new Int32Array(experts);
    const places = new Map<number, number>();
    for (let j = 0; j < k; j++) {
      for (const token of order) {
        const expert = asked[at(token, j)] ?? -1;
        if (expert < 0) continue;
        const place = line[expert] ?? 0;
        line[expert] = place + 1;
        count[place] = (count[place] ?? 0) + 1;
        weight[place] = (weight[place] ?? 0) + (weighed[at(token, j)] ?? 0);
        places.set(token, Math.min(place, places.get(token) ?? place));
      }
    }
    for (const place of places.values()) best[place] = (best[place] ?? 0) + 1;
  }
  const made = sum(count);
  return {
    groups,
    choices: made / groups,
    dropped: remaining(count, made),
    lostWeight: remaining(weight, sum(weight)),
    // A token whose choices do not count was never to be served.
    unserved: remaining(best, groups * groupSize, sum(best)),
  };
}

const sum = (values: Float64Array): number => values.reduce((a, b) => a + b, 0);

/** What places c and later hold of `whole`, for every c up to the first that leaves nothing. */
function remaining(byPlace: Float64Array, whole: number, total = whole): Float64Array {
  const used = byPlace.findLastIndex((value) => value > 0) + 1;
  const shares = new Float64Array(used + 1);
  let left = total;
  for (let c = 0; c < used; c++) {
    shares[c] = whole > 0 ? Math.max(left, 0) / whole : 0;
    left -= byPlace[c] ?? 0;
  }
  return shares;
}

/** Entry `capacity` of a share of a `Demand`: 0 beyond the last. */
export const shareAt = (shares: Float64Array, capacity: number): number => shares[capacity] ?? 0;
