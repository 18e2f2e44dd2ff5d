/** Models in files that `moec export` wrote: their programs and weights, and what their metadata says of them. */
import { dirname, join } from "node:path";

import { fileError } from "../files/bytes.ts";
import { fileSource } from "../files/disk.ts";
import { CompileError, type WeightSource } from "../ir/index.ts";
import {
  createModel,
  type Json,
  knobsPrefix,
  type Model,
  type ModelOptions,
  type Router,
} from "../models/index.ts";

/** Whether a command line names a file of this kind. */
export const isOnnx = (name: string): boolean => name.endsWith(".onnx");

/** A model as a file has it. */
export interface OnnxModelFile {
  readonly model: Model;
  readonly weights: WeightSource;
  readonly imageSize: readonly [number, number];
}

/**
 * The model in the file at `path`, for `batch` images; by default the fewest that it takes. Throws W1 for a file that
 * is not there or does not say its model, O3 and O4 for one that is broken or foreign.
 */
export async function openOnnx(
  path: string,
  batch: number | undefined,
  routers: readonly Router[],
): Promise<OnnxModelFile> {
  // Loaded here, since most commands read no such file.
  const [{ importModel }, { readModel }] = await Promise.all([
    import("../backends/onnx/import/importOnnx.ts"),
    import("../backends/onnx/import/model.ts"),
  ]);
  const file = await fileSource(path);
  try {
    const openData = (location: string): ReturnType<typeof fileSource> =>
      fileSource(join(dirname(path), location));
    const read = await readModel(file);
    const said = (key: string): unknown => parsed(path, key, read.metadata.get(key));
    const { graph, weights } = await importModel(read, {
      batch: batchOf(path, said("moec.batch"), batch),
      openData,
    });
    const imageSize = said("moec.image_size") as readonly [number, number];
    const [first] = said("moec.capacity") as Model["blocks"];
    const planned = read.metadata.has("moec.plan")
      ? (said("moec.plan") as NonNullable<ModelOptions["capacities"]>)
      : undefined;
    const whole = createModel(said("moec.config") as Json, {
      batch: graph.inputs[0]?.type.shape[0] ?? 1,
      imageSize,
      routers,
      live: graph.inputs.some(({ leaf }) => leaf?.name.startsWith(knobsPrefix)),
      ...(first && { groupSize: first.groupSize }),
      ...(planned && { capacities: planned }),
    });
    const blocks = whole.blocks.filter(({ name }) => graph.outputs.has(`${name}/slots`));
    return { model: { ...whole, graph, blocks }, weights, imageSize };
  } finally {
    await file.close();
  }
}

/** The batch asked for, or the fewest images that the file is for. Throws O4 where it is not for so many. */
function batchOf(path: string, said: unknown, asked: number | undefined): number {
  const { multipleOf } = said as { readonly multipleOf?: number };
  const least = multipleOf ?? Number(said);
  const batch = asked ?? least;
  if (multipleOf === undefined ? batch === least : batch % multipleOf === 0) return batch;
  const must =
    multipleOf === undefined ? `is for a batch of ${least}` : `is for multiples of ${least} images`;
  throw new CompileError("O4", path, `${must}; got ${batch}`);
}

function parsed(path: string, key: string, value: string | undefined): unknown {
  try {
    return JSON.parse(value ?? "");
  } catch {
    throw fileError(path, `has no ${key} in its metadata: moec export writes files that say their model`);
  }
}

/** Throws U1 for an option that would make another model of the file's. */
export function refuseOverrides(path: string, options: Readonly<Record<string, unknown>>): void {
  const given = Object.entries(options).find(
    ([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0),
  );
  if (given) throw new CompileError("U1", given[0], `is not for ${path}, which has a model of its own`);
}
