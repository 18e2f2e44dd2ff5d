/** Family `reg`: a block of rows times four columns in each thread, straight from global memory; no barrier. */
import type { Tile } from "../profile.ts";
import {
  block,
  columnsOf,
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

/** The entry point's body. */
export function regBody(plan: Plan): string {
  const { M, N, tile, tiles, vec, right } = plan;
  const { wx, wy, tm, split } = tile;
  const rows = [...Array(tm).keys()];
  const limit = tiles ? "rows" : `${M}u`;
  const fits = !tiles && M % tm === 0 && !split;
  const inRange = (r: number): string => (fits ? plus("row", r) : `min(${plus("row", r)}, ${limit} - 1u)`);
  const own = (row: string): string => (tiles ? `first + ${row}` : row);
  const thread = wy === 1 ? "group.y" : `(group.y * ${wy}u + local.y)`;
  const columns = Math.ceil(N / 4);
  const stores = rows.flatMap((r) => {
    const stored = store(plan, `s${r}`, own(plus("row", r)), "c");
    const head = fits ? (vec.result ? undefined : "{") : `if (${plus("row", r)} < ${limit}) {`;
    return head ? [head, block(2, stored), "}"] : stored;
  });
  return block(2, [
    // Threads that meet at a barrier may not return before it.
    ...(split
      ? [`let column = group.x * ${wx}u + local.x;`, `let c = min(column, ${columns - 1}u);`]
      : [`let c = group.x * ${wx}u + local.x;`, `if (c >= ${columns}u) { return; }`]),
    ...(tiles ? [tiles.head, `let row = local.y * ${tm}u;`] : [`let row = ${thread} * ${tm}u;`]),
    ...(split ? [] : [`if (row >= ${limit}) { return; }`]),
    ...starts(plan),
    ...(vec.right && !right.transposed ? [] : columnsOf("c", N)),
    ...rows.map((r) => `let l${r} = ${leftRow(plan, own(inRange(r)))};`),
    ...rows.map((r) => `var s${r} = vec4f();`),
    ...innerLoop(plan, rows),
    ...(split
      ? [...gathered(tile, split, rows), `if (local.z > 0u || column >= ${columns}u) { return; }`]
      : []),
    ...stores,
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
function innerLoop(plan: Plan, rows: readonly number[]): string[] {
  const { K, vec, right } = plan;
  const { split } = plan.tile;
  const loop = (steps: number): string =>
    split
      ? `for (var k = local.z; k < ${steps}u; k += ${split}u) {`
      : `for (var k = 0u; k < ${steps}u; k++) {`;
  if (!vec.left) {
    const step = [
      `let b = ${rightColumns(plan, "k", "c")};`,
      ...rows.map((r) => `s${r} += left[l${r} + ${leftColumn(plan, "k")}] * b;`),
    ];
    return [loop(K), block(2, step), "}"];
  }
  const step = right.transposed ? dotStep : outerStep;
  const [vectors, rest] = [Math.floor(K / 4), K % 4];
  const last = rest ? step(plan, rows, `${vectors}u`, rest) : [];
  return [
    loop(vectors),
    block(2, step(plan, rows, "k", 4)),
    "}",
    ...(split && rest ? ["if (local.z == 0u) {", block(2, last), "}"] : last),
  ];
}

/** `count` inner steps from vector `k` on: each column of the left rows times a row of four of the right. */
function outerStep(plan: Plan, rows: readonly number[], k: string, count: number): string[] {
  return [
    ...times(count, (i) => `let b${i} = ${rightColumns(plan, plus(`4u * ${k}`, i), "c")};`),
    ...rows.map((r) => `let a${r} = left[l${r} + ${leftColumn(plan, k)}];`),
    ...rows.flatMap((r) => times(count, (i) => `s${r} += a${r}.${xyzw[i]} * b${i};`)),
  ];
}

/** The same for a right factor stored transposed: vectors lie along the inner axis of both factors. */
function dotStep(plan: Plan, rows: readonly number[], k: string, count: number): string[] {
  const part = (v: string): string => (count === 4 ? v : `${v}.${xyzw.slice(0, count)}`);
  const dot = (a: string, b: string): string =>
    count === 1 ? `${part(a)} * ${part(b)}` : `dot(${part(a)}, ${part(b)})`;
  return [
    ...times(4, (i) => `let b${i} = ${rightEntry(plan, `n${i}`, k)};`),
    ...rows.map((r) => `let a${r} = left[l${r} + ${leftColumn(plan, k)}];`),
    ...rows.map((r) => `s${r} += vec4f(${times(4, (i) => dot(`a${r}`, `b${i}`)).join(", ")});`),
  ];
}
