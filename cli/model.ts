/** The model that a command line names: a preset or a file, with overrides. */
import { readFile } from "node:fs/promises";

import { fileError } from "../files/bytes.ts";
import { CompileError, type WeightSource } from "../ir/index.ts";
import {
  createModel,
  type Json,
  mergeConfig,
  type Model,
  type ModelOptions,
  parseConfig,
  parseOverride,
  presets,
  randomWeights,
  type Router,
  routerOf,
} from "../models/index.ts";
import { checkFinite, matchWeights } from "../models/weights/match.ts";
import type { Progress } from "./progress.ts";

/** The configuration of a preset or of a JSON file, with the overrides of `--set` merged in. */
export async function readConfig(name: string, overrides: readonly string[]): Promise<Json> {
  const base = presets.get(name) ?? (await readConfigFile(name));
  return overrides.map(parseOverride).reduce(mergeConfig, base);
}

async function readConfigFile(path: string): Promise<Json> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (path.endsWith(".json"))
      throw fileError(path, error.code === "ENOENT" ? "no such file" : `cannot be read (${error.code})`);
    throw new CompileError("M1", path, "is neither a preset (see moec models) nor a configuration file");
  });
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw fileError(path, `is not JSON: ${(error as Error).message}`);
  }
}

/** The model of `readConfig`; an unknown key of an override is named as the user wrote it. */
export async function readModel(
  name: string,
  overrides: readonly string[],
  options: ModelOptions,
): Promise<Model> {
  return createModel(await readConfig(name, overrides), options);
}

/** `config` with another router: its own defaults, and the choices and capacities of the one before as far as it has them. */
export function routedBy(config: Json, name: string, routers: readonly Router[]): Json {
  const { encoder } = parseConfig(config);
  if (!encoder.moe) throw new CompileError("U1", "--router", "needs a model with sparse blocks");
  const router = routerOf(name, routers);
  const { num_selected_experts, dispatcher } = encoder.moe.router as Json;
  const { batch_priority: _, ...unordered } = (dispatcher ?? {}) as Json;
  const candidates: Json[] = [
    { name, num_selected_experts, dispatcher },
    { name, dispatcher },
    { name, dispatcher: unordered },
    { name },
  ];
  const fitting = candidates.find((candidate) => {
    try {
      router.bind(candidate, encoder.moe?.num_experts ?? 1);
      return true;
    } catch (error) {
      if (error instanceof CompileError) return false;
      throw error;
    }
  });
  const given = config["encoder"] as Json;
  const moe = given["moe"] as Json;
  return { ...config, encoder: { ...given, moe: { ...moe, router: fitting ?? { name } } } };
}

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
