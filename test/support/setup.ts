/** Settings of the property tests: a fixed seed by default; `MOEC_NIGHTLY=1` draws fresh seeds and more cases. */
import fc from "fast-check";

import { runs, seed } from "./runs.ts";

fc.configureGlobal({ seed, numRuns: runs(60) });
