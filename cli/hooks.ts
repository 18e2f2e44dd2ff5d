/** Hooks of Node's module loader: TypeScript without its types, and `moec` as this very package wherever a file lies. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { transformSync } from "@swc/wasm-typescript";

/** What Node hands a hook besides the specifier or the address. */
interface Context {
  readonly parentURL?: string | undefined;
}

/** `moec` and `moec/...` as this package: ops of another copy would be strangers to the compiler. */
export function resolve<R>(
  specifier: string,
  context: Context,
  next: (specifier: string, context: Context) => R,
): R {
  const own = /^moec(?:\/|$)/.test(specifier);
  return next(specifier, own ? { ...context, parentURL: import.meta.url } : context);
}

/** A module's source, as Node takes it from a hook. */
interface Loaded {
  readonly format: "module";
  readonly source: string;
  readonly shortCircuit: true;
}

/** A file of TypeScript with its types blanked out, so that every line stays where it is. */
export function load<R>(
  url: string,
  context: Context,
  next: (url: string, context: Context) => R,
): R | Loaded {
  if (!/^file:.*\.m?ts(?:[?#]|$)/.test(url)) return next(url, context);
  return { format: "module", source: stripped(fileURLToPath(url)), shortCircuit: true };
}

function stripped(path: string): string {
  try {
    return transformSync(readFileSync(path, "utf8"), { mode: "strip-only", module: true }).code;
  } catch (error) {
    const { message, startLine } = error as { readonly message: string; readonly startLine?: number };
    throw startLine === undefined ? error : new SyntaxError(`${path}:${startLine}: ${message}`);
  }
}
