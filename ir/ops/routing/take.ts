/** Entries of rows by index. */
import { defineOp, type Op } from "../../op.ts";
import { each } from "../../tensor.ts";
import { multiply } from "../elementwise.ts";
import { oneHot, shaped, spread, sumRows } from "../shorthand.ts";

const signature = "x: number[..., N], indices: i32<N>[..., k] -> y: number[..., k]";

export const take: Op<typeof signature> = defineOp({
  name: "take",
  summary: "The entry of each row at each of the row's indices; 0 for the index -1.",
  signature,
  evaluate({ x, indices }, { dims, N, k }) {
    const [entries, places] = [x.numbers(), indices.numbers()];
    let at = 0;
    const y = each([...dims, k], () => {
      const index = places[at] as number;
      const row = Math.floor(at++ / k);
      return index < 0 ? 0 : (entries[row * N + index] as number);
    });
    return { y };
  },
  decompose({ x, indices }, { dims, N, k }) {
    const hits = oneHot(indices, N, x.type.dtype);
    return { y: sumRows(multiply(hits, spread(shaped(x, [...dims, 1, N]), [...dims, k, N]))) };
  },
});
