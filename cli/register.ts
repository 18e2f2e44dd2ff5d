/** Lets Node import TypeScript, and `moec` by name from wherever a file lies: `node --import moec/register`. */
import * as loader from "node:module";

import type * as hooks from "./hooks.ts";

const { registerHooks } = loader as { readonly registerHooks?: (all: typeof hooks) => unknown };

if (registerHooks) registerHooks(await import("./hooks.ts"));
// Node before 22.15. It does not run sources either, so the name is that of the built file.
else loader.register("./hooks.js", import.meta.url);
