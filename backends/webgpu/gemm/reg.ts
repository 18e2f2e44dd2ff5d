/** Family `reg`: a block of rows times four columns in each thread, straight from global memory; no barrier. */
import type { Tile } from "../profile.ts";
import { block, named, plus, product, sum, times, xyzw } from "../wgsl.ts";
import {
  byRows,
  columnsOf,
  downFirst,
  leftRow,
  type Plan,
  rightColumns,
  rightEntry,
  startOf,
  starts,
  store,
} from "./description.ts";
import { haveRow, leftEntry, leftLoads, loadedRows } from "./regLeft.ts";
import { loopOverStrips } from "./regStrips.ts";

/** Declarations of what the threads that share an inner axis exchange. */
export const regMemory = ({ wx, wy, tm, split }: Tile): readonly string[] =>
  split ? [`var<workgroup> partial: array<vec4f, ${wx * wy * tm * split}>;`] : [];

/** What a kernel says of subgroups: that they are used, and that each is a workgroup, so that control flow is theirs. */
export const regDirectives = ({ broadcast, strips }: Tile): readonly string[] => [
  ...(broadcast ? ["enable subgroups;"] : []),
  ...(strips ? ["requires readonly_and_readwrite_storage_textures;"] : []),
  ...(broadcast ? ["diagnostic(off, subgroup_uniformity);"] : []),
];

/** WGSL for which workgroup it is across the result, and down. */
const axes = (plan: Plan): readonly [across: string, down: string] =>
  downFirst(plan) ? ["group.y", "group.x"] : ["group.x", "group.y"];

/** The entry point's body. */
export function regBody(plan: Plan): string {
  const { M, N, tile, tiles, vec, right } = plan;
  const { wx, wy, tm, tv, split, broadcast } = tile;
  const [rows, vectors] = [[...Array(tm).keys()], [...Array(tv).keys()]];
  const limit = tiles ? "rows" : `${M}u`;
  const fits = !tiles && M % tm === 0 && !split && !broadcast;
  // Threads that work together may not return one by one before they are done.
  const together = split !== undefined || broadcast === true;
  const own = (row: string): string => (tiles ? `first + ${row}` : row);
  const [x, y] = axes(plan);
  const thread = wy === 1 ? y : `(${y} * ${wy}u + local.y)`;
  const columns = Math.ceil(N / 4);
  const stores = broadcast
    ? storesInLoop(plan, limit, own)
    : rows.flatMap((r) => {
        const stored = store(plan, `s${r}`, own(plus("row", r)), "c");
        const head = fits ? (vec.result ? undefined : "{") : `if (${plus("row", r)} < ${limit}) {`;
        return head ? [head, block(2, stored), "}"] : stored;
      });
  return block(2, [
    ...(together
      ? [`let column = ${x} * ${wx * tv}u + local.x;`, `let c = min(column, ${columns - 1}u);`]
      : [`let c = ${x} * ${wx * tv}u + local.x;`, `if (c >= ${columns}u) { return; }`]),
    ...(tiles ? [tiles.head(y), `let row = local.y * ${tm}u;`] : [`let row = ${thread} * ${tm}u;`]),
    ...(split ? [] : [`if (row >= ${limit}) { return; }`]),
    ...starts(plan),
    ...(vec.right && !right.transposed ? [] : columnsOf("c", N)),
    ...loadedRows(tile).map(
      (row, i) => `let l${i} = ${leftRow(plan, own(fits ? row : `min(${row}, ${limit} - 1u)`))};`,
    ),
    ...rows.flatMap((r) => vectors.map((j) => `var ${named(`s${r}`, j)} = vec4f();`)),
    ...(right.strips ? [`let strip = ${sum(startOf("right", plan), product(x, right.strips.rows))};`] : []),
    ...byRows(plan, (some) => innerLoop({ ...plan, tile: { ...tile, tm: some } })),
    ...(split ? [...gathered(tile, split, rows), "if (local.z > 0u) { return; }"] : []),
    ...(together ? [`if (column >= ${columns}u) { return; }`] : []),
    ...stores,
  ]);
}

/**
 * Statements that store the sums one after the other: drivers that make loads dear make stores dear, too, and compile them
 * for as long as there are many.
 */
