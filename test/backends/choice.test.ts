/** The tile of a product: the estimate beside what a GPU took, and what is chosen for many rows, for few, and for experts. */
import fc from "fast-check";
import { expect, test } from "vitest";

import {
  chooseTile,
  cyclesOf,
  type Listing,
  listingOf,
  tileOfListing,
} from "../../backends/webgpu/gemm/choice.ts";
import { compile, type Profile, profileOf, profiles } from "../../backends/webgpu/index.ts";
import { blockOf, fits, type Product, type Tile, tileVectors } from "../../backends/webgpu/profile.ts";
import { createModel, presets } from "../../models/index.ts";
import { productOf } from "../support/product.ts";

const nvidia = profiles.find(({ name }) => name === "nvidia") as Profile;
const gpus = profiles.filter(({ tiles }) => tiles.some(({ bk }) => bk > 0));
const ways = { tiled: true, parts: true };

const tile = (
  wx: number,
  wy: number,
  tm: number,
  tv: number,
  bk: number,
  rest: Partial<Tile> = {},
): Tile => ({
  wx,
  wy,
  tm,
  tv,
  bk,
  ...rest,
});

test.each<readonly [Product, Tile, number]>([
  [productOf(2048, 2048, 2048), tile(16, 16, 16, 2, 16), 421.8],
  [productOf(2048, 2048, 2048), tile(16, 8, 16, 2, 16), 428.2],
  [productOf(2048, 2048, 2048), tile(8, 8, 8, 1, 16), 545.9],
  [productOf(2048, 2048, 2048), tile(8, 8, 4, 1, 32), 699],
  [productOf(2048, 2048, 2048), tile(8, 8, 4, 1, 32, { parts: 8 }), 754.1],
  [productOf(1024, 1024, 1024), tile(16, 16, 16, 2, 16), 218.1],
  [productOf(1024, 1024, 1024), tile(16, 8, 16, 2, 16), 128.7],
  [productOf(1024, 1024, 1024), tile(16, 8, 8, 1, 16), 80.5],
  [productOf(1024, 1024, 1024), tile(8, 8, 8, 1, 16), 68.1],
  [productOf(1024, 1024, 1024), tile(8, 8, 8, 2, 16, { parts: 2 }), 71.4],
  [productOf(1024, 1024, 1024), tile(8, 8, 4, 1, 32), 96.2],
  [productOf(400, 2048, 512), tile(8, 8, 8, 1, 16, { parts: 2 }), 36.9],
  [productOf(400, 512, 512), tile(8, 8, 8, 1, 16, { parts: 4 }), 14.2],
  [productOf(50, 1536, 512), tile(8, 1, 4, 1, 0, { split: 16 }), 10.3],
  [productOf(12, 512, 2048, { experts: 8 }), tile(8, 4, 4, 1, 64, { split: 8 }), 41],
  [productOf(13, 2048, 512, { experts: 8 }), tile(16, 4, 4, 1, 64), 22.9],
  [productOf(100, 2048, 512, { experts: 8 }), tile(16, 8, 8, 1, 16), 71],
  [productOf(52, 2048, 512, { experts: 8 }), tile(16, 8, 8, 1, 32), 40.1],
  [productOf(52, 512, 2048, { experts: 8 }), tile(16, 8, 8, 1, 32, { parts: 4 }), 37],
  [productOf(25, 2048, 512, { experts: 32 }), tile(32, 4, 8, 1, 16), 84.2],
  [productOf(4, 2048, 512, { experts: 32 }), tile(32, 1, 4, 1, 32, { split: 2 }), 61.5],
  [productOf(400, 512, 2048, { experts: 8 }), tile(16, 8, 8, 1, 16, { parts: 4 }), 209.2],
  [productOf(394, 768, 3072, { experts: 8 }), tile(16, 8, 8, 1, 16, { parts: 4 }), 424.7],
  [productOf(795, 2048, 512), tile(8, 8, 8, 1, 16), 64.3],
  [productOf(400, 2048, 512), tile(16, 8, 8, 1, 32), 36.9],
  [productOf(400, 2048, 512), tile(8, 8, 4, 1, 32), 44.8],
  [productOf(400, 1536, 512), tile(8, 8, 4, 1, 32), 32.2],
  [productOf(392, 512, 3072), tile(8, 8, 8, 2, 16, { parts: 8 }), 54.3],
])(
  "of %o by %o the estimate is within a quarter of the microseconds that an H100 took",
  (of, by, measured) => {
    const microseconds = cyclesOf(by, of, nvidia) / 1980;
    expect(microseconds / measured).toBeGreaterThan(0.75);
    expect(microseconds / measured).toBeLessThan(1.25);
  },
);

