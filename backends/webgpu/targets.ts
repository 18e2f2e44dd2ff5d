/** The kinds of devices that programs are compiled for by name: limits, features and preferences of each. */
import type { DeviceMatrix } from "../../runtime/device.ts";
import type { Limits } from "../../runtime/module.ts";
import { defaultLimits, fits, type Profile, type SubgroupMatrix, type Tile } from "./profile.ts";

/** Tiles in workgroup memory, by their rows and columns. */
const tile256x128: Tile = { wx: 16, wy: 16, tm: 16, tv: 2, bk: 16 };
const tile128x128: Tile = { wx: 16, wy: 8, tm: 16, tv: 2, bk: 16 };
const tile128x128shallow: Tile = { ...tile128x128, bk: 8 };
const tile64x64: Tile = { wx: 8, wy: 8, tm: 8, tv: 2, bk: 16 };
const tile64x64wide: Tile = { wx: 16, wy: 8, tm: 8, tv: 1, bk: 16 };
const tile64x64deep: Tile = { ...tile64x64wide, bk: 32 };
const tile64x32: Tile = { wx: 8, wy: 8, tm: 8, tv: 1, bk: 16 };
const tile32x128: Tile = { wx: 32, wy: 4, tm: 8, tv: 1, bk: 16 };
const tile32x64: Tile = { wx: 16, wy: 4, tm: 8, tv: 1, bk: 16 };
const tile32x32tall: Tile = { wx: 8, wy: 4, tm: 8, tv: 1, bk: 16 };
const tile32x32: Tile = { wx: 8, wy: 8, tm: 4, tv: 1, bk: 32 };
const tile32x32shallow: Tile = { ...tile32x32, bk: 16 };
const tile16x64deep: Tile = { wx: 16, wy: 4, tm: 4, tv: 1, bk: 64 };
const tile16x32: Tile = { wx: 8, wy: 4, tm: 4, tv: 1, bk: 32 };
const tile8x32: Tile = { wx: 8, wy: 2, tm: 4, tv: 1, bk: 32 };
const tile4x128shared: Tile = { wx: 32, wy: 1, tm: 4, tv: 1, bk: 32, split: 2 };

/** Family `reg`: no workgroup memory, no barrier. */
const reg = (wx: number, wy: number, tm = 4): Tile => ({ wx, wy, tm, tv: 1, bk: 0 });

/** The same for a subgroup of 8 threads, which load rows of the left factor for one another. */
const subgroup = (tm: number): Tile => ({ ...reg(8, 1, tm), broadcast: true });

/** The same for weights in strips of 64 columns, of which each thread has two vectors. */
const strip = (tm: number): Tile => ({ ...subgroup(tm), tv: 2, strips: true });

/** The tiles of CPU drivers without subgroups of so many. */
const withoutSubgroups: readonly Tile[] = [reg(8, 1, 8), reg(8, 1)];

/** For products of few blocks: 16 threads share the inner axis of each. */
const shared: Tile = { ...reg(8, 1), split: 16 };

/** For products of few blocks and a long inner axis, which workgroups share. */
const inParts = (tile: Tile): readonly Tile[] => [2, 4, 8].map((parts) => ({ ...tile, parts }));

/** Tiles for GPUs, from blocks of 64 rows down; the last one fits everything. */
const medium: readonly Tile[] = [
  tile64x64wide,
  tile64x64deep,
  tile64x32,
  tile32x128,
  tile32x64,
  tile32x32,
  tile32x32tall,
  tile16x64deep,
  tile16x32,
  { ...tile32x32, split: 4 },
  { ...tile16x32, split: 4 },
  { ...tile16x32, bk: 64, split: 8 },
  tile4x128shared,
  { ...tile8x32, bk: 64, split: 8 },
  ...[tile64x32, tile32x32, { ...tile16x32, split: 4 }].flatMap(inParts),
  shared,
  reg(8, 8),
];

const KiB = 2 ** 10;
const GiB = 2 ** 30;

