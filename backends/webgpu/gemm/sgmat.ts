/** Family `sgmat`: subgroups multiply matrices held in workgroup memory by an instruction of their own; an unsafe feature. */
import { rowPadding, type SubgroupMatrix, type Tile } from "../profile.ts";
import { block, guarded, times } from "../wgsl.ts";
import { columnsOf, leftColumn, leftRow, type Plan, rightColumns, starts, store } from "./description.ts";
import { stepsOf, unitsOf } from "./tile.ts";

/** A tile whose subgroups multiply matrices. */
export type MatrixTile = Tile & { readonly matrix: SubgroupMatrix };

/** Vectors after each row of what is held. */
const padding = rowPadding / 4;

/** Rows, and vectors across, of the block and of one subgroup's share of it; threads and subgroups. */
function sizesOf({ wx, wy, tm, tv, bk, matrix }: MatrixTile): {
  readonly [
    name in "threads" | "subgroups" | "height" | "width" | "ownHeight" | "ownWidth" | "depth"
  ]: number;
} {
  const [ownHeight, ownWidth] = [tm * matrix.M, (tv * matrix.N) / 4];
  return {
    threads: wx * wy * matrix.subgroup,
    subgroups: wx * wy,
    height: wy * ownHeight,
    width: wx * ownWidth,
    ownHeight,
    ownWidth,
    depth: bk / 4,
  };
}

/** What the module begins with. */
export const sgmatDirectives = ({ matrix }: MatrixTile): readonly string[] => [
  ...(matrix.component === "f16" ? ["enable f16;"] : []),
  "enable subgroups;",
  "enable subgroup_size_control;",
  "enable chromium_experimental_subgroup_matrix;",
  // A subgroup's number decides where it reads, which the analysis takes for a difference within it.
  "diagnostic(off, chromium.subgroup_matrix_uniformity);",
];

/** Declarations of the tiles of both factors, and of one matrix of each subgroup's results. */
export function sgmatMemory(tile: MatrixTile): readonly string[] {
  const { bk, matrix } = tile;
  const { subgroups, height, width, depth } = sizesOf(tile);
  const vector = matrix.component === "f16" ? "vec4<f16>" : "vec4f";
  return [
    `var<workgroup> leftTile: array<${vector}, ${height * (depth + padding)}>;`,
    `var<workgroup> rightTile: array<${vector}, ${bk * (width + padding)}>;`,
    `var<workgroup> resultTile: array<vec4f, ${(subgroups * matrix.M * matrix.N) / 4}>;`,
  ];
}

/** The entry point's body. */
export function sgmatBody(plan: Plan, tile: MatrixTile): string {
  const { tiles } = plan;
  const { wx, tm, tv, matrix } = tile;
  const { height, width, depth, ownHeight, ownWidth } = sizesOf(tile);
  const { M, N } = matrix;
  return block(2, [
    ...(tiles ? [tiles.head("group.y"), "let row0 = 0u;"] : [`let row0 = group.y * ${height}u;`]),
    `let column0 = group.x * ${width}u;`,
    ...starts(plan),
    `let ownRow = subgroup / ${wx}u * ${ownHeight}u;`,
    `let ownColumn = subgroup % ${wx}u * ${ownWidth}u;`,
    `var sums: array<subgroup_matrix_result<f32, ${N}, ${M}>, ${tm * tv}>;`,
    ...stepsOf(plan),
    `for (var k0 = begin; k0 < end; k0 += ${depth}u) {`,
    block(2, [...fill(plan, tile), "workgroupBarrier();", ...multiply(tile), "workgroupBarrier();"]),
    "}",
    ...times(tm * tv, (i) => block(0, storeOne(plan, tile, i))),
  ]);
}

/** Where vector `i` of a tile lies, of which `row` are in a row. */
const place = (i: string, row: number): string => `${i} + ${i} / ${row}u * ${padding}u`;

/** Statements that declare `name`, and make it `value`, of which `before` are parts, where all that is needed holds. */
const loaded = (
  name: string,
  value: string,
  before: readonly string[],
  needed: readonly (string | undefined)[],
): string[] => [
  `var ${name} = vec4f();`,
  "{",
  block(2, [...before, guarded(needed.filter(Boolean).join(" && "), `${name} = ${value};`)]),
  "}",
];

/**
 * Statements that fill both tiles, every thread a share, all of which is on its way before any is kept; what lies outside the
 * matrices is zero.
 */
