/** The passes' public surface. */
export { canonicalize } from "./canonicalize.ts";
export { fuseExperts } from "./fuseExperts.ts";
export { computeHalf } from "./halve.ts";
export { joinProjections } from "./joinProjections.ts";
export { legalize } from "./legalize.ts";
export { merge } from "./merge.ts";
export { type IntegerType, type Narrowed, narrowWeights, type WeightPrecision } from "./narrowWeights.ts";
export { type Pass, type PassOptions, type Rewrite, runPasses, type Supports, type Trace } from "./pass.ts";
export { pipeline, type Target } from "./pipeline.ts";
export { prune } from "./prune.ts";
export { type Rule, rule, rewrite, rewritePass, type RuleSpec } from "./rewrite.ts";
