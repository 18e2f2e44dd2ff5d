/** Another router in a configuration. */
import { CompileError } from "../ir/index.ts";
import { type Json, parseConfig } from "./config.ts";
import { routerOf } from "./routers/index.ts";
import type { Router } from "./routers/router.ts";

/**
 * `config` with another router: its own defaults, and the choices and capacities of the one before as far as it has
 * them. Throws U1 for a model without sparse blocks, M2 for a router that is not there.
 */
export function routedBy(config: Json, name: string, routers: readonly Router[]): Json {
  const { encoder } = parseConfig(config);
  if (!encoder.moe) throw new CompileError("U1", "--router", "needs a model with sparse blocks");
  const router = routerOf(name, routers);
  const { num_selected_experts, dispatcher } = encoder.moe.router as Json;
  const { batch_priority: _, ...unordered } = (dispatcher ?? {}) as Json;
  const candidates: Json[] = [
    { name, num_selected_experts, dispatcher },
    { name, dispatcher },
    { name, dispatcher: unordered },
    { name },
  ];
  const fitting = candidates.find((candidate) => {
    try {
      router.bind(candidate, encoder.moe?.num_experts ?? 1);
      return true;
    } catch (error) {
      if (error instanceof CompileError) return false;
      throw error;
    }
  });
  const given = config["encoder"] as Json;
  const moe = given["moe"] as Json;
  return { ...config, encoder: { ...given, moe: { ...moe, router: fitting ?? { name } } } };
}
