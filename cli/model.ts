/** The model that a command line names: a preset or a file, with overrides. */
import { configNamed } from "../inference/node.ts";
import { CompileError, type Graph, type WeightSource } from "../ir/index.ts";
import {
  createModel,
  type Json,
  mergeConfig,
  type Model,
  type ModelOptions,
  parseOverride,
  presets,
  randomWeights,
} from "../models/index.ts";
import { configFor } from "../models/weights/configure.ts";
import { checkFinite, matchWeights } from "../models/weights/match.ts";
import type { WeightFile } from "../models/weights/sources/source.ts";
import { isOnnx } from "./onnxModel.ts";
import type { Progress } from "./progress.ts";

/**
 * The configuration of a preset or of a JSON file, with the overrides of `--set` merged in. What weights are trained with
 * holds where the configuration does not say it, and a preset has the head of the weights. Throws M1 for a program.
 */
export async function readConfig(
  name: string,
  overrides: readonly string[],
  weights?: WeightFile,
): Promise<Json> {
  if (isOnnx(name)) {
    const wanted = "a preset, or a configuration file in the original's format, was expected";
    throw new CompileError("M1", name, `is a program that moec export made already; ${wanted}`);
  }
  const base = configFor(await configNamed(name), presets.has(name), weights);
  return overrides.map(parseOverride).reduce(mergeConfig, base);
}

/** The model of `readConfig`; an unknown key of an override is named as the user wrote it. */
export async function readModel(
  name: string,
  overrides: readonly string[],
  options: ModelOptions,
): Promise<Model> {
  return createModel(await readConfig(name, overrides), options);
}

/** The outputs that a list names; `all` is every one. */
export const outputsOf = ({ outputs }: Graph, list: string): string[] =>
  list === "all" ? [...outputs.keys()] : list.split(",").map((output) => output.trim());

/** What photographs are made of where neither the user nor the weights say. */
export const defaultSize: readonly [number, number] = [224, 224];

/** The weights in `file`, matched and found finite; random ones from the seed where there is no file. */
export async function weightsOf(
  { parameters }: Model,
  file: WeightSource | undefined,
  { weights: path, seed }: { readonly weights?: string; readonly seed: number },
  progress: Progress,
): Promise<WeightSource> {
  if (!file || path === undefined) return randomWeights(parameters, seed);
  const matched = matchWeights(parameters, file, path);
  await checkFinite(matched, (done) => progress.show(done, "checking weights"));
  return matched;
}
