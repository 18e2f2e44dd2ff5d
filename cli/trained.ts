/** Trained models on disk: weights with their configuration, opened together and written side by side. */
import { checkWritable, writeFileAtomically } from "../files/disk.ts";
import { CompileError, sizeOf } from "../ir/index.ts";
import { configOf, fitted, type SurgeryOptions, type Trained } from "../models/index.ts";
import { openWeights } from "../models/weights/open.ts";
import { writeSafetensors } from "../models/weights/safetensors.ts";
import { readConfig } from "./model.ts";
import { loadRouters } from "./plugins.ts";
import type { Progress } from "./progress.ts";

/** Where a model is written: weights, and by default beside them its configuration. */
interface TrainedFiles {
  readonly output: string;
  readonly config?: string;
}

/** What the commands share that make a model of another. */
export interface TrainedOptions extends TrainedFiles {
  readonly model?: string;
  readonly size?: readonly [number, number];
  readonly plugin: readonly string[];
  readonly json?: boolean;
}

/** The routers and the image size that surgery is to know. */
export const surgeryOptions = async ({ plugin, size }: TrainedOptions): Promise<SurgeryOptions> => ({
  routers: await loadRouters(plugin),
  ...(size && { imageSize: size }),
});

/** What was written, as `--json` prints it. */
export interface Written {
  readonly weights: string;
  readonly config: string;
  readonly tensors: number;
  /** Numbers in all tensors. */
  readonly parameters: number;
}

const extension = ".safetensors";

/** The weights at `path` with the configuration that `model` names, by default the one that their shapes spell. */
export async function openTrained(path: string, model: string | undefined): Promise<Trained> {
  const weights = await openWeights(path);
  try {
    const config = model === undefined ? configOf(weights, path) : await readConfig(model, []);
    return { config, weights, name: path };
  } catch (error) {
    await weights.close();
    throw error;
  }
}

const configPath = ({ output, config }: TrainedFiles): string =>
  config ?? `${output.slice(0, -extension.length)}.json`;

/** Throws U1 and W1 for files that cannot be written, before any work is done. */
export async function checkTrainedFiles(files: TrainedFiles): Promise<void> {
  const { output } = files;
  if (!output.endsWith(extension))
    throw new CompileError("U1", "--output", `must be a ${extension} file; got ${output}`);
  await checkWritable(output);
  await checkWritable(configPath(files));
}

/**
 * Writes the model tensor by tensor, each file whole or not at all, the configuration last. Throws M1 to M6 and W2,
 * before anything is written, for weights that would not fit their configuration.
 */
export async function writeTrained(
  trained: Trained,
  files: TrainedFiles,
  options: SurgeryOptions,
  progress: Progress,
): Promise<Written> {
  const { config, weights } = trained;
  fitted({ ...trained, name: files.output }, options);
  const { size } = weights.tensors;
  await writeFileAtomically(files.output, (sink) =>
    writeSafetensors(weights, sink, { onProgress: (done, name) => progress.show(done, `writing ${name}`) }),
  );
  const text = `${JSON.stringify(config, null, 2)}\n`;
  await writeFileAtomically(configPath(files), (sink) => sink(new TextEncoder().encode(text)));
  progress.stop();
  const numbers = [...weights.tensors.values()].map(({ shape }) => sizeOf(shape));
  return {
    weights: files.output,
    config: configPath(files),
    tensors: size,
    parameters: numbers.reduce((a, b) => a + b, 0),
  };
}

/** What was written, for people. */
export const describeWritten = ({ weights, config, tensors, parameters }: Written): string =>
  `${weights}: ${tensors} tensors, ${(parameters / 1e6).toFixed(1)} M numbers\n${config}: moec run ${config} --weights ${weights}`;
