/** Weight files by path, for Node. */
import { stat } from "node:fs/promises";

import { fileError } from "../../files/bytes.ts";
import { fileSource } from "../../files/disk.ts";
import type { WeightSource } from "../../ir/index.ts";
import { readSafetensors } from "./safetensors.ts";
import { readVmoeCheckpoint } from "./vmoe/checkpoint.ts";

/**
 * The weights at `path`: a safetensors file, or the prefix of a V-MoE checkpoint (with or without `.index`).
 * Throws W1 naming what is not there or not of the format.
 */
export async function openWeights(path: string): Promise<WeightSource> {
  const prefix = path.replace(/\.index$/, "");
  const isFile = await stat(path).then(
    (status) => status.isFile(),
    () => false,
  );
  const hasIndex = await stat(`${prefix}.index`).then(
    () => true,
    () => false,
  );
  if (isFile && !path.endsWith(".index")) return readSafetensors(await fileSource(path));
  if (hasIndex) return readVmoeCheckpoint((suffix) => fileSource(prefix + suffix));
  throw fileError(path, "no such file, and no checkpoint of that prefix");
}