function storesInLoop(plan: Plan, limit: string, own: (row: string) => string): string[] {
  const { N, tile } = plan;
  const { wx, tm, tv } = tile;
  const columns = Math.ceil(N / 4);
  const sums = [...Array(tm).keys()].flatMap((r) => times(tv, (j) => named(`s${r}`, j)));
  const [row, column] = tv === 1 ? ["i", "c"] : [`i / ${tv}u`, `column + i % ${tv}u * ${wx}u`];
  return [
    `var sums = array(${sums.join(", ")});`,
    `for (var i = 0u; i < ${sums.length}u; i++) {`,
    block(2, [
      `let r = row + ${row};`,
      `if (r >= ${limit}) { break; }`,
      ...(tv > 1 ? [`let c = ${column};`] : []),
      ...(columns % (wx * tv) !== 0 && tv > 1 ? [`if (c >= ${columns}u) { continue; }`] : []),
      "let s = sums[i];",
      ...store(plan, "s", own("r"), "c"),
    ]),
    "}",
  ];
}

/** Statements that load the left factor at column `k`, and after each load those that `use` makes of its rows. */
function eachLoad(
  plan: Plan,
  k: string,
  use: (row: number, entry: (part: string) => string) => readonly string[],
): string[] {
  const { tile } = plan;
  const { wx, tm, broadcast } = tile;
  const used = (rows: readonly number[]): string[] =>
    rows.flatMap((r) => use(r, (part) => leftEntry(tile, r, part)));
  const [loads, rows] = [leftLoads(plan, k), [...Array(tm).keys()]];
  if (!broadcast) return [...loads, ...used(rows)];
  return loads.flatMap((load, i) => [load, ...used(rows.slice(i * wx, (i + 1) * wx))]);
}

/** Statements that add up the sums of the threads that share an inner axis, in their order, for the first of them. */
function gathered({ wx, wy, tm }: Tile, split: number, rows: readonly number[]): string[] {
  const own = wy === 1 ? "local.x" : `(local.y * ${wx}u + local.x)`;
  const at = (z: string, r: number): string =>
    `partial[${plus(`(${z} * ${wx * wy}u + ${own}) * ${tm}u`, r)}]`;
  return [
    ...rows.map((r) => `${at("local.z", r)} = s${r};`),
    "workgroupBarrier();",
    `for (var z = 1u; z < ${split}u && local.z == 0u; z++) {`,
    block(
      2,
      rows.map((r) => `s${r} += ${at("z", r)};`),
    ),
    "}",
  ];
}

/** Statements that add up the products of the thread's rows with its columns, over the inner axis. */
function innerLoop(plan: Plan): string[] {
  const { K, vec, tile, right } = plan;
  const { split } = tile;
  const have = haveRow(plan);
  const before = have ? [`let have = ${have};`] : [];
  if (right.strips) return [...before, ...loopOverStrips(plan, right.strips)];
  const loop = (steps: number): string =>
    split
      ? `for (var k = local.z; k < ${steps}u; k += ${split}u) {`
      : `for (var k = 0u; k < ${steps}u; k++) {`;
  if (!vec.left) {
    const step = [
      `let b = ${rightColumns(plan, "k", "c")};`,
      ...eachLoad(plan, "k", (r, entry) => [`s${r} += ${entry("")} * b;`]),
    ];
    return [...before, loop(K), block(2, step), "}"];
  }
  const [vectors, rest] = [Math.floor(K / 4), K % 4];
  const last = rest ? innerStep(plan, `${vectors}u`, rest) : [];
  return [
    ...before,
    loop(vectors),
    block(2, innerStep(plan, "k", 4)),
    "}",
    ...(split && rest ? ["if (local.z == 0u) {", block(2, last), "}"] : last),
  ];
}

/** `count` inner steps from vector `k` on: each column of the left rows times a row of four of the right. */
function innerStep(plan: Plan, k: string, count: number): string[] {
  const parts = times(count, (i) => `.${xyzw[i]}`);
  return [
    ...rightSteps(plan, k, count),
    ...eachLoad(plan, k, (r, entry) => parts.map((part, i) => `s${r} += ${entry(part)} * b${i};`)),
  ];
}

/** Statements that define `b0, ...`, four columns of the right factor at each of the steps. */
function rightSteps(plan: Plan, k: string, count: number): string[] {
  if (!plan.right.transposed)
    return times(count, (i) => `let b${i} = ${rightColumns(plan, plus(`4u * ${k}`, i), "c")};`);
  // Vectors lie along the inner axis of both factors there.
  return [
    ...times(4, (n) => `let c${n} = ${rightEntry(plan, `n${n}`, k)};`),
    ...times(count, (i) => `let b${i} = vec4f(${times(4, (n) => `c${n}.${xyzw[i]}`).join(", ")});`),
  ];
}
