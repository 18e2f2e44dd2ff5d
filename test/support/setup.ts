/** Settings of the tests: a fixed seed by default, `MOEC_NIGHTLY=1` draws fresh seeds and more cases; nothing tuned. */
import { tmpdir } from "node:os";
import { join } from "node:path";

import fc from "fast-check";

import { runs, seed } from "./runs.ts";

fc.configureGlobal({ seed, numRuns: runs(60) });

// What is tuned on this machine is no part of what is tested.
process.env["MOEC_CACHE"] = join(tmpdir(), "moec-untuned");
