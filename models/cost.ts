/** What a model costs: parameters and floating-point operations, as the paper counts them. */
import { sizeOf } from "../ir/index.ts";
import type { Model } from "./model.ts";

/** Operations of a matrix product, two for each multiplication and addition. */
const product = (rows: number, inner: number, columns: number): number => 2 * rows * inner * columns;

/** Trained numbers. */
export const parameterCount = ({ parameters }: Pick<Model, "parameters">): number =>
  parameters.filter(({ trained }) => trained).reduce((sum, { shape }) => sum + sizeOf(shape), 0);

/**
 * Floating-point operations of one image, two for each multiplication and addition of a matrix product:
 * patch embedding, attention, MLPs, head; a sparse block's MLP counts k times the capacity factor, without
 * rounding, plus its router. Biases, norms and softmax are not counted.
 */
export function flopsPerImage({ config, tokens: T, blocks, router }: Model): number {
  const {
    hidden_size: D,
    representation_size: features,
    num_classes,
    patch_size,
    encoder,
    classifier,
  } = config;
  const patches = T - (classifier === "token" ? 1 : 0);
  const mlp = 2 * product(T, D, encoder.mlp_dim);
  const attention = 4 * product(T, D, D) + 2 * product(T, D, T);
  const sparse = blocks.map(({ experts, groupSize }) => {
    const load = router?.load(groupSize, experts) ?? 0;
    return load * mlp + product(T, D, experts);
  });
  return (
    product(patches, 3 * patch_size[0] * patch_size[1], D) +
    encoder.num_layers * attention +
    (encoder.num_layers - blocks.length) * mlp +
    sparse.reduce((a, b) => a + b, 0) +
    product(1, D, features ?? 0) +
    product(1, features ?? D, num_classes ?? 0)
  );
}
