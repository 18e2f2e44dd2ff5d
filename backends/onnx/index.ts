/** ONNX: programs to models in bytes, and back. Free of Node; moec/node runs them, and writes them to disk. */
export type { SymbolicBatch } from "./batch.ts";
export { exportOnnx, type ExportOptions, type OnnxProgram } from "./export.ts";
export { embedded, type OnnxFiles, withData } from "./file.ts";
export { importOnnx, type ImportedProgram, type ImportOptions } from "./import/importOnnx.ts";
export type { OpenData } from "./import/tensors.ts";
export type { WeightTensor } from "./weights.ts";
