/** The baseline of all routers: experts drawn once for each position, whatever stands there. */
import { ops } from "../../ir/index.ts";
import { filled } from "../shorthand.ts";
import { defineRouter, type Router } from "./router.ts";

export const random: Router = defineRouter({
  name: "RandomRouter",
  summary:
    "Each position of a group has k random experts, drawn by seed; noise on their scores draws others at every run. Weights are 1 / k; nothing is learned.",
  options: { seed: 0 },
  logits: ({ table, G, T, experts: E }, { seed }) =>
    ops.broadcast(table("scores", [T, E], { kind: "uniform", limit: 1, seed }), { shape: [G, T, E] }),
  compares: "logits",
  gates: (logits) => filled(1, logits),
  weights: "renormalised gates",
  metrics: () => ({}),
  contract: { compares: "a fixed table of random numbers", weights: "1 / k" },
  sample: (_, pick) => ({ seed: pick(100) }),
});