const cyclesOfListed = (M: number, by: Tile): number =>
  cyclesOf(by, productOf(M, 2048, 512, { experts: 8 }), nvidia);

test("of listed rows those that loops compute count, a tile's last ones by the vector of four that a thread has", () => {
  const [tall, low] = [tile(16, 4, 16, 1, 16), tile(16, 8, 8, 1, 16)];
  expect(cyclesOfListed(96, tall)).toBeLessThan(cyclesOfListed(128, tall));
  expect(cyclesOfListed(113, tall)).toBe(cyclesOfListed(128, tall));
  expect(cyclesOfListed(100, low)).toBe(cyclesOfListed(128, low));
});

test("many rows get large blocks, and few have threads share the inner axis", () => {
  const rows = (M: number, N: number, K: number): number =>
    blockOf(chooseTile(productOf(M, N, K), ways, nvidia)).rows;
  expect(rows(2048, 2048, 2048)).toBeGreaterThanOrEqual(128);
  expect(rows(6304, 3072, 768)).toBeGreaterThanOrEqual(128);
  expect(rows(400, 2048, 512)).toBeLessThanOrEqual(64);
  expect(rows(50, 512, 512)).toBeLessThanOrEqual(16);
  const { split = 1 } = chooseTile(productOf(50, 512, 512), ways, nvidia);
  expect(split).toBeGreaterThan(1);
});

const listing = (M: number, experts: number, usual = [M]): Listing =>
  listingOf({ ...productOf(M, 2048, 512, { experts }), usual }, nvidia);
const height = (...of: Parameters<typeof listing>): number => listing(...of).height;

const cpu = profiles.find(({ name }) => name === "cpu-vulkan") as Profile;

test.each([
  [9, 9],
  [12, 12],
  [24, 24],
  [26, 26],
  [33, 17],
  [50, 25],
  [400, 24],
])("on CPU drivers %i rows go in as few blocks as pay, of %i rows each", (M, tm) => {
  expect(chooseTile(productOf(M, 3072, 768, { strips: true }), ways, cpu).tm).toBe(tm);
});

test.each([
  ["as many as there may be", 13, 12, 13],
  ["far fewer than there may be", 100, 3, 8],
  ["twice as many as the tile that suits", 100, 30, 15],
  ["as many as a loop for fewer rows has", 200, 8, 16],
])("on CPU drivers the height of a list suits experts' rows, %s", (_, M, usual, most) => {
  const of = { ...productOf(M, 3072, 768, { experts: 32, strips: true }), usual: [usual] };
  expect(listingOf(of, cpu)).toEqual({ height: most, parts: 1, usual: [usual] });
});

test("rows of experts are listed in tiles that suit both layers", () => {
  expect(height(16, 8)).toBeLessThanOrEqual(16);
  expect(height(4, 32)).toBeLessThanOrEqual(8);
  expect(height(28, 32)).toBe(32);
  // A tile as high as all rows would leave most cores without one in the second layer.
  expect(height(108, 8)).toBeLessThanOrEqual(64);
  // Threads of 16 rows are no faster where rows are listed.
  expect(height(420, 8, [400])).toBe(64);
  // What an expert has at most is no matter where most have few.
  expect(height(400, 300, [2])).toBeLessThanOrEqual(8);
});

test("experts' second layer goes in parts where it has few blocks, and not where it has many", () => {
  expect(listing(12, 8).parts).toBeGreaterThan(1);
  expect(listing(108, 8).parts).toBeGreaterThan(1);
  expect(listing(6000, 8).parts).toBe(1);
});

test("where fewer rows may come, tiles are chosen for half as many, too", () => {
  const of = productOf(108, 2048, 512, { experts: 8 });
  const firstOf = (usual: readonly number[]): Tile =>
    tileOfListing(of, { ...listing(108, 8, [...usual]), parts: 1 }, true, nvidia);
  expect(firstOf([100])).toEqual(tile(16, 8, 8, 1, 16));
  // 64 rows are two steps of 16 of the others, or one of 32: with one tile an expert nothing else hides the wait.
  expect(firstOf([100, 50])).toEqual(tile(16, 8, 8, 1, 32));
});

