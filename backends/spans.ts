/** Which of a run's launches stand next to each other, to be timed without a break. */
import type { LaunchTime, Span } from "./backend.ts";

/** Whether a launch multiplies by experts' matrices. */
export const isOfExperts = ({ label }: LaunchTime): boolean => label.startsWith("experts");

/** The launches that `are`, those next to each other together. */
export function spansOf(launches: readonly LaunchTime[], are: (launch: LaunchTime) => boolean): Span[] {
  const places = [...launches.keys()].filter((i) => are(launches[i] as LaunchTime));
  const firsts = places.filter((i) => !places.includes(i - 1));
  const lasts = places.filter((i) => !places.includes(i + 1));
  return firsts.map((first, n) => [first, (lasts[n] ?? first) + 1]);
}
