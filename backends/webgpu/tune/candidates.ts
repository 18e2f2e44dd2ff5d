/** The tiles that are worth measuring for a product: shapes of every kernel family that a device can run. */
import { shortPart, shortShare } from "../gemm/choice.ts";
import { blockOf, fits, type Product, type Profile, type Tile, tilesOf } from "../profile.ts";

/** Rows of family `reg` that a subgroup of 8 threads loads for one another. */
const broadcasts: readonly Tile[] = [24, 16, 32, 20, 28, 12, 8, 4].map((tm) => ({
  wx: 8,
  wy: 1,
  tm,
  tv: 1,
  bk: 0,
  broadcast: true,
}));

/** Rows of a block of weights in strips. */
const stripHeights: readonly number[] = [24, 16, 20, 28, 12, 8, 32, 4];

/** [wx, wy, tm] of family `reg`. */
const registers: readonly Tile[] = [
  [8, 1, 4],
  [8, 1, 8],
  [8, 1, 6],
  [8, 1, 12],
  [16, 1, 4],
  [16, 1, 8],
  [8, 1, 2],
  [8, 1, 16],
  [8, 4, 4],
  [8, 8, 4],
  [8, 8, 2],
  [16, 4, 4],
  [32, 1, 4],
].map(([wx = 8, wy = 1, tm = 4]) => ({ wx, wy, tm, tv: 1, bk: 0 }));

/** [wx, wy, tm, split] of family `reg`, threads sharing the inner axis. */
const splits: readonly Tile[] = [
  [8, 1, 4, 16],
  [8, 1, 4, 8],
  [8, 1, 4, 32],
  [8, 1, 8, 8],
  [16, 1, 4, 8],
  [8, 2, 4, 8],
  [8, 1, 4, 4],
].map(([wx = 8, wy = 1, tm = 4, split = 8]) => ({ wx, wy, tm, tv: 1, bk: 0, split }));

/** Products of GPUs that are measured with the same tiles. */
interface Kind {
  /** The most rows of a product, and whether they must be listed. */
  readonly rows: number;
  readonly listed: boolean;
  readonly tiles: readonly Tile[];
}

/** [wx, wy, tm, tv, bk, split, parts] for each kind, those first that an H100 in its working state is fastest with. */
const kinds: readonly Kind[] = [
  {
    rows: 64,
    listed: true,
    tiles: [
      [16, 4, 4, 1, 64, 1, 4],
      [32, 4, 8, 1, 16, 1, 4],
      [8, 4, 8, 1, 16, 1, 2],
      [16, 8, 8, 1, 32, 1, 4],
      [32, 1, 4, 1, 32, 2, 2],
      [8, 4, 4, 1, 32],
      [16, 4, 8, 1, 16, 1, 2],
      [8, 4, 4, 1, 32, 1, 4],
      [8, 2, 4, 1, 64, 8],
      [8, 4, 4, 1, 32, 4],
      [16, 2, 4, 1, 64, 8],
      [8, 8, 4, 1, 32],
      [8, 8, 8, 1, 16],
      [8, 8, 8, 2, 16],
      [8, 8, 4, 1, 32, 4],
      [16, 4, 4, 1, 32],
      [8, 4, 4, 1, 32, 1, 8],
    ].map(tileOf),
  },
  {
    rows: 64,
    listed: false,
    tiles: [
      [8, 8, 4, 1, 32, 1, 4],
      [8, 8, 4, 1, 32, 1, 2],
      [8, 8, 4, 1, 32, 1, 8],
      [8, 8, 4, 1, 32],
      [8, 1, 4, 1, 0, 16],
      [8, 8, 4, 1, 32, 4],
      [8, 4, 4, 1, 32, 4],
      [8, 4, 4, 1, 32],
      [8, 2, 4, 1, 64, 8],
      [8, 4, 4, 1, 32, 4, 2],
      [8, 8, 8, 1, 16, 1, 4],
      [8, 1, 4, 1, 0, 8],
      [8, 1, 4, 1, 0, 32],
    ].map(tileOf),
  },
  {
    rows: 512,
    listed: true,
    tiles: [
      [16, 8, 8, 1, 16, 1, 4],
      [16, 8, 8, 1, 32, 1, 4],
      [8, 8, 8, 1, 16, 1, 2],
      [16, 8, 8, 1, 32, 1, 2],
      [32, 4, 8, 1, 16, 1, 4],
      [16, 8, 8, 1, 16],
      [16, 4, 8, 1, 16, 1, 8],
      [8, 8, 8, 2, 16, 1, 4],
      [16, 8, 16, 1, 16, 1, 4],
    ].map(tileOf),
  },
  {
    rows: 512,
    listed: false,
    tiles: [
      [8, 8, 8, 1, 16],
      [16, 8, 8, 1, 32],
      [8, 8, 8, 1, 16, 1, 4],
      [16, 4, 8, 1, 16, 1, 4],
      [16, 8, 8, 1, 16],
      [8, 8, 4, 1, 32],
      [8, 8, 4, 1, 32, 1, 2],
      [8, 8, 4, 1, 32, 1, 4],
      [8, 8, 8, 2, 16, 1, 2],
      [8, 8, 8, 1, 16, 1, 2],
      [8, 8, 8, 2, 16],
      [16, 8, 4, 1, 32],
      [8, 8, 4, 1, 32, 4],
      [16, 8, 8, 2, 16],
    ].map(tileOf),
  },
  {
    rows: Infinity,
    listed: false,
    tiles: [
      [16, 16, 16, 2, 16],
      [16, 8, 16, 2, 16],
      [16, 8, 8, 1, 16],
      [8, 8, 8, 1, 16],
      [8, 8, 8, 2, 16, 1, 2],
      [8, 8, 8, 2, 16],
      [16, 8, 8, 2, 16],
      [8, 8, 16, 2, 8],
      [16, 16, 8, 2, 16],
      [8, 8, 4, 1, 32],
    ].map(tileOf),
  },
];

