/** The inner loop of family `reg` where the right factor lies in strips of an image. */
import { areIntegers, type Strips, texelsOf } from "../strips.ts";
import { block, named, plus, product, sum, times } from "../wgsl.ts";
import { type Plan, scaleEntry } from "./description.ts";
import { leftEntry, leftLoads } from "./regLeft.ts";
import type { Narrow } from "./storage.ts";

/** The loop where the right factor lies in strips; of integers, scales are loaded where a block of rows begins. */
export function loopOverStrips(plan: Plan, strips: Strips): string[] {
  const { K, vec, right, tile } = plan;
  const { scales } = right.narrow ?? {};
  const steps = stripSteps(plan, strips);
  const loop = (body: readonly string[]): string[] => [
    `for (var k = 0u; k < ${vec.left ? K / 4 : K}u; k++) {`,
    block(2, body),
    "}",
  ];
  if (!scales) return loop(steps);
  const height = vec.left ? Math.ceil(scales.block / 4) : scales.block;
  // A loop around another would have all sums put away and taken up again for each block.
  return [
    ...times(tile.tv, (j) => `var ${named("scale", j)} = vec4f();`),
    ...loop([`if (k % ${height}u == 0u) {`, block(2, loadScales(plan, scales, height)), "}", ...steps]),
  ];
}

/** Statements that load what the thread's columns are multiplied by in the block of `height` steps that begins with `k`. */
function loadScales(plan: Plan, scales: NonNullable<Narrow["scales"]>, height: number): string[] {
  const { N, tile } = plan;
  const last = Math.ceil(N / 4) - 1;
  return times(tile.tv, (j) => {
    const c = j === 0 ? "c" : `min(${plus("column", j * tile.wx)}, ${last}u)`;
    return `${named("scale", j)} = ${scaleEntry(plan, scales, `k / ${height}u`, c)};`;
  });
}

const texelAt = (x: string): string => `textureLoad(right, vec2u(${x}, y))`;

/**
 * Inner steps where the right factor lies in strips: four from vector `k` on, or the one at `k` where the left factor is read
 * one by one. One vector of columns after the other, whose sums and factors registers can then hold.
 */
function stripSteps(plan: Plan, strips: Strips): string[] {
  const { tile, vec } = plan;
  const { tm, tv } = tile;
  const vectors = strips.steps / 4;
  const vector = vec.left ? "k" : "k / 4u";
  const [place, y] =
    strips.rows === 1 ? [vector, "strip"] : [`${vector} % ${vectors}u`, `strip + ${vector} / ${vectors}u`];
  const parts = vec.left ? [".x", ".y", ".z", ".w"] : [""];
  const across = strips.run / 4;
  const rowsOf = (j: number): string[] => {
    if (areIntegers(strips)) {
      const row = (i: number): string => (vec.left ? `${i}u` : "k % 4u");
      return [
        `let ${named("four", j)} = ${texelAt(plus("x", j * across))};`,
        ...parts.map(
          (_, i) =>
            `let ${named(`b${i}`, j)} = rowOf(${named("four", j)}, ${row(i)}) * ${named("scale", j)};`,
        ),
      ];
    }
    const offset = vec.left ? "" : `k % 4u * ${across}u`;
    return parts.map(
      (_, i) => `let ${named(`b${i}`, j)} = ${texelAt(sum(plus("x", (4 * j + i) * across), offset))};`,
    );
  };
  return [
    `let x = ${sum(product(place, texelsOf(strips)), "local.x")};`,
    `let y = ${y};`,
    ...leftLoads(plan, "k"),
    ...[...Array(tv).keys()].flatMap((j) => [
      ...rowsOf(j),
      ...[...Array(tm).keys()].flatMap((r) =>
        parts.map((part, i) => `${named(`s${r}`, j)} += ${leftEntry(tile, r, part)} * ${named(`b${i}`, j)};`),
      ),
    ]),
  ];
}
