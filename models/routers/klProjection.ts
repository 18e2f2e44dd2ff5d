/** The optimal-transport router: tokens choose by a plan that serves all experts alike. */
import { z } from "zod";

import { ops, type Value } from "../../ir/index.ts";
import type { Loss } from "./options.ts";
import { defineRouter, type Router } from "./router.ts";
import { loadLossOf, weightOf } from "./tokenChoice.ts";

/** The original iterates in blocks of so many. */
const block = 10;

export const klProjection: Router = defineRouter({
  name: "KLProjectionNoisyTopExpertsPerItemRouter",
  summary:
    "Each token chooses the k experts with most of it in a transport plan that gives every expert as many tokens.",
  source:
    "Liu et al. 2023, arXiv 2209.15466; google-research/vmoe, vmoe/projects/sparsity_constrained_ot/kl_projection_routing.py",
  noise: 1,
  options: {
    /** Iterations of Sinkhorn's algorithm, rounded down to whole blocks. */
    maxiter: z
      .int()
      .min(block)
      .default(2 * block),
    /** false: the plan's entries are the weights. */
    use_softmax_combine_weights: true,
    /** Another solver of the original's, which is not built. */
    use_lbfgs: z.literal(false).default(false),
    /** How the original differentiates; without meaning here. */
    use_implicit_differentiation: true,
  },
  contract: {
    compares: "entries of the transport plan of Sinkhorn's algorithm on the logits",
    weights: "gates of the logits without noise, or (use_softmax_combine_weights: false) the plan's entries",
  },
  compares: ({ logits }, _, { maxiter }) =>
    ops.sinkhornPlan(logits, { iterations: maxiter - (maxiter % block) }),
  // As in the original, whose noisy gates are made of the logits before noise.
  weights: ({ clean, compared }, _, { use_softmax_combine_weights: soft }) =>
    soft ? ops.softmax(clean) : compared,
  metrics(scores, context, options) {
    const { clean, logits } = scores;
    const none = ops.constant({ value: 0, to: "f32", shape: [context.G] });
    // What has no weight the original does not compute.
    const counted = (name: Loss, loss: () => Value): Value => (weightOf(options, name) > 0 ? loss() : none);
    return {
      importance_loss: counted("importance_loss", () => ops.importanceLoss(ops.softmax(clean))),
      ...(logits !== clean && {
        load_loss: counted("load_loss", () => loadLossOf(scores, options, context)),
      }),
    };
  },
});
