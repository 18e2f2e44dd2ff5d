/** A model with the weights that fit it, ready to be compiled. */
import { CompileError, type WeightSource } from "../ir/index.ts";
import {
  createModel,
  imageSizeOf,
  type Json,
  type Model,
  type ModelOptions,
  presets,
  randomWeights,
} from "../models/index.ts";
import { configFor } from "../models/weights/configure.ts";
import { matchWeights } from "../models/weights/match.ts";
import type { WeightFile } from "../models/weights/sources/source.ts";

/** A model, and where its weights come from. */
export interface Loaded {
  readonly model: Model;
  readonly weights: WeightSource;
}

/** What is chosen when a model is loaded. */
export interface LoadOptions extends Omit<ModelOptions, "imageSize"> {
  /** Trained weights; by default freshly drawn ones, with which a model knows nothing. */
  readonly weights?: WeightSource | WeightFile;
  /** What errors call the weights. */
  readonly name?: string;
  /** Of weights that are drawn; 0 by default. */
  readonly seed?: number;
  /** Pixels down and across, or of a square's side; by default what the weights were made for, else 224. */
  readonly size?: number | readonly [height: number, width: number];
}

/** The model of a preset's name or of a configuration. Throws M1 to M6, and W2 for weights that do not fit. */
export function load(config: string | Json, options: LoadOptions = {}): Loaded {
  const { weights: given, name = "weights", seed = 0, size, ...rest } = options;
  const file = given && "config" in given ? given : undefined;
  const known =
    typeof config === "string" ? configFor(presetOf(config), true, file) : configFor(config, false, file);
  const asked = typeof size === "number" ? ([size, size] as const) : size;
  const imageSize = asked ?? (given && imageSizeOf(known, given));
  const model = createModel(known, { ...rest, ...(imageSize && { imageSize }) });
  const weights = given ? matchWeights(model.parameters, given, name) : undefined;
  return { model, weights: weights ?? randomWeights(model.parameters, seed) };
}

function presetOf(name: string): Json {
  const config = presets.get(name);
  if (config) return config;
  throw new CompileError("M1", name, `is no preset; there is ${[...presets.keys()].join(", ")}`);
}
