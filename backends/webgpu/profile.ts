/** What the compiler needs to know of a device: limits, features and preferences, never who made it. */
import type { Limits } from "../../runtime/module.ts";
import type { StripWidth } from "./strips.ts";

/** Matrices that the threads of a subgroup multiply together: [M, K] x [K, N] of `component`, added up in f32. */
export interface SubgroupMatrix {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly component: "f16" | "f32";
  /** Threads of a subgroup. */
  readonly subgroup: number;
}

/** A way to tile matrix products. */
export interface Tile {
  /** Threads across columns and rows; subgroups, where these multiply matrices. */
  readonly wx: number;
  readonly wy: number;
  /** Rows, and vectors of 4 columns, of one thread; matrices of one subgroup. Where steps are held, rows are a multiple of 4. */
  readonly tm: number;
  readonly tv: number;
  /** Inner steps held in workgroup memory at once; 0 reads from global memory alone (family `reg`). */
  readonly bk: number;
  /** Threads that share a block's inner axis, each a part, where there are few blocks; a power of two where steps are held. */
  readonly split?: number | undefined;
  /**
   * Whether the workgroup is one subgroup whose threads load rows of the left factor for one another, which pays where
   * loads cost more than sums; only with one thread down, and without workgroup memory for steps.
   */
  readonly broadcast?: boolean | undefined;
  /** Workgroups that share a block's inner axis, for a later launch to add up; only with steps in workgroup memory. */
  readonly parts?: number | undefined;
  /** What subgroups multiply, where the device has an instruction for it (family `sgmat`). */
  readonly matrix?: SubgroupMatrix | undefined;
  /** Whether it is for right factors that are weights in strips, as wide as the block; only with `broadcast`. */
  readonly strips?: boolean | undefined;
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
  /** Whether the right factor is a weight in strips. */
  readonly strips: boolean;
  /** Bits in which an element of the right factor is stored. */
  readonly bits: 32 | 16 | 8 | 4;
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
  /** Tiles for matrix products, largest first, which counts where none is estimated; the last one fits everything. */
  readonly tiles: readonly Tile[];
  /** Workgroups of a grid that keep the device busy: on GPUs two for each of its cores. */
  readonly minWorkgroups: number;
  /** Products whose tiles were measured, which goes before any rule; none by default. */
  readonly tuned?: readonly TunedProduct[] | undefined;
  /** Threads that share a row of a reduction; 1 where a thread does best alone. */
  readonly lanesPerRow: number;
  /** Threads of a workgroup in kernels without cooperation. */
  readonly workgroup: number;
  /** How attention is computed: scores kept between three launches, or none kept in one. */
  readonly attention: "three launches" | "one launch";
  /** Whether applications share launches, and results replace operands, where they can; results are the same without. */
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
  maxTextureDimension2D: 8192,
};

/** Whether `n`, a number of threads or of what they share, is a power of two. */
export const isPowerOfTwo = (n: number): boolean => Number.isInteger(Math.log2(n));

/** Rows and columns of a tile. */
export const blockOf = ({
  wx,
  wy,
  tm,
  tv,
  matrix,
}: Tile): { readonly rows: number; readonly columns: number } => ({
  rows: wy * tm * (matrix?.M ?? 1),
  columns: wx * tv * (matrix?.N ?? 4),
});

/** Threads of a workgroup. */
export const threadsOf = ({ wx, wy, split = 1, matrix }: Tile): number =>
  wx * wy * split * (matrix?.subgroup ?? 1);

/**
 * Rows of a block that loops compute, most first, where rows are listed, so that tiles that are not full compute less in vain:
 * of tiles in workgroup memory one for each vector of four rows that a thread has; where a subgroup loads rows, one for each
 * number of turns, of few rows two or four times as many, down to half of the most.
 */
export function rowLoops(tile: Tile): readonly number[] {
  const { wx, wy, tm, bk, matrix, broadcast } = tile;
  if (bk > 0 && !matrix) return Array.from({ length: tm / 4 }, (_, i) => wy * (tm - 4 * i));
  if (!broadcast) return [blockOf(tile).rows];
  const step = tm > 2 * wx ? wx : tm > wx ? wx / 2 : wx / 4;
  const steps = Math.ceil(tm / step);
  return [tm, ...Array.from({ length: Math.floor(steps / 2) }, (_, i) => step * (steps - 1 - i))];
}

/** Elements after each row in the workgroup memory of family `sgmat`, so that rows begin in other banks. */
export const rowPadding = 8;

/** Vectors of four rows between the inner steps of the left tile in family `tile`: one more, so that they begin in other banks. */
export const leftPitch = ({ wy, tm }: Tile): number => (wy * tm) / 4 + 1;

/** Vectors in the workgroup memory of family `tile`: both tiles, later the sums of half the threads that share an inner axis. */
export function tileVectors(tile: Tile): number {
  const { wx, wy, tm, tv, bk, split = 1 } = tile;
  return Math.max(bk * (leftPitch(tile) + wx * tv), Math.floor(split / 2) * wx * wy * tm * tv);
}

/** Bytes of workgroup memory. */
function workgroupBytes(tile: Tile): number {
  const { wx, wy, tm, bk, split = 1, matrix } = tile;
  const { rows, columns } = blockOf(tile);
  if (bk === 0) return split > 1 ? 16 * wx * wy * split * tm : 0;
  if (!matrix) return 16 * tileVectors(tile);
  const held = rows * (bk + rowPadding) + bk * (columns + rowPadding);
  return (matrix.component === "f16" ? 2 : 4) * held + 4 * wx * wy * matrix.M * matrix.N;
}

/** Whether a device can run a tile. */
export const fits = (
  tile: Tile,
  { limits, features, subgroupMinSize = 0 }: Pick<Profile, "limits" | "features" | "subgroupMinSize">,
): boolean =>
  (!tile.broadcast || (features.includes("subgroups") && threadsOf(tile) <= subgroupMinSize)) &&
  threadsOf(tile) <= limits.maxComputeInvocationsPerWorkgroup &&
  workgroupBytes(tile) <= limits.maxComputeWorkgroupStorageSize;

/** Whether a tile is for weights in strips, or for other right factors, whichever a product has. */
export const isFor = (tile: Tile, { strips }: Pick<Product, "strips">): boolean =>
  (tile.strips ?? false) === strips;

/** A profile's tiles for a product's kind of right factor, largest first; the last one fits everything. */
export const tilesOf = ({ tiles }: Profile, product: Pick<Product, "strips">): readonly Tile[] =>
  tiles.filter((tile) => isFor(tile, product));

/**
 * How wide the strips are that a profile's products read: as blocks, in runs of what threads read at once; undefined where
 * they read none.
 */
export function stripWidth({ tiles }: Pick<Profile, "tiles">): StripWidth | undefined {
  const tile = tiles.find(({ strips }) => strips);
  return tile && { columns: blockOf(tile).columns, run: 4 * tile.wx };
}

/** What a product is to the choice of its tile, without what else is known of it. */
export const productOf = ({ M, N, K, batch, transposed, strips, bits, experts }: Product): Product => ({
  M,
  N,
  K,
  batch,
  transposed,
  strips,
  bits,
  experts,
});

/** The same as a key. */
export const productKey = (product: Product): string => JSON.stringify(productOf(product));

/** Whether two products are one to the choice of a tile. */
export const sameProduct = (a: Product, b: Product): boolean => productKey(a) === productKey(b);
