/** Family `tile`: tiles of both factors in workgroup memory, filled together while the last ones are multiplied; for GPUs. */
import { leftPitch, type Tile, tileVectors } from "../profile.ts";
import { block, plus, times, xyzw } from "../wgsl.ts";
import {
  byRows,
  columnsOf,
  leftColumn,
  leftRow,
  type Plan,
  rightColumns,
  starts,
  store,
} from "./description.ts";

/** Rows, and vectors across, of the block; vectors of the inner axis that are held, and threads that hold them. */
interface Sizes {
  readonly height: number;
  readonly width: number;
  readonly depth: number;
  readonly threads: number;
  /** Vectors between the inner steps of the left tile, which lies on its side. */
  readonly pitch: number;
  /** Where the right tile begins. */
  readonly right: number;
}

function sizesOf(tile: Tile): Sizes {
  const { wx, wy, tm, tv, bk, split = 1 } = tile;
  const pitch = leftPitch(tile);
  return {
    height: wy * tm,
    width: wx * tv,
    depth: bk / 4,
    threads: wx * wy * split,
    pitch,
    right: bk * pitch,
  };
}

/** Declares what is held: both tiles, later the sums of threads that share an inner axis. */
export const tileMemory = (tile: Tile): readonly string[] => [
  `var<workgroup> held: array<vec4f, ${tileVectors(tile)}>;`,
];

/** The entry point's body. */
export function tileBody(plan: Plan): string {
  const { tile, tiles } = plan;
  const { tm, tv, split } = tile;
  const { height, width, depth } = sizesOf(tile);
  const [left, right] = [leftUnits(plan), rightUnits(plan)];
  return block(2, [
    ...(tiles ? [tiles.head("group.y"), "let row0 = 0u;"] : [`let row0 = group.y * ${height}u;`]),
    `let column0 = group.x * ${width}u;`,
    ...starts(plan),
    ...left.places,
    ...right.places,
    ...times(tm * tv, (i) => `var s${i} = vec4f();`),
    ...stepsOf(plan),
    // What comes next is on its way while what is held is multiplied.
    `for (var k0 = begin; k0 < end + ${depth}u; k0 += ${depth}u) {`,
    block(2, [
      "if (k0 < end) {",
      block(2, [...left.load, ...right.load]),
      "}",
      "if (k0 > begin) {",
      block(
        2,
        byRows(plan, (rows) => multiply(tile, rows)),
      ),
      "}",
      "workgroupBarrier();",
      "if (k0 < end) {",
      block(2, [...left.keep, ...right.keep]),
      "}",
      "workgroupBarrier();",
    ]),
    "}",
    ...(split ? gathered(tile, split) : []),
    ...storeAll(plan),
  ]);
}

/** Statements that define `begin` and `end`, vectors of the inner axis: all, or a workgroup's own part of them. */
export function stepsOf({ K, tile: { bk, parts = 1 } }: Plan): string[] {
  const [depth, vectors] = [bk / 4, Math.ceil(K / 4)];
  if (parts === 1) return ["const begin = 0u;", `const end = ${vectors}u;`];
  const share = Math.ceil(vectors / parts / depth) * depth;
  return [`let begin = group.z * ${share}u;`, `let end = min(begin + ${share}u, ${vectors}u);`];
}

/** Statements by which the threads fill a tile: where each finds its share of it, how it loads that and how it keeps it. */
interface Units {
  readonly places: readonly string[];
  readonly load: readonly string[];
  readonly keep: readonly string[];
}

/** One unit of those that a thread has: its number as WGSL, and a condition where not all threads have it. */
interface Unit {
  readonly n: number;
  /** Units of all threads before. */
  readonly first: number;
  readonly i: string;
  readonly condition: string | undefined;
}

