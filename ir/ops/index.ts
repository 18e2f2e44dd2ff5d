/** The op set: one line a file. Docs, laws, conformance and the parser are derived from it. */
export * from "./activation.ts";
export * from "./attention.ts";
export * from "./contraction.ts";
export * from "./elementwise.ts";
export * from "./image.ts";
export * from "./movement.ts";
export * from "./normalization.ts";
export * from "./reduction.ts";
export * from "./routing/assignSlots.ts";
export * from "./routing/balanceLoss.ts";
export * from "./routing/combine.ts";
export * from "./routing/dispatch.ts";
export * from "./routing/expertMlp.ts";
export * from "./routing/routeTopExperts.ts";
export * from "./routing/routeTopTokens.ts";
export * from "./routing/routedMlp.ts";
export * from "./routing/take.ts";
