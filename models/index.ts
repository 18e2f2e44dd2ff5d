/** The models' public surface: configurations to programs, presets, initial values and costs. */
export { type AnyBatch, anyBatch } from "./anyBatch.ts";
export { configOf } from "./configOf.ts";
export { createModel, imageSizeOf, modelClasses } from "./classes.ts";
export {
  type CapacityChoice,
  capacityOf,
  capacityPolicies,
  type CapacityPolicy,
  type Demand,
} from "./capacity.ts";
export {
  type EncoderConfig,
  type Json,
  mergeConfig,
  type ModelConfig,
  type MoeConfig,
  parseConfig,
  parseOverride,
} from "./config.ts";
export { type TokenGrid, tokensOf } from "./grid.ts";
export { type Init, type Parameter, probing, randomWeights } from "./init.ts";
export { type Model, type ModelClass, type ModelOptions, parameterCount, type SparseBlock } from "./model.ts";
export { knobsOf, knobsPrefix } from "./knobs.ts";
export { parseBlocks } from "./placement.ts";
export { presets } from "./presets.ts";
export { type BlockRoutes, byMember, joinedRoutes, routeOutputs, routesOf } from "./routes.ts";
export {
  type Demand as CapacityDemand,
  demandOf,
  type Priority,
  type Seating,
  shareAt,
} from "./planning/demand.ts";
export {
  type Capacities,
  capacitiesOf,
  type LayerPlan,
  parsePlan,
  planCapacities,
  type PlanGoal,
} from "./planning/plan.ts";
export {
  checkTraceable,
  dropless,
  joinTraces,
  type LayerTrace,
  readTrace,
  type RoutingTrace,
  traceOf,
  traceTensors,
} from "./planning/trace.ts";
export { normalDraws } from "./random.ts";
export { routedBy } from "./routed.ts";
export { routerOf, routers, routersWith } from "./routers/index.ts";
export type { Knobs } from "./routers/options.ts";
export type { PlanParts, RoutingContext, RoutingContract, RoutingPlan } from "./routers/plan.ts";
export {
  type BoundRouter,
  defineRouter,
  type Grouped,
  type OptionShape,
  type Router,
  type RouterSpec,
  type SampleDemand,
} from "./routers/router.ts";
export { keptBlocks } from "./surgery/blocks.ts";
export { atResolution } from "./surgery/resolution.ts";
export { withExperts } from "./surgery/experts.ts";
export { fitted, type SurgeryOptions, type Trained } from "./surgery/trained.ts";
export { upcycled, type UpcycleOptions } from "./surgery/upcycle.ts";
