/** `moec convert`: weights of any source and format as safetensors under our names. */
import { Command, Option } from "commander";

import { checkWritable, writeFileAtomically } from "../../files/disk.ts";
import { byteLength, sizeOf, type WeightSource } from "../../ir/index.ts";
import { createModel, imageSizeOf } from "../../models/index.ts";
import { castTo, type FloatType } from "../../models/weights/cast.ts";
import { checkFit, shapedAs } from "../../models/weights/match.ts";
import { openWeights } from "../../models/weights/open.ts";
import { configNote } from "../../models/weights/read.ts";
import { writeSafetensors } from "../../models/weights/safetensors.ts";
import type { WeightFile } from "../../models/weights/sources/source.ts";
import { defaultSize, readConfig } from "../model.ts";
import { examples, jsonOption, pluginOption, setOption, weightsHelp } from "../options.ts";
import { loadRouters } from "../plugins.ts";
import { progressBar } from "../progress.ts";
import { mebibytes } from "../terminal.ts";

interface ConvertOptions {
  readonly output: string;
  readonly dtype?: FloatType;
  readonly model?: string;
  readonly set: readonly string[];
  readonly plugin: readonly string[];
  readonly json?: boolean;
}

/** What `--json` prints. */
interface Summary {
  readonly input: string;
  /** Whose names the input has. */
  readonly origin: string;
  readonly output: string;
  readonly tensors: number;
  readonly parameters: number;
  /** Of the output's tensors. */
  readonly bytes: number;
}

async function convert(input: string, options: ConvertOptions): Promise<void> {
  const { output, dtype, json } = options;
  await checkWritable(output);
  const file = await openWeights(input);
  const progress = progressBar(json === true);
  try {
    const fitted = options.model === undefined ? file : await fittedTo(options.model, input, file, options);
    const source = dtype ? castTo(fitted, dtype, input) : fitted;
    const said = Object.keys(file.config).length > 0;
    await writeFileAtomically(output, (sink) =>
      writeSafetensors(source, sink, {
        ...(said && { metadata: { [configNote]: JSON.stringify(file.config) } }),
        onProgress: (done, name) => progress.show(done, name),
      }),
    );
    progress.stop();
    const types = [...source.tensors.values()];
    const summary: Summary = {
      input,
      origin: file.origin,
      output,
      tensors: types.length,
      parameters: types.reduce((sum, { shape }) => sum + sizeOf(shape), 0),
      bytes: types.reduce((sum, type) => sum + byteLength(type), 0),
    };
    console.log(json ? JSON.stringify(summary) : describe(summary));
  } finally {
    progress.stop();
    await file.close();
  }
}

/** `file` in the shapes of the model that `name` names; throws W2 where it does not fit. */
async function fittedTo(
  name: string,
  input: string,
  file: WeightFile,
  { set, plugin }: ConvertOptions,
): Promise<WeightSource> {
  const config = await readConfig(name, set, file);
  const imageSize = imageSizeOf(config, file) ?? defaultSize;
  const { parameters } = createModel(config, { imageSize, routers: await loadRouters(plugin) });
  checkFit(parameters, file, input);
  return shapedAs(parameters, file);
}

/** The summary for people. */
const describe = ({ input, origin, output, tensors, parameters, bytes }: Summary): string =>
  [
    `${input} (names of ${origin}) to ${output}`,
    `${tensors} tensors, ${(parameters / 1e6).toFixed(1)} M parameters, ${mebibytes(bytes)}`,
  ].join("\n");

/** `moec convert`. */
export const convertCommand: Command = new Command("convert")
  .description("write weights of any source as safetensors with the names that moec reads")
  .argument("<weights>", weightsHelp)
  .requiredOption("-o, --output <file>", "the .safetensors file to write")
  .addOption(
    new Option("--dtype <type>", "round floats to this type; as they are by default").choices([
      "f16",
      "bf16",
      "f32",
    ]),
  )
  .option("--model <model>", "a preset or a configuration file that the weights must fit; in its shapes")
  .addOption(setOption())
  .addOption(pluginOption())
  .addOption(jsonOption())
  .addHelpText(
    "after",
    examples(
      "convert ViT-B_16.npz -o vit-b16.safetensors --dtype f16",
      "convert timm/model.safetensors -o vit-s16.safetensors --model vit-s16",
      "convert checkpoint_prefix -o vmoe.safetensors",
    ),
  )
  .action((weights: string, options: ConvertOptions) => convert(weights, options));
