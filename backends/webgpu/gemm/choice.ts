/** Which tile computes a product: the one that was measured, else by the order of a profile's tiles or by an estimate. */
import {
  blockOf,
  isFor,
  type Product,
  type Profile,
  rowLoops,
  sameProduct,
  threadsOf,
  type Tile,
  tilesOf,
} from "../profile.ts";

/** Which ways of computing a product its matrices allow. */
export interface Ways {
  /** Whether both factors are in vectors, as tiles in workgroup memory are. */
  readonly tiled: boolean;
  /** Whether workgroups may share the inner axis: whether what they make is added up. */
  readonly parts: boolean;
}

/** How rows of experts are listed, and how the second of two layers multiplies them. */
export interface Listing {
  /** Rows of a tile. */
  readonly height: number;
  /** Workgroups that share the second layer's inner axis; whoever reads what they make adds it up. */
  readonly parts: number;
  /** Rows that most experts have; where they may have fewer, several numbers that are as likely. */
  readonly usual: readonly number[];
}

/** The fewest columns of what is multiplied in 16 bits: results of few, such as routers' logits, decide by their order. */
const wide = 128;

/** Whether a kernel of the tile computes the product. */
const serves = (tile: Tile, product: Product, ways: Ways): boolean => {
  const { N, experts } = product;
  const { bk, split = 1, parts = 1, matrix } = tile;
  return (
    isFor(tile, product) &&
    (bk === 0 || ways.tiled) &&
    (split === 1 || bk > 0 || experts === 0) &&
    (parts === 1 || (ways.parts && bk > 0)) &&
    (!matrix || N >= wide)
  );
};

/** The shortest parts of an inner axis that are worth a workgroup, and a thread. */
export const shortPart = 128;
export const shortShare = 8;

/** Whether an inner axis of K is long enough to be shared as the tile says. */
const isShared = ({ bk, split = 1, parts = 1 }: Tile, { K }: Product): boolean =>
  (bk > 0 || split === 1 || K >= shortShare * split) && (parts === 1 || K >= shortPart * parts);

const heightOf = (tile: Tile): number => blockOf(tile).rows;

/** The tile that was measured to be fastest, where there is one that serves; in parts where these may be. */
function tunedTile(product: Product, ways: Ways, { tuned = [] }: Profile): Tile | undefined {
  const tile = tuned.find((each) => sameProduct(each, product))?.tile;
  const usable = tile?.parts && !ways.parts ? withParts(tile, 1) : tile;
  return usable && serves(usable, product, ways) ? usable : undefined;
}

const withParts = (tile: Tile, parts: number): Tile => ({ ...tile, parts: parts > 1 ? parts : undefined });

/**
 * The tile that was measured to be fastest; else, where tiles lie in workgroup memory, the one that should take least, and
 * elsewhere the largest whose grid keeps the device busy and whose height suits the rows, `usual` of them in most products.
 */
export function chooseTile(product: Product, ways: Ways, profile: Profile, usual?: number): Tile {
  const tiles = tilesOf(profile, product).filter(
    (tile) => serves(tile, product, ways) && isShared(tile, product),
  );
  const last = tilesOf(profile, product).at(-1) as Tile;
  const rows = usual ?? product.M;
  const byRule = isEstimated(profile)
    ? lowest(tiles, (tile) => cyclesOf(tile, { ...product, M: rows }, profile))
    : firstThatSuits(tiles, product, rows, profile);
  const chosen = tunedTile(product, ways, profile) ?? byRule ?? last;
  return chosen.bk > 0 ? chosen : lowered(chosen, product);
}

/** The tile as low as it can be for as many blocks: rows that do not exist need no sums. */
const lowered = (tile: Tile, { M }: Pick<Product, "M">): Tile => ({
  ...tile,
  tm: Math.ceil(M / (Math.ceil(M / heightOf(tile)) * tile.wy)),
});

/** Into how many parts the second layer's inner axis may go. */
const partings = [1, 2, 4];

/**
 * How rows of experts are best listed, at most `M` of each and `usual` of most, for products [M, K] x [K, N] and, of what
 * they make, [M, N] x [N, K].
 */
