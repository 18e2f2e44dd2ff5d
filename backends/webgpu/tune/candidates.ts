/** The tiles that are worth measuring for a product: shapes of every kernel family that a device can run. */
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

/** [wx, wy, tm, tv, bk, split] of family `tile`: for many blocks, and for few. */
const held: readonly Tile[] = [
  [16, 16, 16, 2, 16],
  [16, 8, 16, 2, 16],
  [16, 8, 8, 2, 16],
  [16, 8, 8, 1, 16],
  [8, 8, 8, 2, 16],
  [8, 8, 8, 1, 16],
  [8, 8, 4, 2, 16],
  [16, 4, 4, 1, 32],
  [8, 8, 4, 1, 32],
  [8, 4, 4, 1, 32],
  [8, 8, 4, 1, 32, 4],
  [8, 4, 4, 1, 32, 4],
  [8, 4, 4, 1, 64, 8],
  [16, 4, 4, 1, 32, 4],
  [8, 8, 4, 2, 32, 4],
  [16, 2, 4, 1, 64, 8],
  [8, 2, 4, 1, 64, 8],
  [8, 8, 4, 1, 32, 2],
  [16, 8, 16, 2, 8],
  [8, 8, 16, 2, 8],
  [16, 16, 8, 2, 16],
  [16, 16, 4, 2, 16],
].map(([wx = 8, wy = 8, tm = 4, tv = 1, bk = 16, split]) => ({
  wx,
  wy,
  tm,
  tv,
  bk,
  ...(split && { split }),
}));

/** The same, workgroups sharing the inner axis. */
const shared: readonly Tile[] = [2, 4, 8].flatMap((parts) =>
  held.slice(2, 12).map((tile) => ({ ...tile, parts })),
);

/** The shortest part of an inner axis. */
const shortest = 128;

/** A tile may be this many times as high or as wide as the product. */
const waste = 2;

/**
 * The tiles to measure for a product, the likely ones first: those of the profile, then the families that it has tiles
 * of. Whether a kernel of the tile can compute the product at all is for the compiler to say.
 */
export function candidates(product: Product, profile: Profile): readonly Tile[] {
  const { M, N, K, strips, experts } = product;
  const tiles = tilesOf(profile, product);
  const plain = tiles.some(({ bk }) => bk > 0)
    ? [held, shared, splits, registers]
    : [broadcasts, registers, splits, held];
  // All tiles for strips are as wide as these.
  const inStrips = tiles.slice(0, 1).flatMap((tile) => stripHeights.map((tm) => ({ ...tile, tm })));
  const families = strips ? [inStrips] : plain;
  const suits = (tile: Tile): boolean => {
    const { split = 1, parts = 1 } = tile;
    const { rows, columns } = blockOf(tile);
    const few = rows <= 8 || rows <= waste * M;
    const isSplit = split > 1 || parts > 1;
    const shares = !isSplit || (experts === 0 && K >= Math.max(8 * split, parts > 1 ? shortest * parts : 0));
    const narrow = strips || columns <= Math.max(32, waste * N);
    return fits(tile, profile) && few && narrow && shares;
  };
  const all = new Map([...tiles, ...families.flat()].map((tile) => [JSON.stringify(tile), tile]));
  return [...all.values()].filter(suits);
}
