/** What a matrix product is to the code generator, and the WGSL that both kernel families share. */
import type { Binding } from "../kernel.ts";
import type { Tile } from "../profile.ts";

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

/** Rows that an earlier launch has listed in tiles, instead of 0 .. M-1. */
export interface RowTiles {
  readonly height: number;
  /** The most tiles there can be: the height of the grid. */
  readonly bound: number;
  /** Statements that return for a tile without rows, or define `first`, its first row, and `rows`, their number. */
  readonly head: string;
}

export interface Gemm {
  readonly label: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  /** Number of products, `group.z` counts them; 1 by default. */
  readonly batch?: number;
  /** [M, K]; `row` is WGSL for which row of the matrix is row m of the factor. */
  readonly left: Matrix & { readonly row?: (m: string) => string };
  /** [K, N], or [N, K] when transposed. */
  readonly right: Matrix & { readonly transposed?: boolean };
  /** [M, N]. */
  readonly result: Matrix;
  /** [N], added to every row. */
  readonly bias?: Omit<Matrix, "stride">;
  /** WGSL for what becomes of four finished columns, a vec4f; themselves by default. */
  readonly finish?: (v: string) => string;
  readonly module?: string;
  readonly extra?: readonly Binding[];
  readonly tiles?: RowTiles;
}

/** A description with what follows from it. */
export interface Plan extends Gemm {
  readonly tile: Tile;
  /** Which matrices are accessed four elements at a time. */
  readonly vec: {
    readonly left: boolean;
    readonly right: boolean;
    readonly bias: boolean;
    readonly result: boolean;
  };
}

export const whole = (n: number): boolean => n % 4 === 0;

export const times = (n: number, f: (i: number) => string): string[] =>
  Array.from({ length: n }, (_, i) => f(i));

/** `code` with every line moved right. */
export const block = (margin: number, code: readonly string[]): string =>
  code
    .flatMap((part) => part.split("\n"))
    .filter((line) => line.trim())
    .map((line) => " ".repeat(margin) + line)
    .join("\n");

export const xyzw = "xyzw";

/** WGSL for where row `m` of the left factor starts, in its own units. */
export function leftRow({ left, vec }: Plan, m: string): string {
  const unit = vec.left ? 4 : 1;
  const row = left.row ? left.row(m) : m;
  return sum([left.start?.(unit), product(row, left.stride / unit)]);
}

export const sum = (terms: readonly (string | undefined)[]): string =>
  terms.filter(Boolean).join(" + ") || "0u";
export const product = (factor: string, n: number): string => (n === 1 ? factor : `(${factor}) * ${n}u`);

/** WGSL for entries (k, 4c .. 4c+3) of the right factor, as a vec4f; `n0 .. n3` are the columns, kept in range. */
export function rightColumns({ right, vec }: Plan, k: string, c: string): string {
  if (vec.right && !right.transposed) {
    return `right[${sum([right.start?.(4), product(k, right.stride / 4), c])}]`;
  }
  const at = (n: string): string =>
    right.transposed
      ? `right[${sum([right.start?.(1), product(n, right.stride), k])}]`
      : `right[${sum([right.start?.(1), product(k, right.stride), n])}]`;
  return `vec4f(${times(4, (i) => at(`n${i}`)).join(", ")})`;
}

/** Statements that define the columns `n0 .. n3` of vector column `c`, each kept in range. */
export const columnsOf = (c: string, N: number): string[] =>
  times(4, (i) => `let n${i} = ${whole(N) ? `4u * ${c} + ${i}u` : `min(4u * ${c} + ${i}u, ${N - 1}u)`};`);

/** Statements that finish the sum `s` of row `m` and vector column `c`, and store it. */
export function store({ N, bias, result, finish, vec }: Plan, s: string, m: string, c: string): string[] {
  const biasAt = (unit: number, n: string): string => `bias[${sum([bias?.start?.(unit), n])}]`;
  const shift = vec.bias
    ? biasAt(4, c)
    : `vec4f(${times(4, (i) => biasAt(1, `min(4u * ${c} + ${i}u, ${N - 1}u)`)).join(", ")})`;
  const value = bias ? `${s} + ${shift}` : s;
  const unit = vec.result ? 4 : 1;
  const row = sum([result.start?.(unit), product(m, result.stride / unit)]);
  if (vec.result) return [`result[${sum([row, c])}] = ${finish?.(value) ?? value};`];
  return [
    `let v = ${finish?.(value) ?? value};`,
    `let at = ${sum([row, `4u * ${c}`])};`,
    ...times(4, (i) => `if (4u * ${c} + ${i}u < ${N}u) { result[at + ${i}u] = v.${xyzw[i]}; }`),
  ];
}
