/** Which blocks of a Vision Transformer are sparse, in the field's words. */
import { CompileError } from "../ir/index.ts";

/** Every n-th of `layers` blocks: n - 1, 2n - 1, ... Source: google-research/vmoe, configs/vmoe_paper/common.py. */
export const everyBlock = (n: number, layers: number): number[] =>
  Array.from({ length: Math.floor(layers / n) }, (_, i) => n * i + n - 1);

/** The last n of the odd blocks, fewer where there are fewer; same source. */
export const lastOddBlocks = (n: number, layers: number): number[] => everyBlock(2, layers).slice(-n);

/**
 * The blocks of `layers` that `text` names: `every2`, `last2`, or numbers from 0 such as `1,3,5`, in the order given.
 * Throws M3 for anything else, for a block that is not there, and for more odd blocks than there are.
 */
export function parseBlocks(text: string, layers: number): readonly number[] {
  const [, word, n] = /^(every|last)([1-9]\d*)$/.exec(text) ?? [];
  const blocks =
    word === "every"
      ? everyBlock(Number(n), layers)
      : word === "last"
        ? lastOddBlocks(Number(n), layers)
        : text.split(",").map((each) => (/^\d+$/.test(each.trim()) ? Number(each) : -1));
  const short = blocks.length === 0 || (word === "last" && blocks.length < Number(n));
  if (short || blocks.some((block) => block < 0 || block >= layers)) {
    const must = `must be like every2, last2 or 1,3,5, of blocks 0 to ${layers - 1}`;
    const odd = word === "last" ? `, last of the ${Math.floor(layers / 2)} odd ones` : "";
    throw new CompileError("M3", "blocks", `${must}${odd}; got ${text}`);
  }
  return blocks;
}
