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
    ? quickest(tiles, { ...product, M: rows }, profile)
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
const partings = [1, 2, 4, 8];

/**
 * How rows of experts are best listed, at most `M` of each and `usual` of most, for products [M, K] x [K, N] and, of what
 * they make, [M, N] x [N, K].
 */
export function listingOf(
  { usual, ...sizes }: Omit<Product, "batch" | "transposed"> & { readonly usual: number },
  profile: Profile,
): Listing {
  const tiled = sizes.N % 4 === 0 && sizes.K % 4 === 0;
  const ways: Ways = { tiled, parts: false };
  const first: Product = { ...sizes, batch: 1, transposed: false };
  const second: Product = { ...first, N: first.K, K: first.N };
  if (tunedTile(first, ways, profile) || !isEstimated(profile)) {
    const height = heightOf(chooseTile(first, ways, profile, usual));
    const tuned = tunedTile(second, { ...ways, parts: true }, profile);
    return { height, parts: (tuned && heightOf(tuned) === height && tuned.parts) || 1 };
  }
  const least = (product: Product, listing: Listing): number =>
    Math.min(
      ...tilesOfListing(product, listing, tiled, profile).map((tile) =>
        cyclesOf(tile, { ...product, M: usual }, profile),
      ),
    );
  const heights = [...new Set(tilesOf(profile, first).map(heightOf))].toSorted((a, b) => a - b);
  const options = heights.flatMap((height) => {
    const before = least(first, { height, parts: 1 });
    return partings.map((parts) => ({ height, parts, cost: before + least(second, { height, parts }) }));
  });
  const enough = indulgence * Math.min(...options.map(({ cost }) => cost));
  const { height, parts } = options.find(({ cost }) => cost <= enough) ?? { height: 1, parts: 1 };
  return { height, parts };
}

/** How much more a lower tile, or fewer parts, may cost: where fewer rows come than may, lower tiles compute fewer in vain. */
const indulgence = 1.1;

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
  const byRule = isEstimated(profile) ? quickest(suiting, product, profile) : suiting[0];
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
    const height = heightOf(by);
    const whole = Math.floor(usual / height);
    const rest = usual - whole * height;
    const computed = (product.experts > 0 && rowLoops(by).findLast((rows) => rows >= rest)) || height;
    return whole * (height + readingRows) + (rest > 0 ? computed + readingRows : 0);
  };
  const least = Math.min(...tiles.map(cost));
  return tiles.find(
    (tile) =>
      workgroupsOf(tile, { ...product, M: usual }) >= profile.minWorkgroups && cost(tile) <= waste * least,
  );
}

/** GPUs, where tiles lie in workgroup memory, are alike enough for an estimate. */
const isEstimated = ({ tiles }: Profile): boolean => tiles.some(({ bk }) => bk > 0);

/** The tile that should take least. */
const quickest = (tiles: readonly Tile[], product: Product, profile: Profile): Tile | undefined =>
  lowest(tiles, (tile) => cyclesOf(tile, product, profile));

/** The first of those that cost least. */
function lowest<T>(all: readonly T[], cost: (each: T) => number): T | undefined {
  const costs = all.map(cost);
  return all[costs.indexOf(Math.min(...costs))];
}

/** Operations of a core in a cycle, multiplications and additions: fair for the GPUs of today. */
const opsPerCycle = 256;
/** Bytes that a core loads in a cycle, most of them from the cache that all share. */
const bytesPerCycle = 14;
/** Threads that a core multiplies for at a time, and multiplications of a thread in which another hides its loads. */
const threadsAtOnce = 128;
const hiddenLoads = 8;
/** The part of its operations that a core reaches for each number that is multiplied for a vector loaded; and the most. */
const speedOfReuse = 0.045;
const mostSpeed = 0.62;
/** What is left of the speed where threads share an inner axis, for each doubling; and where nothing is held. */
const splitLoss = 0.8;
const unheldLoss = 0.6;
/** How many times as fast subgroup matrices are, by what they multiply. */
const matrixGain = { f16: 3.3, f32: 1.6 };
/** Cycles that a workgroup waits in a step, where another does not compute meanwhile; where nothing is held, it always waits. */
const stepCycles = 800;
const unheldStepCycles = 1000;
/** Cycles until a workgroup computes and until it has stored; for each doubling of threads that add up; for another launch. */
const fixedCycles = 1500;
const launchCycles = 6000;

/**
 * Cycles of a product on a device of `profile.minWorkgroups / 2` cores: each core computes whole blocks, as many as the
 * busiest has, at a speed that follows from how often a thread uses what it loads and from how many there are. Fitted to what
 * an NVIDIA H100 took, docs/decisions/0017.
 */
export function cyclesOf(tile: Tile, product: Product, { minWorkgroups }: Profile): number {
  const { M, N, K, experts } = product;
  const { tm, tv, bk, split = 1, parts = 1, matrix } = tile;
  const { rows, columns } = blockOf(tile);
  const isHeld = bk > 0;
  const cores = minWorkgroups / 2;
  const depth = isHeld ? bk : 4 * split;
  const steps = Math.ceil(K / parts / depth);
  const waves = Math.ceil(workgroupsOf(tile, product) / cores);
  const doublings = Math.log2(split);
  const reuse = (16 * tm * tv) / (tm + 4 * tv);
  const speed = matrix
    ? mostSpeed * matrixGain[matrix.component]
    : Math.min(mostSpeed, speedOfReuse * reuse) * (isHeld ? splitLoss ** doublings : unheldLoss);
  const own = 4 * tm * tv;
  const busy = Math.min(1, ((waves * threadsOf(tile)) / threadsAtOnce) * (own / (own + hiddenLoads)));
  const computing = (2 * rows * columns * depth) / (opsPerCycle * speed * busy);
  // What is not held lies in caches nearer by; what matrices gain was measured with their loads.
  const loading = isHeld && !matrix ? (4 * (rows + columns) * depth) / bytesPerCycle : 0;
  const waiting = isHeld ? stepCycles / waves : unheldStepCycles;
  // Sums of parts are written, and read again; those of experts by the launch that adds up what they make.
  const sums = parts > 1 ? (8 * parts * M * N * Math.max(1, experts)) / (bytesPerCycle * cores) : 0;
  const adding = sums + (parts > 1 && experts === 0 ? launchCycles : 0);
  const fixed = fixedCycles * (isHeld ? 1 + doublings : 1);
  return fixed + steps * (waves * Math.max(computing, loading) + waiting) + adding;
}
