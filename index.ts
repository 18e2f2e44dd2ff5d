/** moec: describe, compile and run sparse Mixture-of-Experts vision models. Free of Node; see moec/node for files. */
export type { Backend, CompileOptions, Engine, Executable, Report, Tolerance } from "./backends/backend.ts";
export { reference } from "./backends/reference/index.ts";
export type { Images } from "./inference/batches.ts";
export {
  compile,
  type EngineCompileOptions,
  type ModelCompileOptions,
  type Program,
  type RunOptions,
  type StreamOptions,
} from "./inference/compile.ts";
export { load, type Loaded, type LoadOptions } from "./inference/loaded.ts";
export type { ClassScore, Result } from "./inference/result.ts";
export * from "./ir/index.ts";
export * from "./models/index.ts";
export { blobSource, type ByteSink, type ByteSource, memorySource } from "./files/bytes.ts";
export { matchWeights } from "./models/weights/match.ts";
export { readWeights } from "./models/weights/read.ts";
export { readSafetensors, writeSafetensors } from "./models/weights/safetensors.ts";
export { type OpenPart, readVmoeCheckpoint } from "./models/weights/vmoe/checkpoint.ts";
export * from "./passes/index.ts";
