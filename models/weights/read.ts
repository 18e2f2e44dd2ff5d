/** One file of weights in any format, told apart by its first bytes. */
import { type ByteSource, fileError } from "../../files/bytes.ts";
import type { WeightSource } from "../../ir/index.ts";
import { type Json, mergeConfig } from "../config.ts";
import { readFlax } from "./flax.ts";
import { readNpz } from "./npz.ts";
import { type Metadata, readSafetensors } from "./safetensors.ts";
import { recognised } from "./sources/index.ts";
import type { WeightFile } from "./sources/source.ts";

/** The note of a safetensors file that says, as JSON, what a configuration must have for its weights. */
export const configNote = "moec.config";

/** A format of one file. */
export interface Format {
  readonly name: string;
  /** Whether a file may be of it, by its first bytes. */
  readonly begins: (bytes: Uint8Array) => boolean;
  readonly read: (file: ByteSource) => Promise<WeightSource & { readonly metadata?: Metadata }>;
}

const brace = 0x7b;
const isZip = ([first, second]: Uint8Array): boolean => first === 0x50 && second === 0x4b;
const isMsgpackMap = ([first = 0]: Uint8Array): boolean =>
  first >> 4 === 8 || first === 0xde || first === 0xdf;

export const formats: readonly Format[] = [
  { name: "safetensors", begins: (bytes) => bytes[8] === brace, read: readSafetensors },
  { name: ".npz", begins: isZip, read: readNpz },
  { name: "Flax msgpack", begins: isMsgpackMap, read: readFlax },
];

const headBytes = 9;

/**
 * The weights in `file` under our names, each tensor read when asked for: of any format of one file and of any source
 * that is known; see docs/weights.md. Throws W1 naming the file.
 */
export async function readWeights(file: ByteSource): Promise<WeightFile> {
  const head = await file.read(0, Math.min(headBytes, file.size));
  const format = formats.find(({ begins }) => begins(head));
  if (!format) {
    const known = formats.map(({ name }) => name).join(", ");
    throw fileError(file.name, `is not a file of weights: neither ${known} nor a V-MoE checkpoint`);
  }
  const { metadata, ...source } = await format.read(file);
  if (source.tensors.size === 0) {
    throw fileError(
      file.name,
      "has no weights; of PyTorch's .pt and .bin, save the state dictionary as safetensors",
    );
  }
  const weights = recognised(file.name, source);
  return { ...weights, config: mergeConfig(weights.config, noted(file.name, metadata?.[configNote])) };
}

function noted(name: string, note: string | undefined): Json {
  if (note === undefined) return {};
  try {
    const config: unknown = JSON.parse(note);
    if (typeof config === "object" && config !== null && !Array.isArray(config)) return config as Json;
  } catch {
    // Not JSON, which is as wrong.
  }
  throw fileError(name, `has a note ${configNote} that is not a JSON object`);
}
