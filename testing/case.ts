/** What a router is tried on, and what is made of one case to compare with it. */
import { type Json, mergeConfig } from "../models/index.ts";

/** Sizes of what is routed. */
export interface CaseSizes {
  readonly G: number;
  readonly T: number;
  readonly D: number;
  readonly E: number;
  /** Members of an ensemble, 1 without: they share the tokens and the experts evenly. */
  readonly members: number;
}

/** Tokens to route, and how. */
export interface Case extends CaseSizes {
  /** What the configuration gives the router. */
  readonly options: Json;
  /** The tokens, f32[G, T, D]. */
  readonly x: readonly number[];
  readonly noisy: boolean;
  /** Of parameters and noise. */
  readonly seed: number;
  /** Which group of the case that it was made of is its first. */
  readonly firstGroup: number;
  /** An order of the T tokens of a group. */
  readonly order: readonly number[];
}

/** Slots of an expert, as the case's configuration says. */
export const capacityOf = ({ options }: Case): number =>
  (options["dispatcher"] as { readonly capacity: number }).capacity;

/** The case with other options of its dispatcher. */
export const dispatched = (c: Case, dispatcher: Json): Case => ({
  ...c,
  options: mergeConfig(c.options, { dispatcher }),
});

/** The case of group `g` alone. */
export function groupOf(c: Case, g: number): Case {
  const size = c.T * c.D;
  return { ...c, G: 1, firstGroup: c.firstGroup + g, x: c.x.slice(g * size, (g + 1) * size) };
}

/** The case, without noise, with the tokens of each group in another order: at place i what was at `order[i]`. */
export const reordered = (c: Case, order: readonly number[]): Case => ({
  ...c,
  noisy: false,
  x: rowsReordered(c.x, order, c.D),
});

/** `values` [G, T, width] with the T rows of each group in another order. */
export const rowsReordered = (
  values: readonly number[],
  order: readonly number[],
  width: number,
): number[] => {
  const T = order.length;
  return values.map((_, i) => {
    const row = Math.floor(i / width);
    const from = row - (row % T) + (order[row % T] ?? 0);
    return values[from * width + (i % width)] ?? 0;
  });
};
