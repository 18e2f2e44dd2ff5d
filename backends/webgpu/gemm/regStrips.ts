/** The inner loop of family `reg` where the right factor lies in strips of an image. */
import { areIntegers, type Strips, texelsOf } from "../strips.ts";
import { block, named, type Plan, plus, product, scaleEntry, sum, times, xyzw } from "./description.ts";
import { leftEntry, leftLoads } from "./regLeft.ts";
import type { Narrow } from "./storage.ts";

/** The loop where the right factor lies in strips; of integers in blocks of rows, whose scales are loaded once. */
export function loopOverStrips(plan: Plan, strips: Strips): string[] {
  const { K, vec, right } = plan;
  const { scales } = right.narrow ?? {};
  if (!vec.left) {
    const before = scales ? stripScales(plan, scales, `k / ${scales.block}u`) : [];
    return loop("k", "0u", `${K}u`, 1, [...before, ...stripSteps(plan, strips, "k", 1)]);
  }
  const [vectors, rest] = [Math.floor(K / 4), K % 4];
  const last = rest ? stripSteps(plan, strips, `${vectors}u`, rest) : [];
  const steps = stripSteps(plan, strips, "k", 4);
  if (!scales) return [...loop("k", "0u", `${vectors}u`, 1, steps), ...last];
  const height = Math.min(scales.block / 4, Math.ceil(K / 4));
  const ofBlock = [
    ...stripScales(plan, scales, `k0 / ${height}u`),
    ...loop("k", "k0", `min(k0 + ${height}u, ${vectors}u)`, 1, steps),
  ];
  return [
    ...loop("k0", "0u", `${vectors}u`, height, ofBlock),
    ...(rest ? [...stripScales(plan, scales, `${Math.floor(vectors / height)}u`), ...last] : []),
  ];
}

const loop = (k: string, begin: string, end: string, step: number, body: readonly string[]): string[] => [
  `for (var ${k} = ${begin}; ${k} < ${end}; ${step === 1 ? `${k}++` : `${k} += ${step}u`}) {`,
  block(2, body),
  "}",
];

/** Statements that load what the thread's columns are multiplied by in block `at` of rows. */
function stripScales(plan: Plan, scales: NonNullable<Narrow["scales"]>, at: string): string[] {
  const { N, tile } = plan;
  const last = Math.ceil(N / 4) - 1;
  return times(tile.tv, (j) => {
    const c = j === 0 ? "c" : `min(${plus("column", j * tile.wx)}, ${last}u)`;
    return `let ${named("scale", j)} = ${scaleEntry(plan, scales, at, c)};`;
  });
}

const texelAt = (x: string): string => `textureLoad(right, vec2u(${x}, y))`;

/**
 * Inner steps where the right factor lies in strips: `count` from vector `k` on, or the one at `k` where the left factor is
 * read one by one. One vector of columns after the other, whose sums and factors registers can then hold.
 */
function stripSteps(plan: Plan, strips: Strips, k: string, count: number): string[] {
  const { tile, vec } = plan;
  const { tm, tv } = tile;
  const vectors = strips.steps / 4;
  const vector = vec.left ? k : `${k} / 4u`;
  const [place, y] =
    strips.rows === 1 ? [vector, "strip"] : [`${vector} % ${vectors}u`, `strip + ${vector} / ${vectors}u`];
  const parts = vec.left ? times(count, (i) => `.${xyzw[i]}`) : [""];
  const across = strips.run / 4;
  const rowsOf = (j: number): string[] => {
    if (areIntegers(strips)) {
      const row = (i: number): string => (vec.left ? `${i}u` : `${k} % 4u`);
      return [
        `let ${named("four", j)} = ${texelAt(plus("x", j * across))};`,
        ...parts.map(
          (_, i) =>
            `let ${named(`b${i}`, j)} = rowOf(${named("four", j)}, ${row(i)}) * ${named("scale", j)};`,
        ),
      ];
    }
    const offset = vec.left ? "" : `${k} % 4u * ${across}u`;
    return parts.map(
      (_, i) => `let ${named(`b${i}`, j)} = ${texelAt(sum(plus("x", (4 * j + i) * across), offset))};`,
    );
  };
  return [
    `let x = ${sum(product(place, texelsOf(strips)), "local.x")};`,
    `let y = ${y};`,
    ...leftLoads(plan, k),
    ...[...Array(tv).keys()].flatMap((j) => [
      ...rowsOf(j),
      ...[...Array(tm).keys()].flatMap((r) =>
        parts.map((part, i) => `${named(`s${r}`, j)} += ${leftEntry(tile, r, part)} * ${named(`b${i}`, j)};`),
      ),
    ]),
  ];
}
