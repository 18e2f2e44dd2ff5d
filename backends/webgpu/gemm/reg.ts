/** Family `reg`: a block of rows times four columns in each thread, straight from global memory; no barrier. */
import type { Tile } from "../profile.ts";
import {
  block,
  columnsOf,
  downFirst,
  leftColumn,
  leftRow,
  type Plan,
  plus,
  rightColumns,
  rightEntry,
  starts,
  store,
  times,
  xyzw,
} from "./description.ts";

/** Declarations of what the threads that share an inner axis exchange. */
export const regMemory = ({ wx, wy, tm, split }: Tile): readonly string[] =>
  split ? [`var<workgroup> partial: array<vec4f, ${wx * wy * tm * split}>;`] : [];

/** What a kernel says of subgroups: that they are used, and that each is a workgroup, so that control flow is theirs. */
export const regDirectives = ({ broadcast }: Tile): readonly string[] =>
  broadcast ? ["enable subgroups;", "diagnostic(off, subgroup_uniformity);"] : [];

/** WGSL for which workgroup it is across the result, and down. */
const axes = (plan: Plan): readonly [across: string, down: string] =>
  downFirst(plan) ? ["group.y", "group.x"] : ["group.x", "group.y"];

/** The entry point's body. */
export function regBody(plan: Plan): string {
  const { M, N, tile, tiles, vec, right } = plan;
  const { wx, wy, tm, split, broadcast } = tile;
  const rows = [...Array(tm).keys()];
  const limit = tiles ? "rows" : `${M}u`;
  const fits = !tiles && M % tm === 0 && !split && !broadcast;
  // Threads that work together may not return one by one before they are done.
  const together = split !== undefined || broadcast === true;
  const own = (row: string): string => (tiles ? `first + ${row}` : row);
  const [x, y] = axes(plan);
  const thread = wy === 1 ? y : `(${y} * ${wy}u + local.y)`;
  const columns = Math.ceil(N / 4);
  const stores = rows.flatMap((r) => {
    const stored = store(plan, `s${r}`, own(plus("row", r)), "c");
    const head = fits ? (vec.result ? undefined : "{") : `if (${plus("row", r)} < ${limit}) {`;
    return head ? [head, block(2, stored), "}"] : stored;
  });
  return block(2, [
    ...(together
      ? [`let column = ${x} * ${wx}u + local.x;`, `let c = min(column, ${columns - 1}u);`]
      : [`let c = ${x} * ${wx}u + local.x;`, `if (c >= ${columns}u) { return; }`]),
    ...(tiles ? [tiles.head(y), `let row = local.y * ${tm}u;`] : [`let row = ${thread} * ${tm}u;`]),
    ...(split ? [] : [`if (row >= ${limit}) { return; }`]),
    ...starts(plan),
    ...(vec.right && !right.transposed ? [] : columnsOf("c", N)),
    ...loadedRows(tile).map(
      (row, i) => `let l${i} = ${leftRow(plan, own(fits ? row : `min(${row}, ${limit} - 1u)`))};`,
    ),
    ...rows.map((r) => `var s${r} = vec4f();`),
    ...innerLoop(plan),
    ...(split ? [...gathered(tile, split, rows), "if (local.z > 0u) { return; }"] : []),
    ...(together ? [`if (column >= ${columns}u) { return; }`] : []),
    ...stores,
  ]);
}

/** Rows of the left factor that a thread loads: those of its sums; or one for each thread, all of which get all. */
const loadedRows = ({ wx, tm, broadcast }: Tile): string[] =>
  broadcast
    ? times(Math.ceil(tm / wx), (i) => `${plus("row", i * wx)} + member`)
    : times(tm, (r) => plus("row", r));

/** Statements that load the left factor at column `k`, and after each load those that `use` makes of its rows. */
function eachLoad(
  { tile: { wx, tm, broadcast } }: Plan,
  load: (i: number) => string,
  use: (row: number, entry: (part: string) => string) => readonly string[],
): string[] {
  const rows = [...Array(tm).keys()];
  if (!broadcast) return [...rows.map(load), ...rows.flatMap((r) => use(r, (part) => `a${r}${part}`))];
  const loads = [...Array(Math.ceil(tm / wx)).keys()];
  return loads.flatMap((i) => [
    load(i),
    ...rows
      .slice(i * wx, (i + 1) * wx)
      .flatMap((r) => use(r, (part) => `subgroupBroadcast(a${i}${part}, ${r % wx}u)`)),
  ]);
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
  const { K, vec, tile } = plan;
  const { split } = tile;
  const loop = (steps: number): string =>
    split
      ? `for (var k = local.z; k < ${steps}u; k += ${split}u) {`
      : `for (var k = 0u; k < ${steps}u; k++) {`;
  if (!vec.left) {
    const step = [
      `let b = ${rightColumns(plan, "k", "c")};`,
      ...eachLoad(
        plan,
        (i) => `let a${i} = left[l${i} + ${leftColumn(plan, "k")}];`,
        (r, entry) => [`s${r} += ${entry("")} * b;`],
      ),
    ];
    return [loop(K), block(2, step), "}"];
  }
  const [vectors, rest] = [Math.floor(K / 4), K % 4];
  const early = readsEarly(plan);
  const last = rest ? innerStep(plan, `${vectors}u`, rest) : [];
  return [
    ...(early ? ["var early = 0.0;"] : []),
    loop(vectors),
    block(2, [...(early ? [`early = max(early, ${nextLine(plan)}.x);`] : []), ...innerStep(plan, "k", 4)]),
    "}",
    // Never so: it keeps a compiler from leaving the loads out.
    ...(early ? ["if (early < 0.0) { return; }"] : []),
    ...(split && rest ? ["if (local.z == 0u) {", block(2, last), "}"] : last),
  ];
}

/** Vectors of a cache line, which a processor fetches at once. */
const lineVectors = 4;

/**
 * Whether the threads of a subgroup read, a step early, a vector of each line that the next one takes of the right factor:
 * its rows lie so far apart that no processor foresees them, and with few blocks of rows most are not in its caches.
 */
const readsEarly = ({ M, tile: { wx, tm, broadcast }, right, vec }: Plan): boolean =>
  broadcast === true &&
  wx % lineVectors === 0 &&
  vec.right &&
  !right.transposed &&
  !right.narrow &&
  Math.ceil(M / tm) <= 2;

/** WGSL for the vector that a thread reads early. */
function nextLine(plan: Plan): string {
  const { N, K, tile } = plan;
  const lines = tile.wx / lineVectors;
  const row = `min(4u * k + 4u + member / ${lines}u, ${K - 1}u)`;
  const at = `min(${axes(plan)[0]} * ${tile.wx}u + member % ${lines}u * ${lineVectors}u, ${Math.ceil(N / 4) - 1}u)`;
  return rightEntry(plan, `(${row})`, at);
}

/** `count` inner steps from vector `k` on: each column of the left rows times a row of four of the right. */
function innerStep(plan: Plan, k: string, count: number): string[] {
  return [
    ...rightSteps(plan, k, count),
    ...eachLoad(
      plan,
      (i) => `let a${i} = left[l${i} + ${leftColumn(plan, k)}];`,
      (r, entry) => times(count, (i) => `s${r} += ${entry(`.${xyzw[i]}`)} * b${i};`),
    ),
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
