/** What moec does in Node alone: weight files on disk, Dawn as the GPU, and the choice of a backend. */
export { type Choice, chooseBackend, openBackend } from "./backends/choose.ts";
export { onnx, type OnnxModel, type OnnxOptions, openModel } from "./backends/onnx/runtime.ts";
export { saveProgram } from "./backends/onnx/save.ts";
export { dawn, dawnFor, dawnGpu, type DawnTuning, tuneDawn as tune } from "./backends/webgpu/dawn.ts";
export { folderFiles, saveBundle, validate } from "./backends/webgpu/saveBundle.ts";
export { fileSource, writeFileAtomically } from "./files/disk.ts";
export { type BackendCompileOptions, compile, type FileLoadOptions, load } from "./inference/node.ts";
export { type Fit, readImages } from "./inference/photographs.ts";
export { openWeights } from "./models/weights/open.ts";
