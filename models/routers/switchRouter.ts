/** The Switch Transformer's router: one expert a token, weighted by its gate. */
import { z } from "zod";

import { defineRouter, type Router } from "./router.ts";

export const switchRouter: Router = defineRouter({
  name: "SwitchRouter",
  summary: "Each token chooses the one expert of largest gate, which weighs its output.",
  source: "Fedus et al. 2021, arXiv 2101.03961, section 2.1 and eq. 4 to 6",
  options: { num_selected_experts: z.literal(1).default(1) },
  losses: { gshard_loss: 0.01 },
  sample: () => ({ num_selected_experts: 1 }),
});
