/** Spans: launches next to each other that are alike, each in one span and no other launch in any. */
import fc from "fast-check";
import { expect, test } from "vitest";

import type { LaunchTime } from "../../backends/backend.ts";
import { isOfExperts, spansOf } from "../../backends/spans.ts";

const launch = (isExpert: boolean): LaunchTime => ({
  label: isExpert ? "experts, first layer" : "linear",
  scope: "",
  ms: 1,
  flops: 0,
  bytes: 0,
});

test("the experts of two layers, one of them the last", () => {
  const launches = [false, true, true, false, false, true].map(launch);
  expect(spansOf(launches, isOfExperts)).toEqual([
    [1, 3],
    [5, 6],
  ]);
});

test("spans hold the launches asked for and no others, and do not touch", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean()), (which) => {
      const spans = spansOf(which.map(launch), isOfExperts);
      const held = which.map((_, i) => spans.filter(([first, end]) => first <= i && i < end).length);
      expect(held).toEqual(which.map(Number));
      for (const [n, [first]] of spans.entries()) expect(first).toBeGreaterThan(spans[n - 1]?.[1] ?? -1);
    }),
  );
});
