/** What a matrix product is to the code generator, and the WGSL that both kernel families share. */
import type { Binding, Lanes, LaunchedProduct, Output, Rows } from "../kernel.ts";
import { type Product, rowLoops, type Tile } from "../profile.ts";
import type { Strips } from "../strips.ts";
import { block, plus, product, sum, times, xyzw } from "../wgsl.ts";
import type { Listing } from "./choice.ts";
import type { Narrow } from "./storage.ts";

/** A matrix in a buffer, row-major. */
export interface Matrix {
  readonly binding: Omit<Binding, "element">;
  /** Elements between neighbouring rows. */
  readonly stride: number;
  /** WGSL for where the matrix starts, counted in `unit` elements; 0 by default. */
  readonly start?: (unit: number) => string;
  /** Whether it always starts at a multiple of 4 elements; true by default. */
  readonly aligned?: boolean;
}

/**
 * Rows that an earlier launch has listed in tiles, instead of 0 .. M-1. Where workgroups share the inner axis of a tile,
 * `group.z` counts them: the result then has the sums of each, the first with the bias, for a reader to add up.
 */
export interface RowTiles extends Listing {
  /** Experts whose rows they are. */
  readonly experts: number;
  /** The most rows there can be. */
  readonly rows: number;
  /** The most tiles there can be: the height of the grid. */
  readonly bound: number;
  /** Statements that return for a tile without rows, or define `first`, its first row, and `rows`, their number. */
  readonly head: (tile: string) => string;
}

export interface Gemm {
  readonly label: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  /** Number of products, `group.z` counts them; 1 by default. */
  readonly batch?: number;
  /** [M, K]; `row` is WGSL for which row of the matrix is row m of the factor, `places` says where else rows lie. */
  readonly left: Matrix & { readonly row?: (m: string) => string; readonly places?: Rows };
  /**
   * [K, N], or [N, K] when transposed; `narrow` says how it is stored, where that is not as f32, and `strips` how it lies in
   * strips, started in rows of the image; those are never transposed.
   */
  readonly right: Matrix & {
    readonly transposed?: boolean;
    /** Bits in which an element is stored; 32 by default. */
    readonly bits?: Product["bits"];
    readonly narrow?: Narrow;
    readonly strips?: Strips;
  };
  /** [M, N]: a buffer, or the result of an op. */
  readonly result: Matrix | (Omit<Matrix, "binding"> & { readonly output: (lanes: Lanes) => Output });
  /** [N], added to every row. */
  readonly bias?: Omit<Matrix, "stride">;
  /** WGSL for what becomes of four finished columns, a vec4f, before they are stored; themselves by default. */
  readonly finish?: (v: string) => string;
  readonly module?: string | readonly string[];
  readonly extra?: readonly Binding[];
  /** See `LaunchedProduct.samples`. */
  readonly samples?: LaunchedProduct["samples"];
  readonly tiles?: RowTiles;
}

/** A description with what follows from it. */
export interface Plan extends Gemm {
  readonly tile: Tile;
  /** Where the result goes, in vectors where they are `vec.result`. */
  readonly output: Output;
  /** Which matrices are accessed four elements at a time. */
  readonly vec: {
    readonly left: boolean;
    readonly right: boolean;
    readonly bias: boolean;
    readonly result: boolean;
  };
}

/**
 * Whether neighbouring workgroups are neighbours down the result: then a strip of the right factor is read for all rows
 * before the next one. Not where each block of rows has a right factor of its own.
 */
export const downFirst = ({ tile, tiles, M }: Pick<Plan, "tile" | "tiles" | "M">): boolean =>
  tile.broadcast === true && (!tiles || M > tiles.height);

/**
 * A thread's loop over the inner axis, made by `loop` for a number of its rows; where rows are listed one for each number of
 * `rowLoops`, of which a tile takes the lowest that has its rows.
 */
export function byRows({ tile, tiles }: Plan, loop: (rows: number) => readonly string[]): readonly string[] {
  const { wy, tm } = tile;
  const loops = rowLoops(tile);
  if (!tiles || loops.length === 1) return loop(tm);
  const branches = loops.map((rows, i) => {
    const fewer = loops[i + 1];
    const condition = fewer === undefined ? "" : `if (rows > ${fewer}u) `;
    return `${condition}{\n${block(2, loop(rows / wy))}\n}`;
  });
  return [branches.join(" else ")];
}

export const whole = (n: number): boolean => n % 4 === 0;

