/** Models in bundles that `moec compile` wrote: run by the runtime alone, described by what the manifest says of them. */
import { stat } from "node:fs/promises";
import { join } from "node:path";

import type { Choice } from "../backends/choose.ts";
import { dawn, openDawn } from "../backends/webgpu/dawn.ts";
import { executableOf } from "../backends/webgpu/executable.ts";
import { folderFiles } from "../backends/webgpu/saveBundle.ts";
import { fileError } from "../files/bytes.ts";
import { CompileError, type WeightSource } from "../ir/index.ts";
import { type Capacities, createModel, type Json, type Model, type Router } from "../models/index.ts";
import { followed, loadBundle, type Manifest, manifestFile, readManifest } from "../runtime/bundle.ts";

/** Whether a command line names a bundle. */
export const isBundle = (name: string): Promise<boolean> =>
  stat(join(name, manifestFile)).then(
    (status) => status.isFile(),
    () => false,
  );

/** A model as a bundle has it. */
export interface BundleModel {
  readonly model: Model;
  readonly imageSize: readonly [number, number];
  /** The WebGPU device with the bundle on it, once it is opened: whatever is compiled there is the bundle's program. */
  readonly open: () => Promise<Choice>;
}

/** What `moec compile` says of a model. */
interface About {
  readonly config: Json;
  readonly imageSize: readonly [number, number];
  readonly batch: number;
  readonly groupSize?: number;
  readonly live?: boolean;
  readonly capacities?: Capacities;
}

/** The model of the bundle in the folder `path`. Throws W1 for one that is broken, or does not say its model. */
export async function openBundle(
  path: string,
  routers: readonly Router[],
  isUnsafe = false,
): Promise<BundleModel> {
  const manifest = await readManifest(folderFiles(path));
  return followed(() => modelOf(path, manifest, routers, isUnsafe));
}

async function modelOf(
  path: string,
  manifest: Manifest,
  routers: readonly Router[],
  isUnsafe: boolean,
): Promise<BundleModel> {
  const about = manifest.model as Partial<About>;
  const { config, imageSize, batch, groupSize, live = false, capacities } = about;
  if (!config || !imageSize || batch === undefined) {
    throw fileError(path, `has no model in its ${manifestFile}: moec compile writes bundles that say theirs`);
  }
  const whole = createModel(config, {
    batch,
    imageSize,
    routers,
    live,
    ...(groupSize !== undefined && { groupSize }),
    ...(capacities && { capacities }),
  });
  const outputs = new Set(manifest.module.outputs.map(({ name }) => name));
  const blocks = whole.blocks.filter(({ name }) => outputs.has(`${name}/slots`));
  return {
    model: { ...whole, blocks },
    imageSize,
    open: () => followed(() => choiceOf(path, manifest, isUnsafe)),
  };
}

async function choiceOf(path: string, { module }: Manifest, isUnsafe: boolean): Promise<Choice> {
  const device = await openDawn(isUnsafe, module);
  const known = new Set(module.outputs.map(({ name }) => name));
  return {
    backend: dawn,
    reason: "a bundle",
    engine: {
      device: device.description,
      software: device.software,
      supports: () => true,
      async compile(_graph, _weights, { outputs = [], progress } = {}) {
        const missing = outputs.find((name) => !known.has(name));
        if (missing !== undefined) {
          throw new CompileError(
            "W1",
            path,
            `has no output ${missing}; moec compile --outputs says which it has`,
          );
        }
        return executableOf((await loadBundle(folderFiles(path), device.gpu, progress)).program);
      },
      close: () => device.close(),
    },
  };
}

/** A bundle has its weights in the form of its device; nothing else reads them. */
export const noWeights: WeightSource = {
  tensors: new Map(),
  read: (name) => Promise.reject(new RangeError(`no weight ${name}`)),
  close: () => Promise.resolve(),
};
