/** Some blocks of a model: one alone, or fewer, or in another order. */
import { mergeConfig, parseConfig } from "../config.ts";
import { kept, type Made, madeOf } from "../weights/made.ts";
import { fitted, refuse, type SurgeryOptions, type Trained } from "./trained.ts";

const prefix = (block: number): string => `Encoder/encoderblock_${block}/`;

/**
 * The model whose blocks are `blocks` of `trained`'s, in that order; a block may stand more than once. What is before and
 * after the blocks is kept. Throws U1 for a block that is not there, W2 for weights that do not fit.
 */
export function keptBlocks(
  trained: Trained,
  blocks: readonly number[],
  options: SurgeryOptions = {},
): Trained {
  const { encoder } = parseConfig(trained.config);
  const { num_layers: layers, moe } = encoder;
  const stray = blocks.find((block) => !(block >= 0 && block < layers));
  if (blocks.length === 0 || stray !== undefined)
    return refuse("blocks", `must be some of 0 to ${layers - 1}; got ${stray ?? "none"}`);
  const { weights } = fitted(trained, options);
  const tensors = [...weights.tensors.keys()].flatMap((name): [string, Made][] => {
    const [, block] = /^Encoder\/encoderblock_(\d+)\//.exec(name) ?? [];
    if (block === undefined) return [[name, kept(weights, name)]];
    const places = blocks.flatMap((each, place) => (each === Number(block) ? [place] : []));
    const rest = name.slice(prefix(Number(block)).length);
    return places.map((place) => [prefix(place) + rest, kept(weights, name)]);
  });
  const sparse = blocks.flatMap((block, place) => (moe?.layers.includes(block) ? [place] : []));
  const patch = { num_layers: blocks.length, moe: sparse.length > 0 ? { layers: sparse } : null };
  const config = mergeConfig(trained.config, { encoder: patch });
  return { ...trained, config, weights: madeOf(new Map(tensors), weights) };
}
