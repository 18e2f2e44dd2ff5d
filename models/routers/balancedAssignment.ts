/** BASE: every token one expert, every expert its even share of the tokens. */
import { ops, type Value } from "../../ir/index.ts";
import { rowSum, scaled } from "../shorthand.ts";
import { linearLogits, withNoise } from "./logits.ts";
import { defineRouter, type Router } from "./router.ts";

/** An even share of the tokens, rounded up. */
const shareOf = (tokens: number, experts: number): number => Math.ceil(tokens / experts);

/**
 * The paper assigns by the largest sum of scores (a linear assignment, by auction) in training, and in evaluation each
 * token to its best expert, balanced or not. Here the assignment is always balanced, by `choose_evenly`: the same
 * constraints, in a bounded number of rounds, for a sum that may be smaller.
 */
export const balancedAssignment: Router = defineRouter({
  name: "BalancedAssignmentRouter",
  summary:
    "Each token gets one expert, and each expert at most its even share of the tokens: best scores first, in rounds.",
  source: "Lewis et al. 2021, arXiv 2103.16716; facebookresearch/fairseq, fairseq/modules/base_layer.py",
  contract: {
    compares:
      "logits: each token asks its best expert that has room, each expert takes the best of those who ask",
    weights: "sigmoid of the chosen logit",
    order: "largest logit, earlier tokens first among equals; nothing is dropped",
  },
  rows: (_, tokens, experts) => (shareOf(tokens, experts) * experts) / tokens,

  plan(context, { noise_std }) {
    const { G, T, experts } = context;
    const logits = withNoise(linearLogits(context), noise_std / experts, context);
    const capacity = shareOf(T, experts);
    const choices = ops.chooseEvenly(logits, { capacity });
    const order = ops.broadcast(ops.iota({ size: T }), { shape: [G, T] });
    return {
      ...ops.assignSlots(choices, order, { experts, capacity }),
      weights: ops.sigmoid(ops.take(logits, choices)),
      metrics: new Map([["ratio_items_with_best_expert", bestRatio(logits, choices)]]),
    };
  },
});

/** The share of each group's tokens whose expert is the one of largest score, f32[G]. */
function bestRatio(logits: Value, choices: Value): Value {
  const [G = 1, T = 1] = logits.type.shape;
  const isBest = ops.compare(choices, ops.topK(logits, { k: 1 }).indices, { is: "eq" });
  return scaled(rowSum(ops.reshape(ops.cast(isBest, { to: "f32" }), { shape: [G, T] })), 1 / T);
}
