/** What threads of family `reg` load of the left factor: each the rows of its sums, or each a row for all of a subgroup. */
import type { Tile } from "../profile.ts";
import { plus, times } from "../wgsl.ts";
import { leftColumn, type Plan } from "./description.ts";

/** Rows of the left factor that a thread loads: those of its sums; or one for each thread, all of which get all. */
export const loadedRows = ({ wx, tm, broadcast }: Tile): string[] =>
  broadcast
    ? times(Math.ceil(tm / wx), (i) => `${plus("row", i * wx)} + member`)
    : times(tm, (r) => plus("row", r));

/** WGSL for part `part` of what has been loaded of row `r` of the left factor. */
export const leftEntry = ({ wx, broadcast }: Tile, r: number, part: string): string =>
  broadcast ? `subgroupBroadcast(a${Math.floor(r / wx)}${part}, ${r % wx}u)` : `a${r}${part}`;

/** Statements that load the left factor at column `k`: nothing for threads without a row. */
export function leftLoads(plan: Plan, k: string): string[] {
  const zero = plan.vec.left ? "vec4f()" : "0.0f";
  return loadedRows(plan.tile).map((_, i, { length }) => {
    const load = `left[l${i} + ${leftColumn(plan, k)}]`;
    return i === length - 1 && haveRow(plan)
      ? `var a${i} = ${zero}; if (have) { a${i} = ${load}; }`
      : `let a${i} = ${load};`;
  });
}

/**
 * WGSL for whether a thread has a row to load for the others in the last turn; undefined where all have one. Rows beyond
 * the last are loaded, too, but for listed ones, of which most tiles have fewer than they could.
 */
export function haveRow({ tile: { wx, tm, broadcast }, tiles }: Plan): string | undefined {
  if (!broadcast) return undefined;
  const before = wx * (Math.ceil(tm / wx) - 1);
  const conditions = [
    ...(tm - before < wx ? [`member < ${tm - before}u`] : []),
    ...(tiles ? [`${plus("row", before)} + member < rows`] : []),
  ];
  return conditions.join(" && ") || undefined;
}
