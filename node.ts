/** What moec does in Node alone: weight files on disk, Dawn as the GPU, and the choice of a backend. */
export { type Choice, chooseBackend, openBackend } from "./backends/choose.ts";
export { dawn, dawnGpu } from "./backends/webgpu/dawn.ts";
export { fileSource, openWeights, writeFileAtomically } from "./models/weights/file.ts";
