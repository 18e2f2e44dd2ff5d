/** What files of weights say about the configuration that they are for. */
import { type Json, mergeConfig } from "../config.ts";
import type { WeightFile } from "./sources/source.ts";

/**
 * `config` for the weights of `file`: with the GELU and the epsilon that they are trained with where `config` says
 * nothing; and with their head, where it is that of a preset, whose own is one of many.
 */
export function configFor(config: Json, isPreset: boolean, file: WeightFile | undefined): Json {
  // What is no object is for the model class to refuse.
  if (!file || typeof config !== "object" || !config) return config;
  return mergeConfig(file.config, isPreset ? mergeConfig(config, headOf(file)) : config);
}

/**
 * The patch that gives a configuration the head of `file`: its classes, and the layer before it or none. Empty where the
 * file has no head, which is for the user to say.
 */
export function headOf({ tensors }: WeightFile): Json {
  const classes = tensors.get("head/kernel")?.shape[1];
  const features = tensors.get("pre_logits/kernel")?.shape[1];
  return classes === undefined ? {} : { num_classes: classes, representation_size: features ?? null };
}
