/** Hash layers: a token's place alone says which expert it goes to. */
import { ops } from "../../ir/index.ts";
import { filled } from "../shorthand.ts";
import { defineRouter, type Router } from "./router.ts";

export const hashRouting: Router = defineRouter({
  name: "HashRouter",
  summary:
    "Each position of a group has a fixed expert, and the k - 1 next to it; every expert has as many positions, to within one, drawn by seed. Weights are 1 / k; nothing is learned.",
  source: "Roller et al. 2021, arXiv 2106.04426, by position in place of the vocabulary",
  options: { seed: 0 },
  logits: ({ table, G, T, experts: E }, { seed }) =>
    ops.broadcast(table("assignment", [T, E], { kind: "balanced", seed }), { shape: [G, T, E] }),
  compares: "logits",
  gates: (logits) => filled(1, logits),
  weights: "renormalised gates",
  metrics: () => ({}),
  contract: { compares: "a fixed table of positions and experts", weights: "1 / k" },
  sample: (_, pick) => ({ seed: pick(100) }),
});
