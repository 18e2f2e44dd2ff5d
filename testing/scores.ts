/** Scores of the kinds on which routing can go wrong. */
import { type Shape, sizeOf } from "../ir/index.ts";

/** A random integer of 0 .. n-1, from a stream that shrinks with its case. */
export type Pick = (n: number) => number;

/**
 * `separated`: all of them apart; `tied`: rows of few kinds, most entries of a row equal; `adversarial`: all rows
 * alike, so that every token wants the same experts, the first above all, and the others stay empty.
 */
export type ScoreKind = "separated" | "tied" | "adversarial";

export const scoreKinds: readonly ScoreKind[] = ["separated", "tied", "adversarial"];

/** Sums of few multiples of these are exact in f32, in any order. */
const step = 1 / 8;

/**
 * Scores of `kind`, the last axis of `shape` being a row's. Rows are equal or far apart, and all lie within a few
 * units: otherwise rounding, which is a backend's own, would decide what is equal after a softmax.
 */
export function drawScores(kind: ScoreKind, shape: Shape, pick: Pick): number[] {
  const size = sizeOf(shape);
  const width = shape.at(-1) ?? 1;
  if (kind === "separated") {
    const span = 2 ** Math.ceil(Math.log2(size));
    return shuffled(size, pick).map((place) => (4 * place) / span - 2);
  }
  const row = (scale: number): number[] => Array.from({ length: width }, () => scale * (pick(3) - 1));
  const rows = kind === "tied" ? [1, 14 * step, 23 * step].map(row) : [[4, ...row(1).slice(1)]];
  return Array.from({ length: size / width }, () => rows[pick(rows.length)] ?? []).flat();
}

/** The numbers below `size` in random order. */
export function shuffled(size: number, pick: Pick): number[] {
  const rest = [...Array(size).keys()];
  return Array.from({ length: size }, () => rest.splice(pick(rest.length), 1)[0] ?? 0);
}