function tileOf([wx = 8, wy = 8, tm = 4, tv = 1, bk = 32, split = 1, parts = 1]: readonly number[]): Tile {
  return { wx, wy, tm, tv, bk, ...(split > 1 && { split }), ...(parts > 1 && { parts }) };
}

/** The tiles of the first kind that a product is of; listed rows, where there are many, are as others. */
const tilesOfKind = ({ M, experts }: Product): readonly Tile[] =>
  kinds.find(({ rows, listed }) => M <= rows && (!listed || experts > 0))?.tiles ?? [];

/** The most rows of which a thread may do as well without workgroup memory, alone, on GPUs. */
const fewRows = 16;

/** A tile may be this many times as high or as wide as the product, and as high as the rows listed of an expert. */
const waste = 2;
const listedWaste = 4;

/**
 * The tiles to measure for a product, the likely ones first: those that multiply matrices, those for its kind, the
 * profile's, then others of the families that the profile has tiles of. Whether a kernel of the tile can compute the
 * product at all is for the compiler to say.
 */
export function candidates(product: Product, profile: Profile): readonly Tile[] {
  const tiles = tilesOf(profile, product);
  const families = product.strips
    ? // All tiles for strips are as wide as these.
      [tiles, tiles.slice(0, 1).flatMap((tile) => stripHeights.map((tm) => ({ ...tile, tm })))]
    : tiles.some(({ bk }) => bk > 0)
      ? [tiles.filter(({ matrix }) => matrix), tilesOfKind(product), tiles, registers]
      : [tiles, broadcasts, registers, splits, kinds.flatMap((kind) => kind.tiles)];
  const all = new Map(families.flat().map((tile) => [JSON.stringify(tile), tile]));
  return [...all.values()].filter((tile) => fits(tile, profile) && suits(tile, product, tiles));
}

/** Whether a tile may be among the fastest for a product, of a profile with these tiles. */
function suits(tile: Tile, { M, N, K, batch, strips, experts }: Product, tiles: readonly Tile[]): boolean {
  const { bk, split = 1, parts = 1 } = tile;
  const { rows, columns } = blockOf(tile);
  const few = rows <= 8 || rows <= (experts > 0 ? listedWaste : waste) * M;
  const narrow = strips || columns <= Math.max(32, waste * N);
  const splittable = split === 1 || ((experts === 0 || bk > 0) && K >= shortShare * split);
  // Of experts it is the second layer that may go in parts, along the first one's columns.
  const inner = experts > 0 ? N : K;
  const divisible = parts === 1 || (batch === 1 && inner >= shortPart * parts);
  // Workgroup memory holds vectors; what has none is left to the other families.
  const isHeld = tiles.some((each) => each.bk > 0) && N % 4 === 0 && K % 4 === 0;
  const slow = isHeld && bk === 0 && split === 1 && M > fewRows;
  return few && narrow && splittable && divisible && !slow;
}
