/** A balanced choice: every token one expert, no expert too many tokens. */
import { defineOp, type Op, type Value } from "../../op.ts";
import { compare, multiply, select, subtract } from "../elementwise.ts";
import { constant, transpose } from "../movement.ts";
import { descending } from "../numeric.ts";
import { topK } from "../reduction.ts";
import { filled, oneHot, orElse, plus, shaped, spread, sumRows, times } from "../shorthand.ts";
import { assignSlots } from "./assignSlots.ts";

const signature = "scores: f32[G, T, E]; capacity -> choices: i32[G, T, 1]";

export const chooseEvenly: Op<typeof signature> = defineOp({
  name: "choose_evenly",
  summary:
    "One expert for each token, and at most `capacity` tokens of a group for each expert, by immediate acceptance: in each of E rounds every token without an expert asks, of the experts that were not full before the round, the one of its largest score, the lower of equal ones; each expert takes those of largest score, the earlier of equal ones, until it is full. Who is turned away finds its expert full, so E rounds place everyone. Unlike a linear assignment this does not maximise the sum of the scores: who is taken stays.",
  source:
    "The balanced assignment of Lewis et al. 2021, arXiv 2103.16716, section 3.1, approximated in a bounded number of rounds",
  signature,
  where: {
    C1: ["capacity >= 1 and E * capacity >= T", ({ T, E, capacity }) => capacity >= 1 && E * capacity >= T],
  },

  evaluate(operands, { G, T, E, capacity }) {
    const scores = operands.scores.numbers();
    const choices = new Int32Array(G * T).fill(-1);
    for (let g = 0; g < G; g++) {
      const group = choices.subarray(g * T, (g + 1) * T);
      const score = (t: number, e: number): number => scores[(g * T + t) * E + e] as number;
      const room = Array.from({ length: E }, () => capacity);
      for (let round = 0; round < E; round++) {
        const open = [...room.keys()].filter((e) => (room[e] as number) > 0);
        const asked = Array.from(group, (choice, t) =>
          choice < 0 ? open[descending(open.map((e) => score(t, e)))[0] ?? 0] : undefined,
        );
        for (const e of open) {
          const asking = [...asked.keys()].filter((t) => asked[t] === e);
          const order = descending(asking.map((t) => score(t, e))).map((i) => asking[i] as number);
          for (const t of order.slice(0, room[e])) {
            group[t] = e;
            room[e] = (room[e] as number) - 1;
          }
        }
      }
    }
    return { choices };
  },

  decompose({ scores }, { G, T, E, capacity }) {
    let choices: Value = constant({ value: -1, to: "i32", shape: [G, T] });
    for (let round = 0; round < E; round++) choices = nextRound(scores, choices, { G, T, E, capacity });
    return { choices: shaped(choices, [G, T, 1]) };
  },
});

/** The lowest float32: below every score. */
const lowest = -(2 - 2 ** -23) * 2 ** 127;

/** The choices, [G, T] with -1 for none, after one round more. */
function nextRound(
  scores: Value,
  choices: Value,
  {
    G,
    T,
    E,
    capacity,
  }: { readonly G: number; readonly T: number; readonly E: number; readonly capacity: number },
): Value {
  const taken = sumRows(transpose(oneHot(choices, E, "i32"), { perm: [0, 2, 1] }));
  const room = plus(times(taken, -1), capacity);
  const open = compare(room, filled(0, room), { is: "gt" });
  const best = topK(orElse(spread(shaped(open, [G, 1, E]), [G, T, E]), scores, lowest), { k: 1 });
  const waiting = compare(choices, filled(0, choices), { is: "lt" });
  const asked = orElse(waiting, shaped(best.indices, [G, T]), -1);

  // The place of each among those who ask the same expert: the slot that it would get in an empty buffer.
  const { indices: order } = topK(orElse(waiting, shaped(best.values, [G, T]), lowest), { k: T });
  const { slots } = assignSlots(shaped(asked, [G, T, 1]), order, { experts: E, capacity });
  const slot = shaped(slots, [G, T]);
  const seated = compare(slot, filled(0, slot), { is: "ge" });
  const place = orElse(seated, subtract(slot, times(asked, capacity)), capacity);
  const roomOf = sumRows(multiply(oneHot(asked, E, "i32"), spread(shaped(room, [G, 1, E]), [G, T, E])));
  return select(compare(place, roomOf, { is: "lt" }), asked, choices);
}