/** Discrete and integrated GPUs of today, as browsers expose them. */
const today = (bindingBytes: number, workgroupBytes: number): Limits => ({
  ...defaultLimits,
  maxBufferSize: bindingBytes,
  maxStorageBufferBindingSize: bindingBytes,
  maxStorageBuffersPerShaderStage: 10,
  maxComputeWorkgroupStorageSize: workgroupBytes,
  maxComputeInvocationsPerWorkgroup: 1024,
});

const half = "shader-f16";
const subgroups = "subgroups";

/** The built-in profiles, with all tiles that the kind has; the default limits leave no room for some. */
const kinds: readonly Profile[] = [
  {
    // A workgroup is one vector of lanes there, a barrier a switch of coroutines, and a load a branch for each lane.
    name: "cpu-vulkan",
    limits: defaultLimits,
    features: [subgroups],
    subgroupMinSize: 8,
    tiles: [...[24, 28, 16, 8, 4].map(strip), ...[24, 32, 16, 8, 4].map(subgroup)],
    minWorkgroups: 16,
    lanesPerRow: 1,
    workgroup: 8,
    attention: "three launches",
  },
  {
    name: "gpu-generic",
    limits: defaultLimits,
    features: [],
    tiles: [tile128x128shallow, ...medium],
    minWorkgroups: 128,
    lanesPerRow: 64,
    workgroup: 64,
    attention: "one launch",
  },
  {
    name: "apple",
    limits: today(4 * GiB - 4, 32 * KiB),
    features: [half, subgroups],
    tiles: [tile64x64, ...medium],
    minWorkgroups: 64,
    lanesPerRow: 32,
    workgroup: 64,
    attention: "one launch",
  },
  {
    // Dawn leaves f16 off on Vulkan, and one binding below 2 GiB.
    name: "nvidia",
    limits: today(2 * GiB - 4, 48 * KiB),
    features: [subgroups],
    tiles: [tile256x128, tile128x128, ...medium],
    minWorkgroups: 256,
    lanesPerRow: 32,
    workgroup: 128,
    attention: "one launch",
  },
  {
    name: "amd",
    limits: today(4 * GiB - 4, 32 * KiB),
    features: [half, subgroups],
    tiles: [tile128x128shallow, ...medium],
    minWorkgroups: 128,
    lanesPerRow: 32,
    workgroup: 64,
    attention: "one launch",
  },
  {
    name: "intel",
    limits: today(1 * GiB, 32 * KiB),
    features: [half, subgroups],
    tiles: medium,
    minWorkgroups: 64,
    lanesPerRow: 32,
    workgroup: 64,
    attention: "one launch",
  },
  {
    name: "mobile",
    limits: defaultLimits,
    features: [],
    tiles: [
      tile64x32,
      tile32x32shallow,
      tile16x32,
      { ...tile16x32, split: 4 },
      ...inParts(tile32x32shallow),
      shared,
      reg(8, 8),
    ],
    minWorkgroups: 16,
    lanesPerRow: 64,
    workgroup: 64,
    attention: "one launch",
  },
  {
    // What every device that has WebGPU must offer.
    name: "minimum",
    limits: defaultLimits,
    features: [],
    tiles: [reg(8, 8)],
    minWorkgroups: 128,
    lanesPerRow: 32,
    workgroup: 32,
    attention: "one launch",
  },
];

/** The built-in profiles. What a device itself says of its limits and features goes before what is said here. */
export const profiles: readonly Profile[] = kinds.map((kind) => ({
  ...kind,
  tiles: kind.tiles.filter((tile) => fits(tile, kind)),
}));

/** Subgroup matrices of the kinds of devices that have them, with tiles of them. */
const matrices: Readonly<Record<string, readonly Tile[]>> = {
  nvidia: [2, 1].map((tm) => ({
    wx: 2,
    wy: 2,
    tm,
    tv: 2 * tm,
    bk: 16,
    matrix: { M: 16, N: 16, K: 16, component: "f16", subgroup: 32 },
  })),
  amd: square({ M: 16, N: 16, K: 16, component: "f16", subgroup: 32 }),
  // Metal multiplies what it adds up in.
  apple: [
    { wx: 2, wy: 2, tm: 2, tv: 4, bk: 32, matrix: { M: 8, N: 8, K: 8, component: "f32", subgroup: 32 } },
  ],
  intel: [
    { wx: 2, wy: 4, tm: 2, tv: 2, bk: 32, matrix: { M: 8, N: 16, K: 16, component: "f16", subgroup: 16 } },
  ],
};

