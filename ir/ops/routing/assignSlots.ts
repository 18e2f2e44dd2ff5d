/** From each token's chosen experts to places in the experts' buffers. */
import { defineOp, type Op } from "../../op.ts";
import { matmul } from "../contraction.ts";
import { add, cast, compare, multiply } from "../elementwise.ts";
import { iota, transpose } from "../movement.ts";
import { cumsum } from "../reduction.ts";
import { filled, oneHot, orElse, plus, shaped, spread, sumRows, times } from "../shorthand.ts";
import { fillBuffers } from "./buffers.ts";

const signature =
  "choices: i32<experts>[G, T, k], order: i32<perm T>[G, T]; experts, capacity -> tokens: i32[G, experts, capacity], slots: i32[G, T, k]";

export const assignSlots: Op<typeof signature> = defineOp({
  name: "assign_slots",
  summary:
    "Fills the experts' buffers choice by choice: all first choices in the given order of tokens, then all second choices, and so on; a choice that finds its expert full is dropped. `tokens` says which token sits in each slot, `slots` which slot (expert * capacity + place) serves each choice; -1 is an empty slot, no choice, or a dropped one.",
  source: "Riquelme et al. 2021, arXiv 2106.05974, algorithms 1 and 2; google-research/vmoe, vmoe/moe.py",
  signature,
  where: { C1: ["experts >= 1, capacity >= 1", ({ experts, capacity }) => experts >= 1 && capacity >= 1] },
  traits: ["plan"],

  evaluate: ({ choices, order }, sizes) => fillBuffers(choices.numbers(), order.numbers(), sizes),

  decompose({ choices, order }, { G, T, k, experts, capacity }) {
    // Counting is done in the order of service, [G, k, T]; the permutation matrix leads there and back.
    const served = oneHot(order, T, "f32");
    const queue = transpose(matmul(served, cast(choices, { to: "f32" })), { perm: [0, 2, 1] });
    const experts1 = cast(shaped(queue, [G, k * T]), { to: "i32" });
    const chosen = oneHot(experts1, experts, "i32");
    const counts = transpose(cumsum(transpose(chosen, { perm: [0, 2, 1] })), { perm: [0, 2, 1] });
    const place = plus(sumRows(multiply(chosen, counts)), -1);
    const slot = add(times(experts1, capacity), place);
    const fits = compare(place, filled(capacity, place), { is: "lt" });
    const known = compare(experts1, filled(0, experts1), { is: "ge" });
    const kept = orElse(known, orElse(fits, slot, -1), -1);
    const ordered = cast(transpose(shaped(kept, [G, k, T]), { perm: [0, 2, 1] }), { to: "f32" });
    const slots = cast(matmul(transpose(served, { perm: [0, 2, 1] }), ordered), { to: "i32" });

    const buffer = [G, experts * capacity, T * k];
    const here = compare(
      spread(shaped(slots, [G, 1, T * k]), buffer),
      spread(shaped(iota({ size: experts * capacity }), [1, experts * capacity, 1]), buffer),
      { is: "eq" },
    );
    const token = spread(shaped(spread(shaped(iota({ size: T }), [T, 1]), [T, k]), [1, 1, T * k]), buffer);
    const tokens = plus(sumRows(orElse(here, plus(token, 1), 0)), -1);
    return { tokens: shaped(tokens, [G, experts, capacity]), slots };
  },
});
