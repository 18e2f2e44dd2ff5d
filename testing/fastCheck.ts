/** fast-check, which whoever tests by these laws installs beside moec. */
import type * as FastCheck from "fast-check";

export const fc: typeof FastCheck = await import("fast-check").catch((cause: unknown) => {
  throw new Error("moec/testing needs fast-check; run npm install --save-dev fast-check", { cause });
});