/** The units of a thread, where `threads` share `count`. */
export const unitsOf = (count: number, threads: number): readonly Unit[] =>
  Array.from({ length: Math.ceil(count / threads) }, (_, n) => {
    const first = n * threads;
    const i = n === 0 ? "lane" : `(${plus("lane", first)})`;
    return { n, first, i, condition: first + threads <= count ? undefined : `${i} < ${count}u` };
  });

/** `body` as a block of its own, for those threads that have the unit. */
const only = ({ condition }: Unit, body: readonly string[]): string[] => [
  condition ? `if (${condition}) {` : "{",
  block(2, body),
  "}",
];

/**
 * The left tile in units of four rows by four inner steps, turned on their way, so that four rows at an inner step are one
 * vector. Rows outside the matrix are its last one: nothing of theirs is stored.
 */
function leftUnits(plan: Plan): Units {
  const { M, K, tile, tiles } = plan;
  const { height, depth, threads, pitch } = sizesOf(tile);
  const vectors = K / 4;
  const last = tiles ? "rows - 1u" : `${M - 1}u`;
  const isInside = !tiles && M % height === 0;
  const units = unitsOf((height / 4) * depth, threads);
  const rowOf = ({ i }: Unit, r: number): string => {
    const row = plus(`row0 + ${i} / ${depth}u * 4u`, r);
    const inside = isInside ? row : `min(${row}, ${last})`;
    return tiles ? `first + ${inside}` : inside;
  };
  return {
    places: units.flatMap((unit) => [
      ...times(4, (r) => `let leftRow${unit.n}_${r} = ${leftRow(plan, rowOf(unit, r))};`),
      ...times(4, (r) => `var left${unit.n}_${r} = vec4f();`),
    ]),
    load: units.flatMap((unit) => {
      const { n, i } = unit;
      const at = (r: number, k: string): string => `left[leftRow${n}_${r} + ${leftColumn(plan, k)}]`;
      return only(unit, [
        `let k = k0 + ${i} % ${depth}u;`,
        ...times(4, (r) =>
          K % tile.bk === 0
            ? `left${n}_${r} = ${at(r, "k")};`
            : `left${n}_${r} = select(vec4f(), ${at(r, `min(k, ${vectors - 1}u)`)}, k < ${vectors}u);`,
        ),
      ]);
    }),
    keep: units.flatMap((unit) => {
      const { n, i } = unit;
      const turned = times(4, (c) => {
        const step = plus(`${i} % ${depth}u * 4u`, c);
        const rows = times(4, (r) => `left${n}_${r}.${xyzw[c]}`).join(", ");
        return `held[(${step}) * ${pitch}u + ${i} / ${depth}u] = vec4f(${rows});`;
      });
      return only(unit, turned);
    }),
  };
}

/** The right tile in vectors of columns. Columns outside the matrix are its last ones: nothing of theirs is stored. */
function rightUnits(plan: Plan): Units {
  const { N, K, tile, right } = plan;
  const { width, threads, right: start } = sizesOf(tile);
  const columns = Math.ceil(N / 4);
  const units = unitsOf(tile.bk * width, threads);
  return {
    places: units.flatMap(({ n, i }) => {
      const c = `column0 + ${i} % ${width}u`;
      return [
        `let rightColumn${n} = ${columns % width === 0 ? c : `min(${c}, ${columns - 1}u)`};`,
        `var right${n} = vec4f();`,
      ];
    }),
    load: units.flatMap((unit) => {
      const { n, i } = unit;
      const k = `4u * k0 + ${i} / ${width}u`;
      return only(unit, [
        `let k = ${K % tile.bk === 0 ? k : `min(${k}, ${K - 1}u)`};`,
        ...(right.transposed ? columnsOf(`rightColumn${n}`, N) : []),
        `right${n} = ${rightColumns(plan, "k", `rightColumn${n}`)};`,
      ]);
    }),
    keep: units.flatMap((unit) =>
      only(unit, [`held[${plus("lane", unit.first + start)}] = right${unit.n};`]),
    ),
  };
}

