/** Family `tile`: tiles of both factors in workgroup memory, filled together; for GPUs. */
import type { Tile } from "../profile.ts";
import { block, columnsOf, leftRow, type Plan, rightColumns, store, times, xyzw } from "./description.ts";

/** Declarations of the tiles. */
export const tileMemory = ({ wx, wy, tm, tv, bk }: Tile): string => `
var<workgroup> leftTile: array<vec4f, ${(wy * tm * bk) / 4}>;
var<workgroup> rightTile: array<vec4f, ${bk * wx * tv}>;`;

const both = (...conditions: string[]): string => conditions.filter(Boolean).join(" && ") || "true";

/** The entry point's body. */
export function tileBody(plan: Plan): string {
  const { M, N, K, tile, tiles } = plan;
  const { wx, wy, tm, tv, bk } = tile;
  const [threads, height, width, depth] = [wx * wy, wy * tm, wx * tv, bk / 4];
  const columns = Math.ceil(N / 4);
  const limit = tiles ? "rows" : `${M}u`;
  const sums = [...Array(tm * tv).keys()];
  const needsRowGuard = tiles !== undefined || M % height !== 0;
  const needsColumnGuard = columns % width !== 0;
  const needsInnerGuard = K % bk !== 0;
  const rowOf = (r: string): string => (tiles ? `first + ${r}` : r);

  return block(2, [
    ...(tiles ? [tiles.head, "let row0 = 0u;"] : [`let row0 = group.y * ${height}u;`]),
    `let column0 = group.x * ${width}u;`,
    ...sums.map((i) => `var s${i} = vec4f();`),
    `for (var k0 = 0u; k0 < ${Math.ceil(K / 4)}u; k0 += ${depth}u) {`,
    block(2, [
      `for (var i = lane; i < ${height * depth}u; i += ${threads}u) {`,
      block(2, [
        `let r = row0 + i / ${depth}u;`,
        `let k = k0 + i % ${depth}u;`,
        "var v = vec4f();",
        `if (${both(needsRowGuard ? `r < ${limit}` : "", needsInnerGuard ? `k < ${K / 4}u` : "")}) { v = left[${leftRow(plan, rowOf("r"))} + k]; }`,
        "leftTile[i] = v;",
      ]),
      "}",
      `for (var i = lane; i < ${bk * width}u; i += ${threads}u) {`,
      block(2, [
        `let k = 4u * k0 + i / ${width}u;`,
        `let c = column0 + i % ${width}u;`,
        ...(plan.right.transposed ? columnsOf("c", N) : []),
        "var v = vec4f();",
        `if (${both(needsColumnGuard ? `c < ${columns}u` : "", needsInnerGuard ? `k < ${K}u` : "")}) { v = ${rightColumns(plan, "k", "c")}; }`,
        "rightTile[i] = v;",
      ]),
      "}",
      "workgroupBarrier();",
      `for (var q = 0u; q < ${depth}u; q++) {`,
      block(2, [
        ...times(
          4 * tv,
          (i) =>
            `let b${i} = rightTile[(4u * q + ${Math.floor(i / tv)}u) * ${width}u + local.x + ${(i % tv) * wx}u];`,
        ),
        ...[...Array(tm).keys()].flatMap((r) => [
          `let a${r} = leftTile[(local.y * ${tm}u + ${r}u) * ${depth}u + q];`,
          ...times(
            tv,
            (j) => `s${r * tv + j} += ${times(4, (i) => `a${r}.${xyzw[i]} * b${i * tv + j}`).join(" + ")};`,
          ),
        ]),
      ]),
      "}",
      "workgroupBarrier();",
    ]),
    "}",
    ...[...Array(tm).keys()].flatMap((r) => [
      `if (row0 + local.y * ${tm}u + ${r}u < ${limit}) {`,
      block(2, [
        `let m = ${rowOf(`row0 + local.y * ${tm}u + ${r}u`)};`,
        ...times(tv, (j) =>
          [
            `let c${j} = column0 + local.x + ${j * wx}u;`,
            `if (c${j} < ${columns}u) {`,
            block(2, store(plan, `s${r * tv + j}`, "m", `c${j}`)),
            "}",
          ].join("\n"),
        ),
      ]),
      "}",
    ]),
  ]);
}
