/** A model for images of another size. */
import { fitted, type SurgeryOptions, type Trained } from "./trained.ts";

/** The model with its position embeddings resized to images of `imageSize`; throws W2 for weights that do not fit. */
export const atResolution = (
  trained: Trained,
  imageSize: readonly [height: number, width: number],
  options: Omit<SurgeryOptions, "imageSize"> = {},
): Trained => ({ ...trained, weights: fitted(trained, { ...options, imageSize }).weights });
