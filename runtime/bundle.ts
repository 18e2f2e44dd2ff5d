/** Bundles: a compiled program in files, with its weights, that any WebGPU device of its kind can load and run. */
import { CompileError } from "../ir/error.ts";
import { Device } from "./device.ts";
import type { DeviceModule, ModuleKernel } from "./module.ts";
import { type HostArray, type OnProgress, type Part, Program } from "./program.ts";

/** `manifest.json`: all of a bundle but the texts of its kernels and the bytes of its weights. */
export interface Manifest {
  readonly format: "moec bundle";
  readonly version: 1;
  /** The module, with the name of a file for the text of each kernel. */
  readonly module: Omit<DeviceModule, "kernels"> & {
    readonly kernels: readonly (Omit<ModuleKernel, "wgsl"> & { readonly file: string })[];
  };
  /** The files of the weight buffers, as they are in memory; undefined in a bundle without weights. */
  readonly weights?: readonly string[];
  /** What the program was made of, such as `config`, `batch` and `imageSize`. */
  readonly model: Readonly<Record<string, unknown>>;
}

/** The bytes of a file of a bundle, by its path there, such as `weights/000.bin`. */
export type ReadFile = (path: string) => AsyncIterable<Uint8Array>;

/** A bundle on a device. */
export interface Bundle {
  readonly manifest: Manifest;
  /**
   * The outputs by name, for inputs by name: `Float32Array`, or `Int32Array` and `Uint32Array` for integers, in
   * row-major order. The manifest's module has their shapes. Throws B1 for inputs that do not fit.
   */
  run(inputs: Readonly<Record<string, HostArray>>): Promise<Record<string, HostArray>>;
  /** The device that it runs on, for people. */
  readonly device: string;
  /** The program itself, with its module and what the last run did. */
  readonly program: Program;
  dispose(): void;
}

/**
 * Loads a bundle on a device of `gpu` (in a page `navigator.gpu`), or on a device that is open already. Throws W1 for
 * files that are missing or broken, B2 to B4 where the device does not do.
 */
export async function loadBundle(
  read: ReadFile,
  gpu: GPU | GPUDevice | undefined,
  progress?: OnProgress,
): Promise<Bundle> {
  if (!gpu) throw new CompileError("B2", "webgpu", "this JavaScript engine has no WebGPU");
  const manifest = await readManifest(read);
  return followed(() => loadModule(read, manifest, gpu, progress));
}

async function loadModule(
  read: ReadFile,
  manifest: Manifest,
  gpu: GPU | GPUDevice,
  progress?: OnProgress,
): Promise<Bundle> {
  const { weights, module: stored } = manifest;
  if (!weights)
    throw new CompileError("W1", manifestFile, "is of a bundle that was compiled without weights");
  const kernels = await Promise.all(
    stored.kernels.map(async ({ file, ...kernel }) => ({ ...kernel, wgsl: await textOf(read, file) })),
  );
  const module: DeviceModule = { ...stored, kernels };
  const device = "requestAdapter" in gpu ? await Device.open(gpu, module) : new Device(gpu);
  const release = (): void => ("requestAdapter" in gpu ? device.close() : undefined);
  try {
    const bytesOf = (index: number): AsyncIterable<Part> =>
      partsOf(read, weights[index] ?? "", module.buffers[index]?.bytes ?? 0);
    const program = await Program.load(device, module, bytesOf, progress);
    return {
      manifest,
      device: device.description,
      run: async (inputs) => Object.fromEntries(await program.run(new Map(Object.entries(inputs)))),
      program,
      dispose() {
        program.dispose();
        release();
      },
    };
  } catch (error) {
    release();
    throw error;
  }
}

/** Files below an address, by `fetch`. */
export const fetchFiles = (base: string): ReadFile =>
  async function* fetchFile(path) {
    const response = await fetch(`${base.replace(/\/$/, "")}/${path}`);
    if (!response.ok || !response.body)
      throw new CompileError("W1", path, `cannot be fetched (${response.status})`);
    // Not every browser iterates streams.
    const reader = response.body.getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  };

export const manifestFile = "manifest.json";

/** The manifest of a bundle. Throws W1 where it is none, or of another version. */
export async function readManifest(read: ReadFile): Promise<Manifest> {
  const text = await textOf(read, manifestFile);
  let manifest: Partial<Manifest> | null;
  try {
    manifest = JSON.parse(text) as Partial<Manifest> | null;
  } catch (error) {
    throw new CompileError("W1", manifestFile, `is not JSON: ${(error as Error).message}`);
  }
  if (manifest?.format === "moec bundle" && manifest.version === 1) return manifest as Manifest;
  const got = manifest?.format === "moec bundle" ? `version ${manifest.version}` : "something else";
  throw new CompileError("W1", manifestFile, `must be of a moec bundle of version 1; got ${got}`);
}

/** What `act` makes of a manifest. Throws W1 where it says what nobody can do, which is a TypeError or a RangeError then. */
export async function followed<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    const [line] = error.message.split("\n");
    throw new CompileError("W1", manifestFile, `must describe a program and its model; ${line}`);
  }
}

async function textOf(read: ReadFile, path: string): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of opened(read, path)) text += decoder.decode(bytes, { stream: true });
  return text + decoder.decode();
}

/** The bytes of a file, with whatever goes wrong told as W1. */
async function* opened(read: ReadFile, path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* read(path);
  } catch (error) {
    if (error instanceof CompileError) throw error;
    throw new CompileError("W1", path, `cannot be read: ${(error as Error).message}`);
  }
}

/** Bytes that are handed on together. */
const partBytes = 4 * 2 ** 20;

/** A file of `total` bytes in parts that are used before the next is asked for. */
async function* partsOf(read: ReadFile, path: string, total: number): AsyncGenerator<Part> {
  const part = new Uint8Array(Math.min(partBytes, total));
  let [offset, filled, seen] = [0, 0, 0];
  for await (const bytes of opened(read, path)) {
    seen += bytes.length;
    if (seen > total) break;
    for (let at = 0; at < bytes.length;) {
      const piece = bytes.subarray(at, at + part.length - filled);
      part.set(piece, filled);
      at += piece.length;
      filled += piece.length;
      if (filled < part.length) continue;
      yield { offset, bytes: part };
      [offset, filled] = [offset + filled, 0];
    }
  }
  if (seen !== total) {
    throw new CompileError("W1", path, `must have ${total} bytes; got ${seen > total ? "more" : seen}`);
  }
  if (filled > 0) yield { offset, bytes: part.subarray(0, filled) };
}
