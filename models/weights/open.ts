/** Weight files by path, for Node. */
import { stat } from "node:fs/promises";

import { fileError } from "../../files/bytes.ts";
import { fileSource } from "../../files/disk.ts";
import { readWeights } from "./read.ts";
import { recognised } from "./sources/index.ts";
import type { WeightFile } from "./sources/source.ts";
import { readVmoeCheckpoint } from "./vmoe/checkpoint.ts";

/**
 * The weights at `path`, under our names: a file of any format that `readWeights` takes, or a V-MoE checkpoint by its
 * prefix or one of its files. Throws W1 naming what is not there or not of the format.
 */
export async function openWeights(path: string): Promise<WeightFile> {
  const prefix = path.replace(/\.(?:index|data-\d{5}-of-\d{5})$/, "");
  if (prefix === path && (await isFile(path))) return readFile(path);
  if (await isFile(`${prefix}.index`)) {
    return recognised(prefix, await readVmoeCheckpoint((suffix) => fileSource(prefix + suffix)));
  }
  throw fileError(path, "no such file, and no checkpoint of that prefix");
}

const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (status) => status.isFile(),
    () => false,
  );

async function readFile(path: string): Promise<WeightFile> {
  const file = await fileSource(path);
  try {
    return await readWeights(file);
  } catch (error) {
    await file.close();
    throw error;
  }
}
