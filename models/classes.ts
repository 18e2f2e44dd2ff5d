/** The model classes, one line each, by the names that configurations give them. */
import { CompileError, type Shape, type WeightSource } from "../ir/index.ts";
import { className, type Json } from "./config.ts";
import type { Model, ModelClass, ModelOptions } from "./model.ts";
import { visionTransformerMoe } from "./visionTransformerMoe.ts";
import { visionTransformerMoeEnsemble } from "./visionTransformerMoeEnsemble.ts";

export const modelClasses: ReadonlyMap<string, ModelClass> = new Map(
  [
    visionTransformerMoe, //
    visionTransformerMoeEnsemble,
  ].map((each) => [each.name, each]),
);

/** The class that a configuration names, else the original's default; throws M2 for one that is not built. */
function classOf(config: Json): ModelClass {
  const name = typeof config === "object" && config ? config["name"] : undefined;
  // What is no name at all is for the default class to refuse, key and all.
  if (typeof name !== "string") return visionTransformerMoe;
  const found = modelClasses.get(className(name));
  if (found) return found;
  const known = [...modelClasses.keys()].join(", ");
  throw new CompileError("M2", "name", `model class ${name} is not built; there is ${known}`);
}

/** The model of a configuration, as the original writes it; throws M1 to M6. Allocates no weights. */
export const createModel = (config: Json, options: ModelOptions = {}): Model =>
  classOf(config).build(config, options);

/** The image size that a file's weights were made for; undefined when they do not say. */
export function imageSizeOf(config: Json, { tensors }: WeightSource): readonly [number, number] | undefined {
  const shape = (name: string): Shape | undefined => tensors.get(name)?.shape;
  return classOf(config).imageSizeOf(config, shape);
}