test("experts that k and the capacity may be lowered for are multiplied by such tiles", () => {
  const config = presets.get("vmoe-s32-last2-e8") ?? {};
  const firstLayers = (live: boolean): Set<number> => {
    const { launches, kernels } = compile(createModel(config, { batch: 8, live }).graph, nvidia);
    const those = launches.filter(({ label }) => label === "experts, first layer");
    return new Set(
      those.map(({ kernel }) => Number(/held: array<vec4f, (\d+)>/.exec(kernels[kernel]?.wgsl ?? "")?.[1])),
    );
  };
  expect(firstLayers(false)).toEqual(new Set([tileVectors(tile(16, 8, 8, 1, 16))]));
  expect(firstLayers(true)).toEqual(new Set([tileVectors(tile(16, 8, 8, 1, 32))]));
});

test("a built-in profile has the tiles that its limits allow, a device of the kind those that its own do", () => {
  const deep = tile(16, 8, 8, 1, 32);
  const generic = profiles.find(({ name }) => name === "gpu-generic") as Profile;
  const roomy = { ...generic.limits, maxComputeWorkgroupStorageSize: 32 * 1024 };
  const device = {
    features: new Set<string>(),
    subgroupMinSize: 4,
    vendor: "",
    software: false,
    matrices: [],
  };
  expect(generic.tiles).not.toContainEqual(deep);
  expect(profileOf({ ...device, limits: generic.limits }).tiles).not.toContainEqual(deep);
  expect(profileOf({ ...device, limits: roomy }).tiles).toContainEqual(deep);
});

test("a tile that was measured for experts is that of both layers, in parts only the second's", () => {
  const [first, second] = [
    productOf(108, 2048, 512, { experts: 8 }),
    productOf(108, 512, 2048, { experts: 8 }),
  ];
  const measured = tile(8, 8, 4, 1, 16, { parts: 8 });
  const tuned: Profile = {
    ...nvidia,
    tuned: [first, second].map((each) => ({ ...each, tile: measured })),
  };
  const listed = listingOf({ ...first, usual: [108] }, tuned);
  expect(listed).toEqual({ height: 32, parts: 8, usual: [108] });
  expect(tileOfListing(first, { ...listed, parts: 1 }, true, tuned)).toEqual(tile(8, 8, 4, 1, 16));
  expect(tileOfListing(second, listed, true, tuned)).toEqual(measured);
});

test("parts that were measured for rows listed otherwise are none", () => {
  const [first, second] = [
    productOf(108, 2048, 512, { experts: 8 }),
    productOf(108, 512, 2048, { experts: 8 }),
  ];
  const others: Profile = {
    ...nvidia,
    tuned: [
      { ...first, tile: tile(8, 8, 8, 1, 16) },
      { ...second, tile: tile(8, 8, 4, 1, 32, { parts: 8 }) },
    ],
  };
  expect(listingOf({ ...first, usual: [108] }, others)).toEqual({ height: 64, parts: 1, usual: [108] });
});

const size = fc.oneof(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 5000 }));
const sizes = fc.record({ M: size, N: size, K: size });

test("whatever is chosen fits the device and serves the product", () => {
  fc.assert(
    fc.property(fc.constantFrom(...gpus), sizes, fc.boolean(), (profile, { M, N, K }, tiled) => {
      const chosen = chooseTile(productOf(M, N, K), { tiled, parts: true }, profile);
      expect(fits(chosen, profile)).toBe(true);
      expect(tiled || chosen.bk === 0).toBe(true);
    }),
  );
});

test("whatever is chosen for experts fits the device, and has the height and the parts of the list, in both layers", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...gpus),
      sizes,
      fc.constantFrom(4, 1),
      fc.constantFrom(8, 300),
      (profile, { M, ...drawn }, vector, experts) => {
        const [N, K] = [vector * drawn.N, vector * drawn.K];
        const tiled = N % 4 === 0 && K % 4 === 0;
        const [first, second] = [productOf(M, N, K, { experts }), productOf(M, K, N, { experts })];
        const listed = listingOf({ ...first, usual: [M, Math.ceil(M / 2)] }, profile);
        for (const [of, parts] of [
          [first, 1],
          [second, listed.parts],
        ] as const) {
          const chosen = tileOfListing(of, { ...listed, parts }, tiled, profile);
          expect(fits(chosen, profile)).toBe(true);
          expect(tiled || chosen.bk === 0).toBe(true);
          expect(chosen.parts ?? 1).toBe(parts);
          expect(blockOf(chosen).rows).toBe(listed.height);
        }
      },
    ),
  );
});
