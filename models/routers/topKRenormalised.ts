/** GShard's weights: each token chooses the k experts of largest gate, whose gates are scaled to sum to 1. */
import { defineRouter, type Router } from "./router.ts";

export const topKRenormalised: Router = defineRouter({
  name: "TopKRenormalisedRouter",
  summary: "Each token chooses the k experts of largest gate; weights are their gates scaled to sum to 1.",
  source: "Lepikhin et al. 2020, arXiv 2006.16668, algorithm 1",
  choices: 2,
  weights: "renormalised gates",
  losses: { gshard_loss: 0.01 },
});
