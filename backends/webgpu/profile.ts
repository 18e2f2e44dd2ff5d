/** What the compiler needs to know of a device: limits and preferences, never who made it. */

import type { Limits } from "../../runtime/module.ts";

/** A way to tile matrix products. */
export interface Tile {
  /** Threads across columns and rows. */
  readonly wx: number;
  readonly wy: number;
  /** Rows, and vectors of 4 columns, of one thread. */
  readonly tm: number;
  readonly tv: number;
  /** Inner steps held in workgroup memory at once; 0 reads from global memory alone (family `reg`). */
  readonly bk: number;
}

export interface Profile {
  readonly name: string;
  readonly limits: Limits;
  /** Tiles for matrix products, largest first; the last one fits everything. */
  readonly tiles: readonly Tile[];
  /** A tile is chosen when its grid has at least this many workgroups. */
  readonly minWorkgroups: number;
  /** Threads that share a row of a reduction. */
  readonly lanesPerRow: number;
  /** Threads of a workgroup in kernels without cooperation. */
  readonly workgroup: number;
  /** Whether applications share launches where they can; results are the same without. */
  readonly fuses: boolean;
}

/** WebGPU's guaranteed limits. */
export const defaultLimits: Limits = {
  maxBufferSize: 268_435_456,
  maxStorageBufferBindingSize: 134_217_728,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16_384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupsPerDimension: 65_535,
};

/** Family `reg`: no workgroup memory, no barrier. */
const reg = (wx: number, wy: number): Tile => ({ wx, wy, tm: 4, tv: 1, bk: 0 });

/** Software drivers: barriers are slow there, and a workgroup is one vector of lanes. */
const software: Omit<Profile, "limits"> = {
  name: "cpu-vulkan",
  tiles: [reg(8, 1)],
  minWorkgroups: 4,
  lanesPerRow: 1,
  workgroup: 8,
  fuses: true,
};

/** Any GPU. */
const generic: Omit<Profile, "limits"> = {
  name: "gpu-generic",
  tiles: [
    { wx: 16, wy: 16, tm: 8, tv: 2, bk: 16 },
    { wx: 8, wy: 8, tm: 8, tv: 2, bk: 16 },
    { wx: 8, wy: 8, tm: 4, tv: 1, bk: 32 },
    reg(8, 8),
  ],
  minWorkgroups: 128,
  lanesPerRow: 64,
  workgroup: 64,
  fuses: true,
};

/** The profiles that need no device: what emitted kernels are validated against. */
export const profiles: readonly Profile[] = [
  { ...software, limits: defaultLimits },
  { ...generic, limits: defaultLimits },
  { ...generic, name: "minimum", limits: defaultLimits, tiles: [reg(8, 8)], workgroup: 32, lanesPerRow: 32 },
];

const unlimited: Limits = {
  ...defaultLimits,
  maxBufferSize: Number.MAX_SAFE_INTEGER,
  maxStorageBufferBindingSize: Number.MAX_SAFE_INTEGER,
};

/** A GPU with memory enough for any model: what a model needs, wherever it may run. */
export const anyGpu: Profile = { ...generic, limits: unlimited };

/** The profile of a device: the CPU's preferences for a software adapter, else any GPU's, with its own limits. */
export function profileOf(adapter: { readonly limits: Limits; readonly software: boolean }): Profile {
  const { limits } = adapter;
  const fits = ({ wx, wy, tm, tv, bk }: Tile): boolean =>
    wx * wy <= limits.maxComputeInvocationsPerWorkgroup &&
    16 * ((wy * tm * bk) / 4 + bk * wx * tv) <= limits.maxComputeWorkgroupStorageSize;
  const base = adapter.software ? software : generic;
  return { ...base, limits, tiles: base.tiles.filter(fits) };
}
