/** Expert choice: every expert chooses its tokens. */
import { defineOp, type Op } from "../../op.ts";
import { add, cast, compare } from "../elementwise.ts";
import { iota, slice, transpose } from "../movement.ts";
import { descending } from "../numeric.ts";
import { topK } from "../reduction.ts";
import { filled, orElse, shaped, spread, times } from "../shorthand.ts";

const signature =
  "gates: f32[G, T, E]; capacity -> tokens: i32[G, E, capacity], slots: i32[G, T, E], weights: f32[G, T, E]";

export const routeTopTokens: Op<typeof signature> = defineOp({
  name: "route_top_tokens",
  summary:
    "Each expert takes the `capacity` tokens of its group whose gates for it are largest, in descending order; of equal gates the earlier token comes first. `slots` says which slot of each expert, in the order of the experts, serves the token, -1 where the expert did not take it; the weights are the gates where it did, else 0. A token may be taken by many experts or by none.",
  source: "Zhou et al. 2022, arXiv 2202.09368, section 3.2",
  signature,
  where: { C1: ["1 <= capacity <= T", ({ capacity, T }) => 1 <= capacity && capacity <= T] },
  traits: ["plan"],

  evaluate(operands, { G, T, E, capacity }) {
    const gates = operands.gates.numbers();
    const tokens: number[] = [];
    const slots = new Int32Array(G * T * E).fill(-1);
    const weights = new Float32Array(G * T * E);
    for (let g = 0; g < G; g++) {
      for (let e = 0; e < E; e++) {
        const at = (token: number): number => (g * T + token) * E + e;
        const own = Array.from({ length: T }, (_, t) => gates[at(t)] as number);
        for (const [place, token] of descending(own).slice(0, capacity).entries()) {
          tokens.push(token);
          slots[at(token)] = e * capacity + place;
          weights[at(token)] = own[token] as number;
        }
      }
    }
    return { tokens, slots, weights };
  },

  decompose({ gates }, { G, T, E, capacity }) {
    const swap = { perm: [0, 2, 1] };
    const { indices } = topK(transpose(gates, swap), { k: T });
    // What sorts a permutation is its inverse: the place of each token in the expert's order.
    const place = topK(times(cast(indices, { to: "f32" }), -1), { k: T }).indices;
    const taken = compare(place, filled(capacity, place), { is: "lt" });
    const first = spread(shaped(times(iota({ size: E }), capacity), [1, E, 1]), [G, E, T]);
    return {
      tokens: slice(indices, { start: [0, 0, 0], limit: [G, E, capacity] }),
      slots: transpose(orElse(taken, add(first, place), -1), swap),
      weights: orElse(transpose(taken, swap), gates, 0),
    };
  },
});
