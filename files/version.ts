/** The version of this package. */
import { createRequire } from "node:module";

/** As package.json states it, such as `0.1.0`. */
export const packageVersion = (): string =>
  (createRequire(import.meta.url)("moec/package.json") as { readonly version: string }).version;
