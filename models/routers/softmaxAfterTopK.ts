/** Mixtral's router: the softmax is taken of the k chosen logits alone. */
import { defineRouter, type Router } from "./router.ts";

export const softmaxAfterTopK: Router = defineRouter({
  name: "SoftmaxAfterTopKRouter",
  summary: "Each token chooses the k experts of largest logit; weights are the softmax of those logits.",
  source:
    "Shazeer et al. 2017, arXiv 1701.06538, eq. 3 and 5, without its learned noise; Jiang et al. 2024, arXiv 2401.04088, section 2.1",
  choices: 2,
  compares: "logits",
  weights: "softmax of the chosen logits",
});
