/** Auxiliary losses that keep the experts evenly used, one number a group. */
import { defineOp, type Op, type Value } from "../../op.ts";
import { add, divide, erf, exp, log, multiply, subtract } from "../elementwise.ts";
import { transpose } from "../movement.ts";
import { descending, errorFunction, logSumExp, rows } from "../numeric.ts";
import { reduceMax, reduceSum, topK } from "../reduction.ts";
import { oneHot, over, plus, shaped, spread, sumRows, times } from "../shorthand.ts";

const ofGates = "gates: f32<positive>[G, T, E] -> loss: f32[G]";
const ofOne = "logits: f32[G, T, E] -> loss: f32[G]";
const ofThreshold = "logits: f32[G, T, E], threshold: f32[G, T]; sigma: real -> loss: f32[G]";

/** Squared coefficient of variation, variance / mean^2; defined also for equal entries, unlike its root's slope. */
function variation(xs: readonly number[]): number {
  const mean = xs.reduce((a, b) => a + b) / xs.length;
  return xs.reduce((sum, x) => sum + (x - mean) ** 2, 0) / xs.length / mean ** 2;
}

/** The same of each row of [G, E], as [G]. */
function variationOf(xs: Value): Value {
  const [G = 1, E = 1] = xs.type.shape;
  const mean = over(sumRows(xs), E);
  const centred = subtract(xs, spread(shaped(mean, [G, 1]), [G, E]));
  return divide(over(sumRows(multiply(centred, centred)), E), multiply(mean, mean));
}

/** The sum over the tokens of each group: [G, T, E] to [G, E]. */
const sumTokens = (x: Value): Value => sumRows(transpose(x, { perm: [0, 2, 1] }));

/** For each group, the rows of length E. */
function groups<T>(items: readonly T[], G: number): T[][] {
  const size = items.length / G;
  return Array.from({ length: G }, (_, g) => items.slice(g * size, (g + 1) * size));
}

const sumOver = (tokens: readonly ArrayLike<number>[], e: number): number =>
  tokens.reduce((sum, row) => sum + (row[e] as number), 0);

export const importanceLoss: Op<typeof ofGates> = defineOp({
  name: "importance_loss",
  summary: "Squared coefficient of variation over the experts of their summed gates; population variance.",
  source: "Riquelme et al. 2021, arXiv 2106.05974, appendix A",
  signature: ofGates,
  evaluate: ({ gates }, { G, E }) => ({
    loss: groups(rows(gates, E), G).map((tokens) =>
      variation(Array.from({ length: E }, (_, e) => sumOver(tokens, e))),
    ),
  }),
  decompose: ({ gates }) => ({ loss: variationOf(sumTokens(gates)) }),
});

export const gshardLoss: Op<typeof ofGates> = defineOp({
  name: "gshard_loss",
  summary:
    "E times the sum over the experts of the share of tokens whose largest gate is the expert's (the lower expert of equals) times its mean gate.",
  source: "Lepikhin et al. 2020, arXiv 2006.16668, algorithm 1; google-research/vmoe, vmoe/nn/routing.py",
  signature: ofGates,
  evaluate: ({ gates }, { G, T, E }) => ({
    loss: groups(rows(gates, E), G).map((tokens) => {
      const favourites = tokens.map((row) => descending(row)[0]);
      const terms = Array.from(
        { length: E },
        (_, e) => (favourites.filter((f) => f === e).length / T) * (sumOver(tokens, e) / T),
      );
      return E * terms.reduce((a, b) => a + b);
    }),
  }),
  decompose({ gates }, { G, T, E }) {
    const favourite = shaped(topK(gates, { k: 1 }).indices, [G, T]);
    const share = over(sumTokens(oneHot(favourite, E, "f32")), T);
    return { loss: times(sumRows(multiply(share, over(sumTokens(gates), T))), E) };
  },
});

export const loadLoss: Op<typeof ofThreshold> = defineOp({
  name: "load_loss",
  summary:
    "Squared coefficient of variation over the experts of their mean probability to be chosen again if the noise, of standard deviation sigma, were drawn anew: the logit must pass the token's threshold, the k-th largest of its noisy logits.",
  source: "Riquelme et al. 2021, arXiv 2106.05974, appendix A",
  signature: ofThreshold,
  where: { C1: ["sigma > 0", ({ sigma }) => sigma > 0] },
  sample: (_, pick) => ({ sigma: 2 + pick(8) / 4 }),
  evaluate({ logits, threshold }, { G, T, E, sigma }) {
    const thresholds = threshold.numbers();
    const chances = rows(logits, E).map((row, t) =>
      row.map((logit) => (1 - errorFunction(((thresholds[t] as number) - logit) / sigma / Math.SQRT2)) / 2),
    );
    return {
      loss: groups(chances, G).map((tokens) =>
        variation(Array.from({ length: E }, (_, e) => sumOver(tokens, e) / T)),
      ),
    };
  },
  decompose({ logits, threshold }, { G, T, E, sigma }) {
    const needed = spread(shaped(threshold, [G, T, 1]), [G, T, E]);
    const distance = times(subtract(needed, logits), Math.SQRT1_2 / sigma);
    const chance = times(plus(times(erf(distance), -1), 1), 0.5);
    return { loss: variationOf(over(sumTokens(chance), T)) };
  },
});

export const zLoss: Op<typeof ofOne> = defineOp({
  name: "z_loss",
  summary:
    "The mean over the tokens of the square of the logarithm of the summed exponentials of the logits.",
  source: "Zoph et al. 2022, arXiv 2202.08906, eq. 5",
  signature: ofOne,
  evaluate: ({ logits }, { G, T, E }) => ({
    loss: groups(rows(logits, E), G).map(
      (tokens) => tokens.reduce((sum, row) => sum + logSumExp(row) ** 2, 0) / T,
    ),
  }),
  decompose({ logits }, { G, T, E }) {
    const largest = reduceMax(logits);
    const powers = exp(subtract(logits, spread(largest, [G, T, E])));
    const logs = shaped(add(log(reduceSum(powers)), largest), [G, T]);
    return { loss: over(sumRows(multiply(logs, logs)), T) };
  },
});