/** Tiles of four subgroups, two down and two across. */
function square(matrix: SubgroupMatrix): readonly Tile[] {
  return [4, 2, 1].map((n) => ({ wx: 2, wy: 2, tm: n, tv: n, bk: 32, matrix }));
}

/** The features of WebGPU, and of Chrome alone, that kernels of subgroup matrices use. */
const matrixFeatures: readonly string[] = [
  half,
  subgroups,
  "subgroup-size-control",
  "chromium-experimental-subgroup-matrix",
];

/**
 * `profile` with what browsers keep behind a flag: subgroup matrices, on the kinds of devices that have them, and on
 * `device`, where it is given, if it has them. Factors are then rounded to float16, sums stay in float32.
 */
export function withUnsafe(profile: Profile, device?: Described): Profile {
  const tiles = (matrices[profile.name] ?? []).filter((tile) => fits(tile, profile));
  const isThere = matrixFeatures.every((feature) => device?.features.has(feature) ?? true);
  const own = tiles.filter(({ matrix }) => !device || device.matrices.some((has) => isSame(has, matrix)));
  if (own.length === 0 || !isThere) return profile;
  return {
    ...profile,
    features: [...new Set([...profile.features, ...matrixFeatures])],
    tiles: [...own, ...own.flatMap(inParts), ...profile.tiles],
  };
}

const isSame = (has: DeviceMatrix, wanted: SubgroupMatrix | undefined): boolean =>
  has.componentType === wanted?.component &&
  has.resultComponentType === "f32" &&
  has.M === wanted.M &&
  has.N === wanted.N &&
  has.K === wanted.K;

/** `profile` without what browsers keep behind a flag. */
export function withoutUnsafe(profile: Profile): Profile {
  const experimental = matrixFeatures.at(-1) as string;
  if (!profile.features.includes(experimental)) return profile;
  return {
    ...profile,
    features: profile.features.filter((feature) => feature !== experimental),
    tiles: profile.tiles.filter(({ matrix }) => !matrix),
    tuned: profile.tuned?.filter(({ tile }) => !tile.matrix),
  };
}

const named = (name: string, among = profiles): Profile =>
  among.find((each) => each.name === name) as Profile;

/** A GPU with memory enough for any model: what a model needs, wherever it may run. */
export const anyGpu: Profile = {
  ...named("gpu-generic"),
  limits: {
    ...defaultLimits,
    maxBufferSize: Number.MAX_SAFE_INTEGER,
    maxStorageBufferBindingSize: Number.MAX_SAFE_INTEGER,
  },
};

/** The profiles of vendors, by what adapters call them; any other GPU is generic. */
const ofVendor: Readonly<Record<string, string>> = {
  apple: "apple",
  nvidia: "nvidia",
  amd: "amd",
  intel: "intel",
  arm: "mobile",
  "img-tec": "mobile",
  qualcomm: "mobile",
  samsung: "mobile",
};

/** What a device says of itself. */
interface Described {
  readonly limits: Limits;
  readonly features: ReadonlySet<string>;
  readonly subgroupMinSize: number;
  readonly vendor: string;
  readonly software: boolean;
  readonly matrices: readonly DeviceMatrix[];
}

/** The profile of a device: the preferences of its kind, with its own limits, and those features that it has. */
export function profileOf({ limits, features, subgroupMinSize, vendor, software }: Described): Profile {
  const kind = named(software ? "cpu-vulkan" : (ofVendor[vendor] ?? "gpu-generic"), kinds);
  const own = {
    ...kind,
    limits,
    features: kind.features.filter((feature) => features.has(feature)),
    subgroupMinSize,
  };
  const tiles = kind.tiles.filter((tile) => fits(tile, own));
  return { ...own, tiles: tiles.length > 0 ? tiles : withoutSubgroups };
}
