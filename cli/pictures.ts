/** Photographs by path, by folder and by glob, in an order that does not depend on the machine. */
import { stat } from "node:fs/promises";
import { isAbsolute, join, resolve } from "node:path";

import { glob } from "tinyglobby";

import { fileError } from "../files/bytes.ts";

const kinds = "**/*.{avif,gif,jpeg,jpg,png,tif,tiff,webp}";

const isPattern = (text: string): boolean => /[*?[\]{}()!]/.test(text);

const byCodePoint = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/**
 * The files that `given` name: a file as it is, of a folder every picture in it and below, of a glob what it matches;
 * each once, where it is named first, those of a folder or glob in order of their paths. Throws W1 for what names none.
 */
export async function findPictures(given: readonly string[]): Promise<string[]> {
  const found = new Map<string, string>();
  for (const each of given) {
    for (const path of await namedBy(each)) if (!found.has(resolve(path))) found.set(resolve(path), path);
  }
  return [...found.values()];
}

async function namedBy(given: string): Promise<string[]> {
  const status = await stat(given).catch(() => undefined);
  if (status?.isDirectory()) {
    const below = await glob(kinds, { cwd: given, caseSensitiveMatch: false, expandDirectories: false });
    if (below.length === 0) throw fileError(given, "has no picture in it");
    return below.map((path) => join(given, path)).toSorted(byCodePoint);
  }
  // A name with a bracket in it may be a file's own; what is neither is told when it is read.
  if (status || !isPattern(given)) return [given];
  const matches = await glob(given, { expandDirectories: false, absolute: isAbsolute(given) });
  if (matches.length === 0) throw fileError(given, "matches no file");
  return matches.toSorted(byCodePoint);
}
