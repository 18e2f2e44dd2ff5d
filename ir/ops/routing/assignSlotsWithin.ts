/** Places in the experts' buffers, within limits that are given at run time. */
import { defineOp, type Op, type Value } from "../../op.ts";
import { compare, select, subtract } from "../elementwise.ts";
import { iota, slice } from "../movement.ts";
import { descending, rows } from "../numeric.ts";
import { topK } from "../reduction.ts";
import { filled, orElse, shaped, spread, times } from "../shorthand.ts";
import { assignSlots } from "./assignSlots.ts";
import { fillBuffers } from "./buffers.ts";

const signature =
  "choices: i32<experts>[G, T, k], urgency: f32[G, T, u], limits: i32[3]; experts, capacity -> tokens: i32[G, experts, capacity], slots: i32[G, T, k]";

export const assignSlotsWithin: Op<typeof signature> = defineOp({
  name: "assign_slots_within",
  summary:
    "`assign_slots` of a program that is not compiled anew: `limits` are how many of a token's choices count, how many slots of an expert are filled, and whether tokens are served in order of position (0) or of largest first entry of `urgency`, the earlier first among equals (1). Choices beyond the first limit are none, those that find their expert's slots full are dropped; slots are numbered by `capacity`, whatever the limit.",
  source: "Riquelme et al. 2021, arXiv 2106.05974, sections 4 and 5: k, C and BPR are chosen at inference",
  signature,
  where: { C1: ["experts >= 1, capacity >= 1", ({ experts, capacity }) => experts >= 1 && capacity >= 1] },
  traits: ["plan"],

  evaluate({ choices, urgency, limits }, { G, T, k, u, experts, capacity }) {
    const [counted = 0, room = 0, byUrgency] = limits.numbers();
    const first = rows(urgency, u).map(([entry = 0]) => entry);
    const order = Array.from({ length: G }, (_, g) => {
      const group = first.slice(g * T, (g + 1) * T);
      return byUrgency === 1 ? descending(group) : [...group.keys()];
    });
    const own = Array.from(choices.numbers(), (choice, i) => (i % k < counted ? choice : -1));
    return fillBuffers(own, order.flat(), { G, T, k, experts, capacity }, Math.min(room, capacity));
  },

  decompose({ choices, urgency, limits }, { G, T, k, experts, capacity }) {
    const limit = (i: number, { type: { shape } }: Value): Value =>
      spread(slice(limits, { start: [i], limit: [i + 1] }), shape);
    const isBelow = (x: Value, i: number): Value => compare(x, limit(i, x), { is: "lt" });
    const counted = orElse(isBelow(spread(iota({ size: k }), [G, T, k]), 0), choices, -1);
    const first = shaped(slice(urgency, { start: [0, 0, 0], limit: [G, T, 1] }), [G, T]);
    const { indices: byUrgency } = topK(first, { k: T });
    const byPosition = spread(iota({ size: T }), [G, T]);
    const isUrgent = compare(limit(2, byPosition), filled(1, byPosition), { is: "eq" });
    const order = select(isUrgent, byUrgency, byPosition);
    // Buffers fill from the front, so those of fewer slots are the beginning of those of more.
    const { tokens, slots } = assignSlots(counted, order, { experts, capacity });
    const place = subtract(slots, times(counted, capacity));
    const places = spread(iota({ size: capacity }), tokens.type.shape);
    return {
      tokens: orElse(isBelow(places, 1), tokens, -1),
      slots: orElse(isBelow(place, 1), slots, -1),
    };
  },
});
