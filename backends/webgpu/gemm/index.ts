/** Matrix products: a kernel family and a tile are chosen for a description, and the launch is written. */
import {
  type Binding,
  type Lanes,
  launch,
  type Launch,
  type LaunchSpec,
  type Output,
  type Scratch,
  typeOf,
} from "../kernel.ts";
import { blockOf, isFor, type Product, type Profile, sameProduct, type Tile, tilesOf } from "../profile.ts";
import { downFirst, type Gemm, type Matrix, type Plan, whole } from "./description.ts";
import { regBody, regDirectives, regMemory } from "./reg.ts";
import { sgmatBody, sgmatDirectives, sgmatMemory } from "./sgmat.ts";
import { storedElement, storedModule } from "./storage.ts";
import { sumParts } from "./sum.ts";
import { tileBody, tileMemory } from "./tile.ts";

export type { Gemm, RowTiles } from "./description.ts";
export { rightFactor } from "./storage.ts";

const element = (isVector: boolean): Binding["element"] => typeOf("f32", isVector ? 4 : 1);

/** Whether rows start where vectors of four elements do. */
const accessible = ({ stride, aligned = true }: Pick<Matrix, "stride" | "aligned">): boolean =>
  aligned && whole(stride);

/** Memory between launches; see `Context.scratch`. */
type MakeScratch = (element: "vec4f", length: number) => Scratch;

/** The launches that compute a product: one, or two where workgroups share the inner axis of each block. */
export function gemm(spec: Gemm, profile: Profile, scratch: MakeScratch): readonly Launch[] {
  const plan = planOf(spec, profile);
  const { parts = 1 } = plan.tile;
  if (parts === 1) return [multiply(plan)];
  const { bias: _, finish: __, ...factors } = spec;
  const width = Math.ceil(spec.N / 4);
  const sums = scratch("vec4f", parts * spec.M * width);
  const inParts = planOf(
    {
      ...factors,
      label: `${spec.label}, in parts`,
      module: [],
      result: {
        binding: { name: "result", resource: sums, access: "read_write" },
        stride: 4 * width,
        start: (unit) => `group.z * ${(4 * width * spec.M) / unit}u`,
      },
    },
    profile,
    plan.tile,
  );
  return [multiply(inParts), sumParts(plan, sums, profile)];
}

type Multiplication = Plan & { readonly product: Product };

function multiply(spec: Multiplication): Launch {
  const { tile, vec, output, product } = spec;
  const { batch } = product;
  const family = familyOf(spec);
  const { rows: height, columns } = blockOf(tile);
  const across = Math.ceil(spec.N / columns);
  const down = spec.tiles?.bound ?? Math.ceil(spec.M / height);
  const rows = spec.tiles ? spec.tiles.rows : spec.M * batch;
  const { narrow } = spec.right;
  const lanes: Lanes = vec.right ? 4 : 1;
  const launched = launch({
    label: spec.label,
    bindings: [
      { ...spec.left.binding, element: element(vec.left) },
      {
        ...spec.right.binding,
        element: narrow ? storedElement(narrow, lanes) : element(vec.right),
      },
      ...(narrow?.scales ? [{ ...narrow.scales.binding, element: element(vec.right) }] : []),
      ...(spec.bias ? [{ ...spec.bias.binding, element: element(vec.bias) }] : []),
      ...(spec.extra ?? []),
      ...output.extra,
      output.binding,
    ],
    workgroups: downFirst(spec) ? [down, across, batch] : [across, down, tile.parts ?? batch],
    ...family,
    module: [
      ...[spec.module ?? []].flat(),
      ...output.module,
      ...(narrow ? [storedModule(narrow, lanes, "right")] : []),
      ...family.module,
    ],
  });
  const { samples = {} } = spec;
  return { ...launched, flops: 2 * rows * spec.N * spec.K, product: { ...product, tile, samples } };
}

/** The kernel of the tile's family. */
function familyOf(plan: Plan): Pick<LaunchSpec, "workgroupSize" | "subgroupSize" | "directives" | "body"> & {
  readonly module: readonly string[];
} {
  const { tile } = plan;
  const { wx, wy, bk, split, matrix } = tile;
  if (matrix) {
    const own = { ...tile, matrix };
    return {
      workgroupSize: [wx * wy * matrix.subgroup],
      subgroupSize: matrix.subgroup,
      directives: sgmatDirectives(own),
      module: sgmatMemory(own),
      body: sgmatBody(plan, own),
    };
  }
  const workgroupSize = split ? ([wx, wy, split] as const) : ([wx, wy] as const);
  if (bk > 0) return { workgroupSize, module: tileMemory(tile), body: tileBody(plan) };
  return {
    workgroupSize,
    directives: regDirectives(tile),
    module: regMemory(tile),
    body: regBody(plan),
  };
}

/**
 * The height of the tiles in which rows of experts are best listed, at most `M` of each and `usual` of most, for products
 * [M, K] x [K, N].
 */
export function tileHeight(
  { usual, ...sizes }: Pick<Product, "M" | "N" | "K" | "strips" | "experts"> & { readonly usual: number },
  profile: Profile,
): number {
  const product = { ...sizes, batch: 1, transposed: false };
  return heightOf(chooseTile(product, { tiled: true, parts: false }, profile, usual));
}

const heightOf = (tile: Tile): number => blockOf(tile).rows;