/** Statements that add the products of what is held to the sums of the thread's first `tm` rows, of its own part of the steps. */
function multiply(tile: Tile, tm: number): string[] {
  const { wx, wy, tv, bk, split = 1 } = tile;
  const { width, pitch, right } = sizesOf(tile);
  const share = bk / split;
  const stepAt = (i: string): string => (split === 1 ? i : `local.z * ${share}u + ${i}`);
  const vectors = (k: string): [string, string][] => [
    ...[...Array(tv).keys()].map((j): [string, string] => {
      return [`b${j}`, `held[${k} * ${width}u + ${plus("local.x", right + j * wx)}]`];
    }),
    ...[...Array(tm / 4).keys()].map((v): [string, string] => {
      return [`a${v}`, `held[${k} * ${pitch}u + ${plus("local.y", v * wy)}]`];
    }),
  ];
  const sums = times(tm * tv, (n) => {
    const [r, j] = [Math.floor(n / tv), n % tv];
    return `s${n} = fma(vec4f(a${Math.floor(r / 4)}.${xyzw[r % 4]}), b${j}, s${n});`;
  });
  if (tv > 1) {
    const loads = vectors("k").map(([name, value]) => `let ${name} = ${value};`);
    return [
      `for (var i = 0u; i < ${share}u; i++) {`,
      block(2, [`let k = ${stepAt("i")};`, ...loads, ...sums]),
      "}",
    ];
  }
  // Threads with few sums wait less where the next step's vectors are loaded before.
  const [first, next] = [vectors("start"), vectors("k")];
  return [
    `let start = ${stepAt("0u")};`,
    ...first.map(([name, value]) => `var ${name} = ${value};`),
    `for (var i = 1u; i < ${share}u; i++) {`,
    block(2, [
      `let k = ${stepAt("i")};`,
      ...next.map(([name, value]) => `let next_${name} = ${value};`),
      ...sums,
      ...next.map(([name]) => `${name} = next_${name};`),
    ]),
    "}",
    ...sums,
  ];
}

/** Statements that add up the sums of the threads that share an inner axis, half of them to the other half at a time. */
function gathered({ wx, wy, tm, tv }: Tile, split: number): string[] {
  const [threads, sums] = [wx * wy, tm * tv];
  const at = (z: string, n: number): string =>
    `held[(${plus(`${z} * ${sums}u`, n)}) * ${threads}u + lane % ${threads}u]`;
  const rounds = Array.from({ length: Math.log2(split) }, (_, i) => split / 2 ** (i + 1));
  return [
    ...rounds.flatMap((half, i) => [
      `if (local.z >= ${half}u && local.z < ${2 * half}u) {`,
      block(
        2,
        times(sums, (n) => `${at(`(local.z - ${half}u)`, n)} = s${n};`),
      ),
      "}",
      "workgroupBarrier();",
      `if (local.z < ${half}u) {`,
      block(
        2,
        times(sums, (n) => `s${n} += ${at("local.z", n)};`),
      ),
      "}",
      ...(i < rounds.length - 1 ? ["workgroupBarrier();"] : []),
    ]),
    "if (local.z > 0u) { return; }",
  ];
}

/** Statements that store the thread's block, as far as it lies in the result. */
function storeAll(plan: Plan): string[] {
  const { M, N, tile, tiles } = plan;
  const { wx, wy, tm, tv } = tile;
  const columns = Math.ceil(N / 4);
  return times(tm, (r) => {
    const row = plus(
      `row0 + 4u * ${r < 4 ? "local.y" : `(${plus("local.y", Math.floor(r / 4) * wy)})`}`,
      r % 4,
    );
    return block(0, [
      `if (${row} < ${tiles ? "rows" : `${M}u`}) {`,
      block(2, [
        `let m = ${tiles ? "first + " : ""}${row};`,
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
  });
}
