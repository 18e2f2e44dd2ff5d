/** The sources of weights, one line each, and which of them a file is from. */
import type { WeightSource } from "../../../ir/index.ts";
import { huggingFace } from "./huggingFace.ts";
import { jax } from "./jax.ts";
import { named, prefixOf, type Source, type WeightFile } from "./source.ts";
import { timm } from "./timm.ts";
import { vmoe } from "./vmoe.ts";

export const sources: readonly Source[] = [
  vmoe, //
  jax,
  timm,
  huggingFace,
];

/** `file`, whose errors call it `name`, under our names; one from nowhere that is known keeps its own. */
export function recognised(name: string, file: WeightSource): WeightFile {
  const names = [...file.tensors.keys()];
  const source = sources.find((each) => prefixOf(names, each) !== undefined) ?? vmoe;
  return named(name, file, source);
}
