/** What the compiler needs to know of a device: limits, features and preferences, never who made it. */
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
  /** Threads that share a block's inner axis, each a part, where there are few blocks; only without workgroup memory for steps. */
  readonly split?: number | undefined;
  /**
   * Whether the workgroup is one subgroup whose threads load rows of the left factor for one another, which pays where
   * loads cost more than sums; only with one thread down, and without workgroup memory for steps.
   */
  readonly broadcast?: boolean | undefined;
  /** Workgroups that share a block's inner axis, and a second launch that adds up; only with steps in workgroup memory. */
  readonly parts?: number | undefined;
}

/** What a matrix product is to the choice of its tile. */
export interface Product {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  /** How many of them a launch computes. */
  readonly batch: number;
  /** Whether the right factor is stored as [N, K]. */
  readonly transposed: boolean;
  /** Experts whose rows, at most M of each, an earlier launch lists; 0 where rows are not listed. */
  readonly experts: number;
}

/** A product with the tile that a device was fastest with. */
export interface TunedProduct extends Product {
  readonly tile: Tile;
}

export interface Profile {
  readonly name: string;
  readonly limits: Limits;
  /** WebGPU's optional features that kernels may use, by WebGPU's names. */
  readonly features: readonly string[];
  /** Threads of the smallest subgroup that there may be; left out where it is not known. */
  readonly subgroupMinSize?: number | undefined;
  /** Tiles for matrix products, largest first; the last one fits everything. */
  readonly tiles: readonly Tile[];
  /** A tile is chosen when its grid has at least this many workgroups. */
  readonly minWorkgroups: number;
  /** Products whose tiles were measured, which goes before the rule above; none by default. */
  readonly tuned?: readonly TunedProduct[] | undefined;
  /** Threads that share a row of a reduction. */
  readonly lanesPerRow: number;
  /** Threads of a workgroup in kernels without cooperation. */
  readonly workgroup: number;
  /** How attention is computed: scores kept between three launches, or none kept in one. */
  readonly attention: "three launches" | "one launch";
  /** Whether applications share launches where they can; results are the same without. */
  readonly fuses?: boolean;
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

/** Whether a device can run a tile. */
export const fits = (
  { wx, wy, tm, tv, bk, split = 1, broadcast }: Tile,
  { limits, features, subgroupMinSize = 0 }: Pick<Profile, "limits" | "features" | "subgroupMinSize">,
): boolean =>
  (!broadcast || (features.includes("subgroups") && wx * wy <= subgroupMinSize)) &&
  wx * wy * split <= limits.maxComputeInvocationsPerWorkgroup &&
  16 * (split > 1 ? wx * wy * split * tm : (wy * tm * bk) / 4 + bk * wx * tv) <=
    limits.maxComputeWorkgroupStorageSize;

/** Whether two products are one to the choice of a tile. */
export const sameProduct = (a: Product, b: Product): boolean =>
  a.M === b.M &&
  a.N === b.N &&
  a.K === b.K &&
  a.batch === b.batch &&
  a.transposed === b.transposed &&
  a.experts === b.experts;
