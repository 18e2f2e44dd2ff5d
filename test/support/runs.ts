/** How many cases a law is tried on. */

const nightly = Boolean(process.env["MOEC_NIGHTLY"]);

/** `usual` cases; at least a thousand in the nightly setting. */
export const runs = (usual: number): number => (nightly ? Math.max(1000, usual) : usual);

/** Fixed, unless given or nightly; printed with every counterexample. */
export const seed: number = Number(process.env["MOEC_SEED"] ?? (nightly ? Date.now() % 2 ** 31 : 20210610));
