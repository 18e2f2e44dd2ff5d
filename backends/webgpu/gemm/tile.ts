/** Family `tile`: tiles of both factors in workgroup memory, filled together; for GPUs. */
import type { Tile } from "../profile.ts";
import {
  block,
  columnsOf,
  leftColumn,
  leftRow,
  type Plan,
  plus,
  rightColumns,
  starts,
  store,
  times,
  xyzw,
} from "./description.ts";

/** Declarations of the tiles. */
export const tileMemory = ({ wx, wy, tm, tv, bk }: Tile): readonly string[] => [
  `var<workgroup> leftTile: array<vec4f, ${(wy * tm * bk) / 4}>;`,
  `var<workgroup> rightTile: array<vec4f, ${bk * wx * tv}>;`,
];

/** The entry point's body. */
export function tileBody(plan: Plan): string {
  const { tile, tiles } = plan;
  const { wx, wy, tm, tv, bk } = tile;
  const depth = bk / 4;
  return block(2, [
    ...(tiles ? [tiles.head("group.y"), "let row0 = 0u;"] : [`let row0 = group.y * ${wy * tm}u;`]),
    `let column0 = group.x * ${wx * tv}u;`,
    ...starts(plan),
    ...times(tm * tv, (i) => `var s${i} = vec4f();`),
    innerLoop(plan),
    block(2, [
      ...fill(plan, { threads: wx * wy, height: wy * tm, width: wx * tv }),
      "workgroupBarrier();",
      `for (var q = 0u; q < ${depth}u; q++) {`,
      block(2, multiply(tile)),
      "}",
      "workgroupBarrier();",
    ]),
    "}",
    ...storeAll(plan),
  ]);
}

/** The head of the loop over vectors of the inner axis, as many at a time as are held; over a workgroup's own part of it. */
export function innerLoop({ K, tile: { bk, parts = 1 } }: Plan): string {
  const [depth, vectors] = [bk / 4, Math.ceil(K / 4)];
  const share = Math.ceil(vectors / parts / depth) * depth;
  const [from, to] =
    parts === 1
      ? ["0u", `${vectors}u`]
      : [`group.z * ${share}u`, `min((group.z + 1u) * ${share}u, ${vectors}u)`];
  return `for (var k0 = ${from}; k0 < ${to}; k0 += ${depth}u) {`;
}

/** How tiles lie in workgroup memory. */
interface Held {
  readonly threads: number;
  /** Rows of the left tile, vectors across the right one. */
  readonly height: number;
  readonly width: number;
  /** Vectors after each row; 0 by default. */
  readonly padding?: number;
  /** WGSL for a vector as it is held; itself by default. */
  readonly as?: (v: string) => string;
}

/** `v = value;` under those of the conditions that can fail. */
const guarded = (value: string, ...conditions: readonly string[]): string[] => {
  const needed = conditions.filter(Boolean);
  return needed.length === 0
    ? [`let v = ${value};`]
    : ["var v = vec4f();", `if (${needed.join(" && ")}) { v = ${value}; }`];
};

/** Statements that fill both tiles, every thread a share; what lies outside the matrices is zero. */
export function fill(plan: Plan, { threads, height, width, padding = 0, as = (v) => v }: Held): string[] {
  const { M, N, K, tile, tiles, right } = plan;
  const { bk } = tile;
  const depth = bk / 4;
  const columns = Math.ceil(N / 4);
  const rowGuard = tiles ? "r < rows" : M % height ? `r < ${M}u` : "";
  const left = `left[${leftRow(plan, tiles ? "first + r" : "r")} + ${leftColumn(plan, "k")}]`;
  const place = (row: number): string => (padding ? `i + i / ${row}u * ${padding}u` : "i");
  return [
    `for (var i = lane; i < ${height * depth}u; i += ${threads}u) {`,
    block(2, [
      `let r = row0 + i / ${depth}u;`,
      `let k = k0 + i % ${depth}u;`,
      ...guarded(left, rowGuard, K % bk ? `k < ${K / 4}u` : ""),
      `leftTile[${place(depth)}] = ${as("v")};`,
    ]),
    "}",
    `for (var i = lane; i < ${bk * width}u; i += ${threads}u) {`,
    block(2, [
      `let k = 4u * k0 + i / ${width}u;`,
      `let c = column0 + i % ${width}u;`,
      ...(right.transposed ? columnsOf("c", N) : []),
      ...guarded(
        rightColumns(plan, "k", "c"),
        columns % width ? `c < ${columns}u` : "",
        K % bk ? `k < ${K}u` : "",
      ),
      `rightTile[${place(width)}] = ${as("v")};`,
    ]),
    "}",
  ];
}

/** Statements for four inner steps: the thread's rows times its columns. */
function multiply({ wx, tm, tv, bk }: Tile): string[] {
  const [width, depth] = [wx * tv, bk / 4];
  return [
    ...times(4 * tv, (i) => {
      const step = plus("4u * q", Math.floor(i / tv));
      const row = step.includes("+") ? `(${step})` : step;
      return `let b${i} = rightTile[${row} * ${width}u + ${plus("local.x", (i % tv) * wx)}];`;
    }),
    ...[...Array(tm).keys()].flatMap((r) => [
      `let a${r} = leftTile[(${plus(`local.y * ${tm}u`, r)}) * ${depth}u + q];`,
      ...times(
        tv,
        (j) => `s${r * tv + j} += ${times(4, (i) => `a${r}.${xyzw[i]} * b${i * tv + j}`).join(" + ")};`,
      ),
    ]),
  ];
}

/** Statements that store the thread's block, as far as it lies in the result. */
function storeAll(plan: Plan): string[] {
  const { M, N, tile, tiles } = plan;
  const { wx, tm, tv } = tile;
  const columns = Math.ceil(N / 4);
  return [...Array(tm).keys()].flatMap((r) => [
    `if (${plus(`row0 + local.y * ${tm}u`, r)} < ${tiles ? "rows" : `${M}u`}) {`,
    block(2, [
      `let m = ${tiles ? "first + " : ""}${plus(`row0 + local.y * ${tm}u`, r)};`,
      ...times(tv, (j) =>
        [
          `let c${j} = ${plus("column0 + local.x", j * wx)};`,
          `if (c${j} < ${columns}u) {`,
          block(2, store(plan, `s${r * tv + j}`, "m", `c${j}`)),
          "}",
        ].join("\n"),
      ),
    ]),
    "}",
  ]);
}