export function listingOf(
  { usual, ...sizes }: Omit<Product, "batch" | "transposed"> & Pick<Listing, "usual">,
  profile: Profile,
): Listing {
  const tiled = sizes.N % 4 === 0 && sizes.K % 4 === 0;
  const ways: Ways = { tiled, parts: false };
  const first: Product = { ...sizes, batch: 1, transposed: false };
  const second: Product = { ...first, N: first.K, K: first.N };
  if (tunedTile(first, ways, profile) || !isEstimated(profile)) {
    const height = heightOf(chooseTile(first, ways, profile, Math.max(...usual)));
    const tuned = tunedTile(second, { ...ways, parts: true }, profile);
    return { height, parts: (tuned && heightOf(tuned) === height && tuned.parts) || 1, usual };
  }
  const least = (product: Product, listing: Listing): number =>
    Math.min(
      ...tilesOfListing(product, listing, tiled, profile).map((tile) =>
        cyclesOfUsual(tile, product, listing, profile),
      ),
    );
  const heights = new Set(tilesOf(profile, first).map(heightOf));
  const options = [...heights].flatMap((height) => {
    const before = least(first, { height, parts: 1, usual });
    return partings.map((parts) => {
      const listing = { height, parts, usual };
      return { listing, cost: before + least(second, listing) };
    });
  });
  return lowest(options, ({ cost }) => cost)?.listing ?? { height: 1, parts: 1, usual };
}

/** Cycles of a product of rows as they are listed, in all for each number that experts usually have. */
const cyclesOfUsual = (tile: Tile, product: Product, { usual }: Listing, profile: Profile): number =>
  usual.reduce((sum, M) => sum + cyclesOf(tile, { ...product, M }, profile), 0);

/** The profile's tiles that multiply rows as they are listed. */
function tilesOfListing(
  product: Product,
  listing: Listing,
  tiled: boolean,
  { tiles }: Profile,
): readonly Tile[] {
  const ways = waysOf(listing, tiled);
  const whole = tiles.filter(({ parts = 1 }) => parts === 1);
  return whole
    .map((tile) => withParts(tile, listing.parts))
    .filter((tile) => isOfListing(tile, listing) && serves(tile, product, ways) && isShared(tile, product));
}

/** Rows that are listed are multiplied in as many parts as whoever reads them adds up. */
const waysOf = ({ parts }: Listing, tiled: boolean): Ways => ({ tiled, parts: parts > 1 });

/** Whether a tile has the height and the parts of a listing; threads without workgroup memory can do with fewer rows. */
const isOfListing = (tile: Tile, { height, parts }: Listing): boolean =>
  (tile.parts ?? 1) === parts &&
  (tile.bk === 0 ? height % tile.wy === 0 && height <= heightOf(tile) : height === heightOf(tile));

/** The tile for rows as they are listed, by factors in vectors where `tiled`: the one that was measured, one of the profile's, or its last made to fit. */
export function tileOfListing(product: Product, listing: Listing, tiled: boolean, profile: Profile): Tile {
  const { height } = listing;
  const tuned = tunedTile(product, waysOf(listing, tiled), profile);
  const suiting = tilesOfListing(product, listing, tiled, profile);
  const last = tilesOf(profile, product).at(-1) as Tile;
  const wy = [...Array(last.wy + 1).keys()].findLast((n) => n > 0 && height % n === 0) ?? 1;
  const byRule = isEstimated(profile)
    ? lowest(suiting, (tile) => cyclesOfUsual(tile, product, listing, profile))
    : suiting[0];
  const chosen = (tuned && isOfListing(tuned, listing) ? tuned : byRule) ?? { ...last, wy };
  return chosen.bk === 0 ? { ...chosen, tm: height / chosen.wy } : chosen;
}

/** Workgroups of a grid. */
function workgroupsOf(tile: Tile, { M, N, batch, experts }: Product): number {
  const { rows, columns } = blockOf(tile);
  const blocks = Math.ceil(M / rows) * Math.ceil(N / columns) * batch * Math.max(1, experts);
  return blocks * (tile.parts ?? 1);
}

/** Rows for which a block could add up products in the time in which it reads the right factor. */
const readingRows = 6;
/** How many times as much as with any other tile a larger one may cost. */
const waste = 1.1;

/** The first tile, largest first, whose grid keeps the device busy and whose height suits the rows, of which there are `usual`. */
function firstThatSuits(
  tiles: readonly Tile[],
  product: Product,
  usual: number,
  profile: Profile,
): Tile | undefined {
  const cost = (tile: Tile): number => {
    const by = lowered(tile, product);
    return rowsComputed(by, { ...product, M: usual }) + readingRows * Math.ceil(usual / heightOf(by));
  };
  const least = Math.min(...tiles.map(cost));
  return tiles.find(
    (tile) =>
      workgroupsOf(tile, { ...product, M: usual }) >= profile.minWorkgroups && cost(tile) <= waste * least,
  );
}

/** GPUs, where tiles lie in workgroup memory, are alike enough for an estimate. */
const isEstimated = ({ tiles }: Profile): boolean => tiles.some(({ bk }) => bk > 0);

