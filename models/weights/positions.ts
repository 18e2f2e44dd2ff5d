/** Position embeddings of one grid of patches, made those of another: how a model changes its resolution. */
import { Tensor, type WeightSource } from "../../ir/index.ts";
import { type TokenGrid, tokensOf } from "../grid.ts";
import type { Parameter } from "../init.ts";
import { kept, madeOf } from "./made.ts";

/** The square grid of `tokens` tokens; undefined where they fill none. */
export function squareOf(tokens: number, classToken: boolean): TokenGrid | undefined {
  const side = Math.round(Math.sqrt(tokens - (classToken ? 1 : 0)));
  const grid = { rows: side, columns: side, classToken };
  return side > 0 && tokensOf(grid) === tokens ? grid : undefined;
}

/**
 * `source` with every position embedding [1, T, D] that it holds for another number of tokens resized to the grid that
 * `parameters` say, from the square that its own tokens fill; what fills none is left as it is.
 */
export function onGrids(parameters: readonly Parameter[], source: WeightSource): WeightSource {
  const tensors = new Map([...source.tensors.keys()].map((name) => [name, kept(source, name)]));
  for (const { name, stored } of parameters) {
    const { type, read } = tensors.get(name) ?? {};
    if (typeof stored !== "object" || !("grid" in stored) || !type || !read) continue;
    const [one, tokens = 0, D = 0] = type.shape;
    const { grid } = stored;
    const from = squareOf(tokens, grid.classToken);
    if (one !== 1 || type.shape.length !== 3 || !from || tokens === tokensOf(grid)) continue;
    const shape = [1, tokensOf(grid), D];
    tensors.set(name, {
      type: { ...type, shape },
      // The first axis has one entry, so that some rows of it are all.
      read: async () => Tensor.from({ ...type, shape }, resized((await read()).numbers(), D, from, grid)),
    });
  }
  return madeOf(tensors, source);
}

/**
 * A table of rows of D numbers, one for each token of the grid `from`, for the grid `to`: bilinear, corners on corners,
 * the class token's row kept. Computed in f64. Source: google-research/vmoe, vmoe/initialization/rules.py, `vit_zoom`,
 * which is SciPy's zoom of order 1; that leaves zeros in the last row of some sizes, such as 26 of 8, where this does not.
 */
function resized(table: ArrayLike<number>, D: number, from: TokenGrid, to: TokenGrid): Float64Array {
  const out = new Float64Array(tokensOf(to) * D);
  const patches = from.classToken ? D : 0;
  for (let i = 0; i < patches; i++) out[i] = table[i] as number;
  let at = patches;
  for (const down of between(from.rows, to.rows)) {
    for (const across of between(from.columns, to.columns)) {
      for (let d = 0; d < D; d++, at++) {
        for (const [row, share] of down) {
          for (const [column, part] of across) {
            const place = patches + (row * from.columns + column) * D + d;
            out[at] = (out[at] as number) + share * part * (table[place] as number);
          }
        }
      }
    }
  }
  return out;
}

/** For each of `to` places, the two places of `from` around it, and their shares. */
function between(from: number, to: number): (readonly (readonly [place: number, share: number])[])[] {
  return Array.from({ length: to }, (_, i) => {
    const at = to === 1 ? 0 : (i * (from - 1)) / (to - 1);
    const low = Math.floor(at);
    const share = at - low;
    return [
      [low, 1 - share],
      [Math.min(low + 1, from - 1), share],
    ] as const;
  });
}
