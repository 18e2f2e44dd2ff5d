/** V-MoE's router: each token chooses the k experts of largest gate. */
import { defineRouter, type Router } from "./router.ts";

export const noisyTopExperts: Router = defineRouter({
  name: "NoisyTopExpertsPerItemRouter",
  summary: "Each token chooses the k experts of largest gate; noise on the logits in training.",
  source: "Riquelme et al. 2021, arXiv 2106.05974, section 2.2; google-research/vmoe, vmoe/nn/routing.py",
  noise: 1,
  losses: { importance_loss: 1, load_loss: 1 },
});