function fill(plan: Plan, tile: MatrixTile): string[] {
  const { M, N, K, tiles, right } = plan;
  const { bk, matrix } = tile;
  const { threads, height, width, depth } = sizesOf(tile);
  const as = (v: string): string => (matrix.component === "f16" ? `vec4<f16>(${v})` : v);
  const columns = Math.ceil(N / 4);
  const [lefts, rights] = [unitsOf(height * depth, threads), unitsOf(bk * width, threads)];
  return [
    ...lefts.flatMap(({ n, i, condition }) =>
      loaded(
        `left${n}`,
        `left[${leftRow(plan, tiles ? "first + r" : "r")} + ${leftColumn(plan, "k")}]`,
        [`let r = row0 + ${i} / ${depth}u;`, `let k = k0 + ${i} % ${depth}u;`],
        [
          condition,
          tiles ? "r < rows" : M % height ? `r < ${M}u` : undefined,
          K % bk ? `k < ${K / 4}u` : undefined,
        ],
      ),
    ),
    ...rights.flatMap(({ n, i, condition }) =>
      loaded(
        `right${n}`,
        rightColumns(plan, "k", "c"),
        [
          `let k = 4u * k0 + ${i} / ${width}u;`,
          `let c = column0 + ${i} % ${width}u;`,
          ...(right.transposed ? columnsOf("c", N) : []),
        ],
        [condition, columns % width ? `c < ${columns}u` : undefined, K % bk ? `k < ${K}u` : undefined],
      ),
    ),
    ...lefts.map(({ n, i, condition }) =>
      guarded(condition, `leftTile[${place(i, depth)}] = ${as(`left${n}`)};`),
    ),
    ...rights.map(({ n, i, condition }) =>
      guarded(condition, `rightTile[${place(i, width)}] = ${as(`right${n}`)};`),
    ),
  ];
}

/** Statements that add the products of what is held to the subgroup's sums. */
function multiply(tile: MatrixTile): string[] {
  const { tm, tv, bk, matrix } = tile;
  const { M, N, K, component } = matrix;
  const { width, depth } = sizesOf(tile);
  const [across, down] = [depth + padding, width + padding];
  return times(bk / K, (q) =>
    [
      ...times(tv, (j) => {
        const at = `${q * K * down + (j * N) / 4}u + ownColumn`;
        return `let b${q}_${j} = subgroupMatrixLoad<subgroup_matrix_right<${component}, ${N}, ${K}>, row_major>(&rightTile, ${at}, ${down}u);`;
      }),
      ...times(tm, (i) => {
        const at = `ownRow * ${across}u + ${i * M * across + (q * K) / 4}u`;
        return [
          `let a${q}_${i} = subgroupMatrixLoad<subgroup_matrix_left<${component}, ${K}, ${M}>, row_major>(&leftTile, ${at}, ${across}u);`,
          ...times(tv, (j) => {
            const sum = `sums[${i * tv + j}]`;
            return `${sum} = subgroupMatrixMultiplyAccumulate(a${q}_${i}, b${q}_${j}, ${sum});`;
          }),
        ].join("\n");
      }),
    ].join("\n"),
  );
}

/** Statements that store result `i` of every subgroup; single elements of it are only seen in workgroup memory. */
function storeOne(plan: Plan, tile: MatrixTile, i: number): string[] {
  const { M: rows, N: columns, tiles } = plan;
  const { wx, tv, matrix } = tile;
  const { threads, subgroups, ownHeight, ownWidth } = sizesOf(tile);
  const [size, across] = [(matrix.M * matrix.N) / 4, matrix.N / 4];
  const [down, right] = [Math.floor(i / tv) * matrix.M, (i % tv) * across];
  return [
    `subgroupMatrixStore<row_major>(&resultTile, subgroup * ${size}u, sums[${i}], ${across}u);`,
    "workgroupBarrier();",
    `for (var i = lane; i < ${subgroups * size}u; i += ${threads}u) {`,
    block(2, [
      `let r = row0 + i / ${size}u / ${wx}u * ${ownHeight}u + i % ${size}u / ${across}u + ${down}u;`,
      `let c = column0 + i / ${size}u % ${wx}u * ${ownWidth}u + i % ${across}u + ${right}u;`,
      `if (r < ${tiles ? "rows" : `${rows}u`} && c < ${Math.ceil(columns / 4)}u) {`,
      block(2, [
        `let m = ${tiles ? "first + r" : "r"};`,
        "let s = resultTile[i];",
        ...store(plan, "s", "m", "c"),
      ]),
      "}",
    ]),
    "}",
    "workgroupBarrier();",
  ];
}
