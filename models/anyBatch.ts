/** One model at two batch sizes, from which an exporter sees what grows with the batch. */
import { CompileError } from "../ir/index.ts";
import { createModel } from "./classes.ts";
import type { Json } from "./config.ts";
import { tokensOf } from "./grid.ts";
import type { Model, ModelOptions } from "./model.ts";

/** A model at `sizes[0]` images, and the same at `sizes[1]`; both route groups of the same whole images. */
export interface AnyBatch {
  readonly model: Model;
  readonly other: Model;
  readonly sizes: readonly [number, number];
  /** Images of a group: batches are multiples of it. */
  readonly groupImages: number;
}

/** Two multiples of a group that no size of a model is likely to be, and of which neither divides the other. */
const multiples = [11, 13] as const;

/**
 * The model of `config` whose groups are as in a batch of `options.batch`, for batches of any number of groups.
 * Throws M6 where a group is not whole images.
 */
export function anyBatch(config: Json, options: ModelOptions = {}): AnyBatch {
  const { grid, blocks } = createModel(config, options);
  const tokens = tokensOf(grid) * (blocks[0]?.members ?? 1);
  const groupSize = blocks[0]?.groupSize ?? tokens;
  const groupImages = groupSize / tokens;
  if (!Number.isInteger(groupImages)) {
    const got = `groups of ${groupSize} tokens, images of ${tokens}`;
    throw new CompileError("M6", "group size", `must be whole images where the batch is open; got ${got}`);
  }
  const at = (times: number): Model =>
    createModel(config, {
      ...options,
      batch: times * groupImages,
      ...(blocks.length > 0 && { groupSize }),
    });
  const sizes = [multiples[0] * groupImages, multiples[1] * groupImages] as const;
  return { model: at(multiples[0]), other: at(multiples[1]), sizes, groupImages };
}
