/** moec/runtime: loads and runs compiled bundles, in browsers and in Node; has no compiler in it and needs no package. */
export { type Bundle, fetchFiles, loadBundle, type Manifest, type ReadFile, readManifest } from "./bundle.ts";
export type { DeviceModule, ModuleLaunch, Place, Port } from "./module.ts";
export type { HostArray, OnProgress, RunCounts } from "./program.ts";