function planOf(spec: Gemm, profile: Profile, given?: Tile): Multiplication {
  const { left, right, result, bias, M, N, K, batch = 1, tiles } = spec;
  const { transposed = false } = right;
  const strips = right.strips !== undefined;
  const product: Product = { M, N, K, batch, transposed, strips, experts: tiles?.experts ?? 0 };
  const inner = accessible(left) && (!transposed || accessible(right));
  const plain = {
    left: inner,
    bias: whole(N) && (bias?.aligned ?? true),
    result: accessible(result) && whole(N),
  };
  // The last vector of a row may lie beyond the columns, but not beyond the row.
  const columns = strips || accessible(right);
  const tiled = inner && whole(K) && (transposed || columns);
  // A part of the inner axis is counted where a product of a batch is.
  const parts =
    batch === 1 && [left, right, result, bias].every((each) => !each?.start?.(1).includes("group.z"));
  const ways = { tiled, parts };
  const chosen = tiles
    ? tileOfHeight(product, tiles.height, ways, profile)
    : chooseTile(product, ways, profile);
  const tile = given ?? chosen;
  // Tiles of a transposed factor are filled column by column.
  const rightVectors = transposed ? inner && tile.bk === 0 : columns;
  const vec = { ...plain, right: rightVectors };
  return { ...spec, tile, vec, output: outputOf(spec, vec.result ? 4 : 1), product };
}

/** How the result is stored: as its op says, or as it is. */
function outputOf({ result }: Gemm, lanes: Lanes): Output {
  if ("output" in result) return result.output(lanes);
  const binding: Binding = { ...result.binding, element: element(lanes === 4) };
  return { binding, extra: [], module: [], finish: (v) => v };
}

/** Which ways of computing a product its matrices allow. */
interface Ways {
  /** Whether both factors are in vectors, as tiles in workgroup memory are. */
  readonly tiled: boolean;
  /** Whether workgroups may share the inner axis. */
  readonly parts: boolean;
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
    (parts === 1 || (ways.parts && experts === 0)) &&
    (!matrix || N >= wide)
  );
};

/** Workgroups of subgroup matrices that are worth one: each is as fast as several. */
const matrixWorth = 4;

/** The shortest inner axis that workgroups share. */
const longInner = 1024;

/** The tile that was measured to be fastest, where there is one that serves. */
const tunedTile = (product: Product, ways: Ways, { tuned = [] }: Profile): Tile | undefined =>
  tuned.find((each) => sameProduct(each, product) && serves(each.tile, product, ways))?.tile;

/** How many rows more than the smallest tile a tile may compute in vain. */
const waste = 1.25;

/** Whether the grid of a product has workgroups enough to keep the device busy. */
function isBusy(tile: Tile, { M, N, batch, experts }: Product, { minWorkgroups }: Profile): boolean {
  const { rows, columns } = blockOf(tile);
  const blocks = Math.ceil(M / rows) * Math.ceil(N / columns) * batch * Math.max(1, experts);
  return blocks * (tile.parts ?? 1) * (tile.matrix ? matrixWorth : 1) >= minWorkgroups;
}

/**
 * The tile that was measured to be fastest; else the largest whose grid keeps the device busy and whose height suits the
 * rows, `usual` of them in most products.
 */
function chooseTile(product: Product, ways: Ways, profile: Profile, usual = product.M): Tile {
  const { M, K } = product;
  const tiles = tilesOf(profile, product);
  const last = tiles.at(-1) as Tile;
  const padded = (tile: Tile): number => Math.ceil(usual / heightOf(tile)) * heightOf(tile);
  const fewest = Math.min(...tiles.map(padded));
  const suits = (tile: Tile): boolean => {
    if (!serves(tile, product, ways)) return false;
    const { bk, split = 1, parts = 1 } = tile;
    // Where few blocks are all there is, more threads a block are what is left.
    if (bk === 0 && split > 1) return K >= 8 * split;
    if (parts > 1 && K < longInner) return false;
    return K >= bk && isBusy(tile, product, profile) && padded(tile) <= waste * fewest;
  };
  const chosen = tunedTile(product, ways, profile) ?? tiles.find(suits) ?? last;
  if (chosen.bk > 0) return chosen;
  // Rows that do not exist need no sums: as many blocks, as low as they can be.
  const blocks = Math.ceil(M / heightOf(chosen)) * chosen.wy;
  return { ...chosen, tm: Math.ceil(M / blocks) };
}

/**
 * A tile of the height in which rows are listed: the one that was measured; else the first of the profile's that keeps the
 * device busy, or the smallest; else the last one made to fit.
 */
function tileOfHeight(product: Product, height: number, ways: Ways, profile: Profile): Tile {
  const suits = (tile: Tile): boolean =>
    serves(tile, product, ways) &&
    (tile.bk === 0 ? height % tile.wy === 0 && height <= heightOf(tile) : height === heightOf(tile));
  const tuned = tunedTile(product, ways, profile);
  const suiting = profile.tiles.filter(suits);
  const last = tilesOf(profile, product).at(-1) as Tile;
  const wy = [...Array(last.wy + 1).keys()].findLast((n) => n > 0 && height % n === 0) ?? 1;
  const chosen = (tuned && suits(tuned) ? tuned : undefined) ??
    suiting.find((tile) => isBusy(tile, product, profile)) ??
    suiting.at(-1) ?? { ...last, wy };
  return chosen.bk === 0 ? { ...chosen, tm: height / chosen.wy } : chosen;
}
