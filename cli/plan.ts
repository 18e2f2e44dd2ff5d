/** Capacity plans as files: what `moec plan` writes and `--plan` reads. */
import { readJson, writeFileAtomically } from "../files/disk.ts";
import { type Capacities, parsePlan } from "../models/index.ts";

/** The capacities in the plan at `path`; undefined without one. Throws W1 for no JSON, M1 for what is no plan. */
export async function readPlan(path: string | undefined): Promise<Capacities | undefined> {
  if (path === undefined) return undefined;
  return parsePlan(await readJson(path), path);
}

/** Writes a plan that `readPlan` reads. */
export const writePlan = (path: string, capacities: Capacities): Promise<void> =>
  writeFileAtomically(path, (sink) =>
    sink(new TextEncoder().encode(`${JSON.stringify({ capacities }, undefined, 2)}\n`)),
  );
