/**
 * Names of classes. Those of ImageNet, in the order of ILSVRC 2012, are the lemmas of WordNet 3.0 (Princeton University,
 * its licence lets them be copied), as timm has them (Apache 2.0).
 */
import { readFile } from "node:fs/promises";

import { fileError } from "../files/bytes.ts";
import { CompileError } from "../ir/index.ts";

/**
 * The names that `given` says of `classes` classes: `imagenet`, or a file with one a line. Throws W1 for a file that
 * cannot be read, U1 where there are more or fewer names than classes.
 */
export async function readLabels(given: string, classes: number): Promise<readonly string[]> {
  const names = given === "imagenet" ? await imagenet() : await linesOf(given);
  if (names.length === classes) return names;
  throw new CompileError(
    "U1",
    "--labels",
    `${given} names ${names.length} classes; the model has ${classes}`,
  );
}

async function imagenet(): Promise<readonly string[]> {
  const { default: names } = await import("./imagenet.json", { with: { type: "json" } });
  return names;
}

async function linesOf(path: string): Promise<string[]> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw fileError(path, error.code === "ENOENT" ? "no such file" : `cannot be read (${error.code})`);
  });
  return text.replace(/\r?\n$/, "").split(/\r?\n/);
}
