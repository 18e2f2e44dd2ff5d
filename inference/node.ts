/** Models by name and by file, on the best backend that this machine has; for Node. */
import { readFile } from "node:fs/promises";

import type { EngineOptions } from "../backends/backend.ts";
import { type Choice, chooseBackend, openBackend } from "../backends/choose.ts";
import { fileError, parseJson } from "../files/bytes.ts";
import { CompileError, type WeightSource } from "../ir/index.ts";
import { type Json, presets } from "../models/index.ts";
import { openWeights } from "../models/weights/open.ts";
import { compile as compileOn, type ModelCompileOptions, type Program } from "./compile.ts";
import { load as loadFrom, type Loaded, type LoadOptions } from "./loaded.ts";

/** The configuration of a preset or of a JSON file. Throws M1 where a name is neither, W1 for a file that is no JSON. */
export async function configNamed(name: string): Promise<Json> {
  const preset = presets.get(name);
  if (preset) return preset;
  const text = await readFile(name, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (name.endsWith(".json"))
      throw fileError(name, error.code === "ENOENT" ? "no such file" : `cannot be read (${error.code})`);
    throw new CompileError("M1", name, "is neither a preset (see moec models) nor a configuration file");
  });
  return parseJson(name, text) as Json;
}

/** What is chosen when a model is loaded from files. */
export interface FileLoadOptions extends Omit<LoadOptions, "weights"> {
  /** A weight file by its path, or weights that are open already. */
  readonly weights?: string | WeightSource;
}

/**
 * The model of a preset, of a configuration file, or of a configuration. The weights are read when a program is compiled;
 * `weights.close()` when that is over. Throws W1 for files that are not there, M1 to M6, W2 for weights that do not fit.
 */
export async function load(config: string | Json, options: FileLoadOptions = {}): Promise<Loaded> {
  const { weights, ...rest } = options;
  const known = typeof config === "string" && !presets.has(config) ? await configNamed(config) : config;
  if (weights === undefined) return loadFrom(known, rest);
  const [source, name] =
    typeof weights === "string" ? [await openWeights(weights), weights] : [weights, "weights"];
  try {
    return loadFrom(known, { ...rest, weights: source, name });
  } catch (error) {
    if (typeof weights === "string") await source.close();
    throw error;
  }
}

/** Where a model is compiled. */
export interface BackendCompileOptions extends ModelCompileOptions, EngineOptions {
  /** A backend by name; by default the best there is. */
  readonly backend?: string;
}

/** Compiles a model for a backend, which closes with the program. Throws B2 where there is none, W3, B3 to B5. */
export async function compile(loaded: Loaded, options: BackendCompileOptions = {}): Promise<Program> {
  const { backend = "auto", ...rest } = options;
  const { engine }: Choice =
    backend === "auto" ? await chooseBackend(rest) : await openBackend(backend, rest);
  try {
    return await compileOn(loaded, { ...rest, engine, owned: true });
  } catch (error) {
    engine.close();
    throw error;
  }
}
