/** Matrix products: a kernel family and a tile are chosen for a description, and the launch is written. */
import { type Binding, type Lanes, launch, type Launch, type Output } from "../kernel.ts";
import type { Profile, Tile } from "../profile.ts";
import { downFirst, type Gemm, type Matrix, type Plan, whole } from "./description.ts";
import { regBody, regDirectives, regMemory } from "./reg.ts";
import { tileBody, tileMemory } from "./tile.ts";

export type { Gemm, RowTiles } from "./description.ts";

const element = (isVector: boolean): Binding["element"] => (isVector ? "vec4f" : "f32");

/** Whether rows start where vectors of four elements do. */
const accessible = ({ stride, aligned = true }: Pick<Matrix, "stride" | "aligned">): boolean =>
  aligned && whole(stride);

/** The launch that computes a product. */
export function gemm(spec: Gemm, profile: Profile): Launch {
  const plan = planOf(spec, profile);
  const { tile, vec, output, batch = 1 } = plan;
  const across = Math.ceil(spec.N / (4 * tile.wx * tile.tv));
  const down = spec.tiles?.bound ?? Math.ceil(spec.M / (tile.wy * tile.tm));
  const rows = spec.tiles ? spec.tiles.rows : spec.M * batch;
  const launched = launch({
    label: spec.label,
    bindings: [
      { ...spec.left.binding, element: element(vec.left) },
      { ...spec.right.binding, element: element(vec.right) },
      ...(spec.bias ? [{ ...spec.bias.binding, element: element(vec.bias) }] : []),
      ...(spec.extra ?? []),
      ...output.extra,
      output.binding,
    ],
    workgroups: downFirst(plan) ? [down, across, batch] : [across, down, batch],
    workgroupSize: tile.split ? [tile.wx, tile.wy, tile.split] : [tile.wx, tile.wy],
    directives: regDirectives(tile),
    module: [
      ...[spec.module ?? []].flat(),
      ...output.module,
      ...(tile.bk ? tileMemory(tile) : regMemory(tile)),
    ],
    body: tile.bk ? tileBody(plan) : regBody(plan),
  });
  return { ...launched, flops: 2 * rows * spec.N * spec.K };
}

/** The height of the tiles in which rows are best listed for products of `N` columns over `K`, of `M` rows in all. */
export function tileHeight(sizes: Pick<Gemm, "M" | "N" | "K">, profile: Profile): number {
  const { wy, tm } = chooseTile({ ...sizes, batch: 1, tiled: true, listed: true }, profile);
  return wy * tm;
}

function planOf(spec: Gemm, profile: Profile): Plan {
  const { left, right, result, bias, M, N, K, batch = 1, tiles } = spec;
  const inner = accessible(left) && (!right.transposed || accessible(right));
  const plain = {
    left: inner,
    bias: whole(N) && (bias?.aligned ?? true),
    result: accessible(result) && whole(N),
  };
  const columns = accessible(right) && whole(N);
  const tiled = inner && whole(K) && (right.transposed === true || columns);
  const tile = tiles
    ? ((profile.tiles.find((t) => t.wy * t.tm === tiles.height && !t.split && (t.bk === 0 || tiled)) ??
        profile.tiles.at(-1)) as Tile)
    : chooseTile({ M, N, K, batch, tiled, listed: false }, profile);
  // Tiles of a transposed factor are filled column by column.
  const rightVectors = right.transposed ? inner && tile.bk === 0 : columns;
  const vec = { ...plain, right: rightVectors };
  return { ...spec, tile, vec, output: outputOf(spec, vec.result ? 4 : 1) };
}

/** How the result is stored: as its op says, or as it is. */
function outputOf({ result }: Gemm, lanes: Lanes): Output {
  if ("output" in result) return result.output(lanes);
  const binding: Binding = { ...result.binding, element: element(lanes === 4) };
  return { binding, extra: [], module: [], finish: (v) => v };
}

interface Wanted {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly batch: number;
  /** Whether both factors are in vectors, as tiles in workgroup memory are. */
  readonly tiled: boolean;
  /** Whether the rows are listed by an earlier launch, in tiles of one height. */
  readonly listed: boolean;
}

/** How many rows more than the smallest tile a tile may compute in vain. */
const waste = 1.25;

/** The largest tile whose grid keeps the device busy, and whose height suits the rows. */
function chooseTile({ M, N, K, batch, tiled, listed }: Wanted, { tiles, minWorkgroups }: Profile): Tile {
  const last = tiles.at(-1) as Tile;
  const padded = ({ wy, tm }: Tile): number => Math.ceil(M / (wy * tm)) * wy * tm;
  const fewest = Math.min(...tiles.map(padded));
  const busy = ({ wx, wy, tm, tv }: Tile): boolean =>
    Math.ceil(M / (wy * tm)) * Math.ceil(N / (4 * wx * tv)) * batch >= minWorkgroups;
  const suits = (tile: Tile): boolean => {
    const { bk, split = 1 } = tile;
    // Where few blocks are all there is, more threads a block are what is left.
    if (split > 1) return !listed && K >= 8 * split;
    return (bk === 0 || (tiled && K >= bk)) && busy(tile) && padded(tile) <= waste * fewest;
  };
  const chosen = tiles.find(suits) ?? last;
  if (chosen.bk > 0 || listed) return chosen;
  // Rows that do not exist need no sums: as many blocks, as low as they can be.
  const blocks = Math.ceil(M / (chosen.wy * chosen.tm)) * chosen.wy;
  return { ...chosen, tm: Math.ceil(M / blocks) };
}
