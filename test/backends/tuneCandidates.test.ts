/** The tiles that tuning measures: all fit, the likely ones of each kind of device and product are there, and they are few. */
import { expect, test } from "vitest";

import { type Profile, profiles, type Tile } from "../../backends/webgpu/index.ts";
import { blockOf, fits, stripWidth } from "../../backends/webgpu/profile.ts";
import { candidates } from "../../backends/webgpu/tune/candidates.ts";
import { productOf } from "../support/product.ts";

const [software] = profiles as [Profile];

/** Whether each thread computes its sums alone, from global memory. */
const isAlone = ({ bk, split = 1 }: Tile): boolean => bk === 0 && split === 1;

test.each(profiles.map((profile) => [profile.name, profile] as const))(
  "all candidates of profile %s fit it, and none is there twice",
  (_, profile) => {
    const own = productOf(50, 512, 2048);
    const found = candidates(own, profile);
    expect(found.length).toBeGreaterThan(10);
    expect(found.filter((tile) => !fits(tile, profile))).toEqual([]);
    expect(new Set(found.map((tile) => JSON.stringify(tile))).size).toBe(found.length);
  },
);

test.each(
  profiles
    .filter(({ tiles }) => tiles.some(({ bk }) => bk > 0))
    .map((profile) => [profile.name, profile] as const),
)(
  "candidates of profile %s are few, and use workgroup memory, or share sums, where they can",
  (_, profile) => {
    for (const M of [20, 50, 400, 1576]) {
      for (const experts of [0, 8]) {
        const own = productOf(M, 512, 2048, { experts });
        const found = candidates(own, profile);
        expect(found.length).toBeGreaterThan(5);
        // The profile's own come first, whatever they are.
        expect(found.filter((tile) => !profile.tiles.includes(tile)).length).toBeLessThanOrEqual(12);
        expect(found.filter(isAlone)).toEqual([]);
        // Experts' second layer goes along the first one's columns.
        const inner = experts > 0 ? own.N : own.K;
        expect(found.filter(({ parts = 1 }) => parts > 1 && 128 * parts > inner)).toEqual([]);
        expect(candidates({ ...own, K: 2047 }, profile).some(isAlone)).toBe(true);
      }
    }
  },
);

test("all candidates for weights in strips are as wide as the profile's, however narrow the product", () => {
  const own = productOf(50, 8, 512, { strips: true });
  const wide = {
    ...software,
    tiles: software.tiles.map((tile) => (tile.strips ? { ...tile, tv: 4 } : tile)),
  };
  for (const profile of [software, wide]) {
    const found = candidates(own, profile);
    expect(found.length).toBeGreaterThan(4);
    expect(new Set(found.map((tile) => blockOf(tile).columns))).toEqual(
      new Set([stripWidth(profile)?.columns]),
    );
  }
});
