/** The compiler's table of contents: the passes that lower a program to a backend, in order. */
import { canonicalize } from "./canonicalize.ts";
import { fuseExperts } from "./fuseExperts.ts";
import { fuseLogits } from "./fuseLogits.ts";
import { fuseRouting } from "./fuseRouting.ts";
import { joinProjections } from "./joinProjections.ts";
import { legalize } from "./legalize.ts";
import { merge } from "./merge.ts";
import type { Pass, Supports } from "./pass.ts";
import { prune } from "./prune.ts";
import { rewritePass } from "./rewrite.ts";

/** What the passes ask of a target. */
export interface Target {
  readonly supports: Supports;
}

/** The pipeline to `target` for a caller who wants the given outputs. */
export function pipeline({ supports }: Target, outputs: readonly string[]): Pass[] {
  const tidy = rewritePass("canonicalize", "What means the same is written the same, and shortest.", [
    // Chains of movement ops.
    ...canonicalize,
  ]);
  return [
    // Nothing is optimised that nobody asked for.
    prune(outputs),
    // Patterns are written for canonical programs.
    tidy,
    // Equal gates, norms and casts are computed once.
    merge,
    // Before legalize: the target may know a whole MoE layer, or none of its parts.
    rewritePass("fuse-experts", "An MoE layer is one op where the target has it.", fuseExperts, supports),
    rewritePass(
      "fuse-routing",
      "Routing is part of the ops around it where the target has them.",
      fuseRouting,
      supports,
    ),
    // After what knows the whole of V-MoE's routing: other routers begin with the same product.
    rewritePass(
      "fuse-logits",
      "The norm before an MoE layer and its router's product are one op, where the target has it.",
      fuseLogits,
      supports,
    ),
    // Before legalize, too: three products of one matrix are fewer launches as one.
    rewritePass(
      "join-projections",
      "Queries, keys and values of the same tokens are one product, where the target takes them so.",
      joinProjections,
      supports,
    ),
    legalize(supports),
    // Decompositions leave reshapes of reshapes and equal subexpressions behind.
    tidy,
    merge,
  ];
}
