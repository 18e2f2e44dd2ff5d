/** A model as people keep it, a configuration and weights; and the tensors that surgery makes of others. */
import { CompileError, sizeOf, Tensor, type WeightSource } from "../../ir/index.ts";
import { createModel, imageSizeOf } from "../classes.ts";
import type { Json } from "../config.ts";
import type { Model } from "../model.ts";
import type { Router } from "../routers/router.ts";
import { kept, type Made } from "../weights/made.ts";
import { matchWeights } from "../weights/match.ts";
import { onGrids } from "../weights/positions.ts";

/** A configuration, and weights by the original's names; whoever opened the weights closes them. */
export interface Trained {
  readonly config: Json;
  readonly weights: WeightSource;
  /** What errors call the weights. */
  readonly name: string;
}

export interface SurgeryOptions {
  /** Routers that the configuration may name besides the shipped ones. */
  readonly routers?: readonly Router[];
  /** Pixels down and across; by default what the weights were made for, where they say. Positions are resized to it. */
  readonly imageSize?: readonly [height: number, width: number];
}

/** The model of a configuration at the resolution asked for, else that of the weights; throws M1 to M6. */
export function modelOf(
  { config, weights }: Pick<Trained, "config" | "weights">,
  { routers = [], imageSize = imageSizeOf(config, weights) }: SurgeryOptions,
): Model {
  return createModel(config, { routers, ...(imageSize && { imageSize }) });
}

/** The same with the weights at its resolution, once they are found to fit; throws W2 where they do not. */
export function fitted(
  trained: Trained,
  options: SurgeryOptions,
): { readonly model: Model; readonly weights: WeightSource } {
  const model = modelOf(trained, options);
  matchWeights(model.parameters, trained.weights, trained.name);
  return { model, weights: onGrids(model.parameters, trained.weights) };
}

/** Entries `picks` of an axis of a tensor, in that order and as often as they are named. */
export function picked(source: WeightSource, name: string, axis: number, picks: readonly number[]): Made {
  const { type } = kept(source, name);
  const shape = type.shape.with(axis, picks.length);
  return {
    type: { ...type, shape },
    async read([start, stop] = [0, shape[0] ?? 1]) {
      const result = Tensor.zeros({ ...type, shape: [stop - start, ...shape.slice(1)] });
      const inner = sizeOf(shape.slice(axis + 1));
      if (axis === 0) {
        for (const [i, pick] of picks.slice(start, stop).entries())
          result.data.set((await source.read(name, [pick, pick + 1])).data, i * inner);
        return result;
      }
      const { data } = await source.read(name, [start, stop]);
      const [outer, size = 1] = [sizeOf(result.type.shape.slice(0, axis)), type.shape[axis]];
      for (let o = 0; o < outer; o++) {
        for (const [i, pick] of picks.entries()) {
          const from = (o * size + pick) * inner;
          result.data.set(data.subarray(from, from + inner), (o * picks.length + i) * inner);
        }
      }
      return result;
    },
  };
}

/** Throws U1 for what an operation cannot be asked. */
export const refuse = (subject: string, message: string): never => {
  throw new CompileError("U1", subject, message);
};
