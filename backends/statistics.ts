/** What is said of many measurements in one number. */

/** The middle of some numbers: of an even count the upper of the two; 0 of none. */
export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