/** Statements that say once where each matrix starts, for those that do not start at 0. */
export function starts({ left, right, result, bias, vec }: Plan): string[] {
  const ofMatrices = Object.entries({ left, right, result, bias }).flatMap(([name, matrix]) => {
    const start = matrix?.start?.(vec[name as keyof Plan["vec"]] ? 4 : 1);
    return start ? [`let ${name}Start = ${start};`] : [];
  });
  const scales = right.narrow?.scales?.start?.(vec.right ? 4 : 1);
  return scales ? [...ofMatrices, `let scalesStart = ${scales};`] : ofMatrices;
}

/** The name that `starts` gives to where a matrix starts; undefined for one that starts at 0. */
export const startOf = (name: keyof Plan["vec"], plan: Plan): string | undefined =>
  plan[name]?.start?.(1) ? `${name}Start` : undefined;

/** WGSL for where row `m` of the left factor starts, in its own units. */
export function leftRow(plan: Plan, m: string): string {
  const { left, vec } = plan;
  const row = left.row ? left.row(m) : m;
  if (left.places) return left.places.row(`(${row})`, vec.left ? 4 : 1);
  return sum(startOf("left", plan), product(row, left.stride / (vec.left ? 4 : 1)));
}

/** WGSL for where column `k` of the left factor lies in its row, in its own units. */
export function leftColumn({ left, vec }: Plan, k: string): string {
  return left.places ? left.places.column(k, vec.left ? 4 : 1) : k;
}

/** WGSL for element (or vector) `at` of row `row` of the right factor's array. */
export function rightEntry(plan: Plan, row: string, at: string): string {
  const { narrow, stride } = plan.right;
  const index = sum(startOf("right", plan), product(row, stride / (plan.vec.right ? 4 : 1)), at);
  if (!narrow) return `right[${index}]`;
  if (!narrow.scales) return `rightAt(${index})`;
  const blockOfRow = `${/^\w+$/.test(row) ? row : `(${row})`} / ${narrow.scales.block}u`;
  return `rightAt(${index}) * ${scaleEntry(plan, narrow.scales, blockOfRow, at)}`;
}

/** WGSL for element (or vector) `at` of what block `rows` of the right factor's rows is multiplied by. */
export function scaleEntry(
  { vec }: Plan,
  { stride, start }: NonNullable<Narrow["scales"]>,
  rows: string,
  at: string,
): string {
  return `scales[${sum(start && "scalesStart", product(rows, stride / (vec.right ? 4 : 1)), at)}]`;
}

/** WGSL for entries (k, 4c .. 4c+3) of the right factor, as a vec4f; see `columnsOf`. */
export function rightColumns(plan: Plan, k: string, c: string): string {
  const { right, vec } = plan;
  if (vec.right && !right.transposed) return rightEntry(plan, k, c);
  const entries = times(4, (i) =>
    right.transposed ? rightEntry(plan, `n${i}`, k) : rightEntry(plan, k, `n${i}`),
  );
  return `vec4f(${entries.join(", ")})`;
}

/** Statements that define the columns `n0 .. n3` of vector column `c`, each kept in range. */
export const columnsOf = (c: string, N: number): string[] =>
  times(
    4,
    (i) => `let n${i} = ${whole(N) ? plus(`4u * ${c}`, i) : `min(${plus(`4u * ${c}`, i)}, ${N - 1}u)`};`,
  );

/** Statements that finish the sum `s` of row `m` and vector column `c`, and store it. */
export function store(plan: Plan, s: string, m: string, c: string): string[] {
  const { N, bias, result, output, vec } = plan;
  const biasAt = (n: string): string => `bias[${sum(startOf("bias", plan), n)}]`;
  const scalars = times(4, (i) => biasAt(`min(${plus(`4u * ${c}`, i)}, ${N - 1}u)`));
  const shift = vec.bias ? biasAt(c) : `vec4f(${scalars.join(", ")})`;
  const own = plan.tiles && plan.tiles.parts > 1 ? `select(vec4f(), ${shift}, group.z == 0u)` : shift;
  const full = bias ? `${s} + ${own}` : s;
  const value = plan.finish?.(full) ?? full;
  const row = sum(startOf("result", plan), product(m, result.stride / (vec.result ? 4 : 1)));
  if (vec.result) {
    const at = sum(row, c);
    return [`result[${at}] = ${output.finish(value, at)};`];
  }
  const each = times(4, (i) => {
    const at = plus("at", i);
    return `if (${plus(`4u * ${c}`, i)} < ${N}u) { result[${at}] = ${output.finish(`v.${xyzw[i]}`, at)}; }`;
  });
  return [`let v = ${value};`, `let at = ${sum(row, `4u * ${c}`)};`, ...each];
}
