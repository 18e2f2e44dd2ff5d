/** Capacity plans as files: what `moec plan` writes and `--plan` reads. */
import { readFile } from "node:fs/promises";

import { fileError } from "../files/bytes.ts";
import { writeFileAtomically } from "../files/disk.ts";
import { type Capacities, parsePlan } from "../models/index.ts";

/** The capacities in the plan at `path`; undefined without one. Throws W1 for no JSON, M1 for what is no plan. */
export async function readPlan(path: string | undefined): Promise<Capacities | undefined> {
  if (path === undefined) return undefined;
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw fileError(path, error.code === "ENOENT" ? "no such file" : `cannot be read (${error.code})`);
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw fileError(path, `is not JSON: ${(error as Error).message}`);
  }
  return parsePlan(json, path);
}

/** Writes a plan that `readPlan` reads. */
export const writePlan = (path: string, capacities: Capacities): Promise<void> =>
  writeFileAtomically(path, (sink) =>
    sink(new TextEncoder().encode(`${JSON.stringify({ capacities }, undefined, 2)}\n`)),
  );
