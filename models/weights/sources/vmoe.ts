/** V-MoE's own names, which are ours. */
import type { Source } from "./source.ts";

export const vmoe: Source = {
  name: "vmoe",
  summary: "google-research/vmoe, and moec itself: sharded checkpoints, safetensors, `.npz`, msgpack",
  mark: "Encoder/encoderblock_*/...",
  prefixes: ["params/", "target/", "opt/target/"],
  config: {},
  rows: [],
};
