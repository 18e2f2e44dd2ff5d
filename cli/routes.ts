/** Where the tokens went: loads and drops of each sparse block, and the map of patches to experts. */
import type { Tensor } from "../ir/index.ts";
import { type Model, type SparseBlock, tokensOf } from "../models/index.ts";

/** The routing of one sparse block in one run. */
export interface BlockRoutes {
  readonly block: string;
  readonly groups: number;
  readonly experts: number;
  readonly capacity: number;
  /** Slots filled, by expert, over all groups. */
  readonly loads: readonly number[];
  /** Choices that found their expert full. */
  readonly dropped: number;
  readonly choices: number;
  /** For each image the expert of each token's first kept choice, class token first; -1 where all were dropped. */
  readonly map: readonly (readonly number[])[];
}

/** What the outputs of a run say of each sparse block. */
export const routesOf = ({ blocks, grid }: Model, outputs: ReadonlyMap<string, Tensor>): BlockRoutes[] =>
  blocks.map((block) => routesOfBlock(block, tokensOf(grid), outputs));

function routesOfBlock(
  block: SparseBlock,
  tokensOfImage: number,
  outputs: ReadonlyMap<string, Tensor>,
): BlockRoutes {
  const { name, groups, groupSize, experts, capacity } = block;
  const slots = outputs.get(`${name}/slots`) as Tensor;
  const k = slots.type.shape[2] ?? 1;
  const chosen = Array.from(slots.numbers(), (slot) => (slot < 0 ? -1 : Math.floor(slot / capacity)));
  const loads = Array.from({ length: experts }, (_, e) => chosen.filter((expert) => expert === e).length);
  const first = Array.from(
    { length: groups * groupSize },
    (_, t) => chosen.slice(t * k, (t + 1) * k).find((expert) => expert >= 0) ?? -1,
  );
  const images = first.length / tokensOfImage;
  const map = Array.from({ length: images }, (_, i) =>
    first.slice(i * tokensOfImage, (i + 1) * tokensOfImage),
  );
  const dropped = chosen.filter((expert) => expert < 0).length;
  return { block: name, groups, experts, capacity, loads, dropped, choices: chosen.length, map };
}
