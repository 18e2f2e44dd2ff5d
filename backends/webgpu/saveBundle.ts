/** Bundles on disk, for Node; and whether WebGPU takes what is in them, which needs no GPU. */
import { createReadStream } from "node:fs";
import { join } from "node:path";

import { checkReplaceable, writeFolderAtomically } from "../../files/disk.ts";
import { CompileError, type WeightSource } from "../../ir/index.ts";
import { type Manifest, readManifest, type ReadFile } from "../../runtime/bundle.ts";
import { Device } from "../../runtime/device.ts";
import type { DeviceModule, ModuleKernel } from "../../runtime/module.ts";
import { bundleFiles } from "./bundle.ts";
import { dawnGpu } from "./dawn.ts";
import { kernelNeeds } from "./needs.ts";
import type { Profile } from "./profile.ts";

/**
 * Writes a module and its weights as the folder `path`, which appears when it is whole. Holds one part of one weight
 * at a time. Throws W1 where it cannot be written, or something else is there.
 */
export async function saveBundle(
  path: string,
  module: DeviceModule,
  model: Manifest["model"],
  source?: WeightSource,
  onProgress: (done: number) => void = () => undefined,
): Promise<void> {
  const total = module.kernels.length + module.weightBuffers;
  await writeFolderAtomically(path, isBundle, async (add) => {
    let done = 0;
    for (const file of bundleFiles(module, model, source)) {
      onProgress(Math.min(1, done++ / total));
      await add(file.path, file.bytes);
    }
  });
}

/** Many a folder has a manifest.json, such as that of a web page; a bundle is what has its own. */
const isBundle = (path: string): Promise<boolean> =>
  readManifest(folderFiles(path)).then(
    () => true,
    () => false,
  );

/** Throws W1 when `saveBundle` cannot write to `path`, before any work is done. */
export const checkBundlePath = (path: string): Promise<void> => checkReplaceable(path, isBundle);

/** The files of the bundle in the folder `path`. */
export const folderFiles =
  (path: string): ReadFile =>
  (file) =>
    createReadStream(join(path, file));

/**
 * Holds a module to the limits of the profile that it was compiled for, and builds its kernels on Dawn's null backend.
 * That has WebGPU's default limits alone: of a kernel beyond them the text is checked, but no pipeline is made.
 * Throws B3 for what is beyond the profile, B4 for what WebGPU refuses.
 */
export async function validate(module: DeviceModule, { name, limits }: Profile): Promise<void> {
  for (const [limit, want] of Object.entries(module.limits)) {
    const has = limits[limit as keyof typeof limits];
    if (want > has) throw new CompileError("B3", module.name, `needs ${limit} ${want}; ${name} has ${has}`);
  }
  const gpu = await dawnGpu(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
  const device = await Device.open(gpu);
  const small = (kernel: ModuleKernel): boolean =>
    Object.entries(kernelNeeds(kernel, limits)).every(
      ([limit, want]) => want <= device.limits[limit as keyof typeof limits],
    );
  try {
    await Promise.all(
      module.kernels.map((kernel) => (small(kernel) ? device.pipeline(kernel) : device.shader(kernel))),
    );
  } finally {
    device.close();
  }
}
