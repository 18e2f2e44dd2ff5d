/** Images in batches of one size, for programs whose sizes are fixed. */
import { CompileError, type Shape, showType, sizeOf, Tensor } from "../ir/index.ts";

/** Images as they come: tensors f32[n, height, width, 3] of any n. */
export type Images = Iterable<Tensor> | AsyncIterable<Tensor>;

/** A full batch, of which the first `count` images are new. */
export interface Batch {
  /** f32[B, height, width, 3]. */
  readonly images: Tensor;
  readonly count: number;
}

/**
 * The images in batches of `shape` [B, height, width, 3]. What the last one lacks are images that came before, in their
 * order; or its own again, where there are no others. Throws B1 for images of another size or type.
 */
export async function* batchesOf(images: Images, shape: Shape): AsyncGenerator<Batch, void> {
  const [size = 1, ...picture] = shape;
  let waiting: Tensor["data"][] = [];
  let before: readonly Tensor["data"][] = [];
  const stacked = (): Batch => {
    // First of all, since there may be no room for it.
    const stack = Tensor.zeros({ dtype: "f32", shape });
    const [count, missing] = [waiting.length, size - waiting.length];
    const others = before.length > 0 ? before.slice(size - missing) : waiting;
    const filled = [
      ...waiting,
      ...Array.from({ length: missing }, (_, i) => others[i % others.length] as Tensor["data"]),
    ];
    for (const [i, data] of filled.entries()) stack.data.set(data, i * data.length);
    [before, waiting] = [waiting, []];
    return { images: stack, count };
  };
  for await (const given of images) {
    if (waiting.length === 0 && given.type.shape[0] === size) {
      before = picturesOf(given, picture);
      yield { images: given, count: size };
      continue;
    }
    for (const one of picturesOf(given, picture)) {
      waiting.push(one);
      if (waiting.length === size) yield stacked();
    }
  }
  if (waiting.length > 0) yield stacked();
}

/** The data of each picture, not copied. */
function picturesOf({ type, data }: Tensor, picture: Shape): Tensor["data"][] {
  const [count = 0, ...rest] = type.shape;
  if (type.dtype !== "f32" || type.shape.length !== 4 || rest.some((size, axis) => size !== picture[axis])) {
    const must = `must be f32[n, ${picture.join(", ")}]`;
    throw new CompileError("B1", "images", `${must}; got ${showType(type)}`);
  }
  const size = sizeOf(picture);
  return Array.from({ length: count }, (_, i) => data.subarray(i * size, (i + 1) * size));
}
