/** Settings of the property tests: a fixed seed by default; `MOEC_NIGHTLY=1` draws fresh seeds and more cases. */
import fc from "fast-check";

const nightly = Boolean(process.env["MOEC_NIGHTLY"]);
const seed = Number(process.env["MOEC_SEED"] ?? (nightly ? Date.now() % 2 ** 31 : 20210610));

fc.configureGlobal({ seed, numRuns: nightly ? 1000 : 60 });