/** The first of those that cost least. */
function lowest<T>(all: readonly T[], cost: (each: T) => number): T | undefined {
  const costs = all.map(cost);
  return all[costs.indexOf(Math.min(...costs))];
}

/** Operations of a core in a cycle, multiplications and additions: fair for the GPUs of today. */
const opsPerCycle = 256;
/** Bytes that a core loads in a cycle, most of them from the cache that all share. */
const bytesPerCycle = 10.7;
/** The part of its operations that a core reaches for each number that is multiplied for a vector loaded; and the most. */
const speedOfReuse = 0.052;
const mostSpeed = 0.63;
/** What is left of the speed where threads share an inner axis, and where more than 16 steps are held, for each doubling. */
const splitLoss = 0.85;
const deepLoss = 0.91;
/** The same of threads with more rows than this, where rows are listed. */
const tallRows = 8;
const tallLoss = 0.8;
/** Where nothing is held: what is left, threads that a core multiplies for at a time, and multiplications that hide a load. */
const unheldLoss = 0.6;
const threadsAtOnce = 128;
const hiddenLoads = 8;
/** How many times as fast subgroup matrices are, by what they multiply. */
const matrixGain = { f16: 3.3, f32: 1.6 };
/** Cycles that a lonely workgroup waits in a step, for weights from caches and for experts' from farther off; and how others hide it. */
const nearCycles = 700;
const farCycles = 1250;
const hiding = 0.8;
/** Cycles of a step where nothing is held, however many others compute. */
const unheldCycles = 1000;
/** Cycles until a workgroup computes and until it has stored; for each doubling of threads that add up; for another launch. */
const fixedCycles = 1500;
const launchCycles = 6000;

/**
 * Cycles of a product on a device of `profile.minWorkgroups / 2` cores: each core computes whole blocks, as many as the
 * busiest has, at a speed that follows from how often a thread uses what it loads. Fitted to what an NVIDIA H100 took,
 * docs/decisions/0017.
 */
export function cyclesOf(tile: Tile, product: Product, { minWorkgroups }: Profile): number {
  const { M, N, K, experts } = product;
  const { bk, split = 1, parts = 1, matrix } = tile;
  const { rows, columns } = blockOf(tile);
  const isHeld = bk > 0;
  const cores = minWorkgroups / 2;
  const depth = isHeld ? bk : 4 * split;
  const steps = Math.ceil(K / parts / depth);
  const waves = Math.ceil(workgroupsOf(tile, product) / cores);
  const operations = (2 * rowsComputed(tile, product) * columns * depth) / Math.ceil(M / rows);
  const computing = operations / (opsPerCycle * speedOf(tile, waves, experts > 0));
  // What is not held lies in caches nearer by; what matrices gain was measured with their loads.
  const loading = isHeld && !matrix ? (4 * (rows + columns) * depth) / bytesPerCycle : 0;
  const waiting = isHeld ? (experts > 0 ? farCycles : nearCycles) / waves ** hiding : unheldCycles;
  const sums = parts > 1 ? (4 * parts * M * N * Math.max(1, experts)) / (bytesPerCycle * cores) : 0;
  // Sums of experts' parts are read by the launch that there is for tokens' choices.
  const adding = parts > 1 && experts === 0 ? 2 * sums + launchCycles : sums;
  const fixed = fixedCycles * (isHeld ? 1 + Math.log2(split) : 1);
  return fixed + steps * (waves * Math.max(computing, loading) + waiting) + adding;
}

/** The part of a core's operations that its threads reach, where each core has `waves` workgroups. */
function speedOf(tile: Tile, waves: number, isListed: boolean): number {
  const { tm, tv, bk, split = 1, matrix } = tile;
  if (matrix) return mostSpeed * matrixGain[matrix.component];
  const speed = Math.min(mostSpeed, (speedOfReuse * 16 * tm * tv) / (tm + 4 * tv));
  if (bk > 0) {
    const tall = isListed && tm > tallRows ? tallLoss : 1;
    return speed * tall * splitLoss ** Math.log2(split) * deepLoss ** Math.max(0, Math.log2(bk / 16));
  }
  const own = 4 * tm * tv;
  const busy = Math.min(1, ((waves * threadsOf(tile)) / threadsAtOnce) * (own / (own + hiddenLoads)));
  return speed * unheldLoss * busy;
}

/** Rows that the blocks of a product, or of an expert's, compute: where rows are listed, the last ones are few. */
function rowsComputed(tile: Tile, { M, experts }: Product): number {
  const { rows } = blockOf(tile);
  const rest = M % rows;
  const last = experts > 0 ? rowLoops(tile).findLast((computed) => computed >= rest) : undefined;
  return M - rest + (rest > 0 ? (last ?? rows) : 0);
}
