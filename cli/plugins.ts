/** Routers of the user's own, from the files that `--plugin` names. */
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { fileError } from "../files/bytes.ts";
import { type Router, routersWith } from "../models/index.ts";

/**
 * Every router that the files export: by default, by name or in an array. Throws W1 for a file that cannot be
 * imported or exports none, M2 for a router whose name is taken.
 */
export async function loadRouters(paths: readonly string[]): Promise<Router[]> {
  if (paths.length === 0) return [];
  await import("./register.ts");
  const found: Router[] = [];
  for (const path of paths) found.push(...(await routersIn(path)));
  routersWith(found);
  return found;
}

async function routersIn(path: string): Promise<Router[]> {
  const exists = await stat(path).then(
    (status) => status.isFile(),
    () => false,
  );
  if (!exists) throw fileError(path, "no such file");
  const exported = (await import(pathToFileURL(resolve(path)).href).catch((error: unknown) => {
    throw fileError(path, `cannot be imported: ${reason(error)}`);
  })) as Readonly<Record<string, unknown>>;
  const routers = [...new Set(Object.values(exported).flat())].filter(isRouter);
  if (routers.length === 0) throw fileError(path, "exports no router; one is made by defineRouter");
  return routers;
}

const isRouter = (value: unknown): value is Router =>
  typeof value === "object" &&
  value !== null &&
  "name" in value &&
  typeof value.name === "string" &&
  "bind" in value &&
  typeof value.bind === "function";

/** What went wrong in one line; the stack of some syntax errors begins with a place that their message lacks. */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error).split("\n")[0] ?? "";
  const [message = ""] = error.message.split("\n");
  const [place = ""] = (error.stack ?? "").split("\n");
  const known = error instanceof SyntaxError && place.startsWith("file:");
  return `${error.name}: ${message}${known ? ` at ${place}` : ""}`;
}
