/** WebGPU in Node: Dawn, through the npm package `webgpu`. */
import type { Graph } from "../../ir/index.ts";
import { Device, type Wanted } from "../../runtime/device.ts";
import type { Backend } from "../backend.ts";
import { type Profile, webgpuOn } from "./index.ts";
import { pollSparingly } from "./polling.ts";
import { openTunedFile, ownProfile, writeProfile } from "./targetFile.ts";
import { tune, type TuneOptions, type Tuning, withChoices } from "./tune/index.ts";

/** Dawn crashes when the object that owns its adapters is collected, so it is held for the life of the process. */
const held: GPU[] = [];

/** Whether Dawn has been told to let software drivers compute. */
let isSparing = false;

/** Dawn's GPU object, with the given flags, such as `backend=null`. */
export async function dawnGpu(flags: readonly string[] = []): Promise<GPU> {
  const { create } = await import("webgpu");
  // Times are rounded for the web's sake, where pages could measure each other.
  const gpu = create(["disable-dawn-features=timestamp_quantization", ...flags]);
  if (!isSparing && (await gpu.requestAdapter())?.info.isFallbackAdapter) {
    isSparing = true;
    pollSparingly(globalThis);
  }
  held.push(gpu);
  return gpu;
}

/** What makes Dawn offer experimental features, and float16 on drivers where it is off. */
const unsafeFlags = ["enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia"];

/** A device of this machine's GPU, with unsafe features where these are wanted. Throws B2 where there is none. */
export const openDawn = async (isUnsafe = false, wanted?: Wanted): Promise<Device> =>
  Device.open(await dawnGpu(isUnsafe ? unsafeFlags : []), wanted);

/** The backend on Dawn; for the devices of `profile`, where it is given, instead of this machine's own as it was tuned. */
export const dawnFor = (profile?: Profile, isUnsafe = false): Backend =>
  webgpuOn(() => dawnGpu(isUnsafe ? unsafeFlags : []), profile ?? ((device) => ownProfile(device, isUnsafe)));

export const dawn: Backend = dawnFor();

/** What was found, on what, and the file that keeps it. */
export interface DawnTuning extends Tuning {
  readonly device: string;
  readonly file: string;
}

/**
 * Tunes the products of `graph` for this machine's GPU, and keeps the choices, beside those of other programs, for
 * `dawn`. Throws B2 where there is no adapter, B3 for one without timestamps, B5 when it is lost, W1 for the file.
 */
export async function tuneDawn(
  graph: Graph,
  { unsafe = false, ...options }: TuneOptions & { readonly unsafe?: boolean } = {},
): Promise<DawnTuning> {
  const device = await openDawn(unsafe);
  try {
    const file = await openTunedFile(device);
    const found = await tune(graph, device, await ownProfile(device, unsafe), options);
    // Another process may have kept choices meanwhile.
    const profile = withChoices(await ownProfile(device, unsafe), found.subjects);
    await writeProfile(file, profile);
    return { ...found, profile, device: device.description, file };
  } finally {
    device.close();
  }
}

/** Gives the process what a browser's page has: `navigator.gpu`, and WebGPU's constants. For libraries made for pages. */
export async function asInBrowsers(): Promise<void> {
  const { globals } = await import("webgpu");
  Object.assign(globalThis, globals);
  Object.defineProperty(globalThis, "navigator", { value: { gpu: await dawnGpu() }, configurable: true });
}
