/** How many cases a law is tried on, and which. */

const nightly = Boolean(process.env["MOEC_NIGHTLY"]);

/** `usual` cases; at least a thousand in the nightly setting. */
export const runs = (usual: number): number => (nightly ? Math.max(1000, usual) : usual);

/** Two of `all`, from `place` on; all of them in the nightly setting. */
export const someOf = <T>(all: readonly T[], place: number): readonly T[] =>
  Array.from({ length: Math.min(all.length, runs(2)) }, (_, i) => all[(place + i) % all.length] as T);

/** Fixed, unless given or nightly; printed with every counterexample. */
export const seed: number = Number(process.env["MOEC_SEED"] ?? (nightly ? Date.now() % 2 ** 31 : 20210610));
