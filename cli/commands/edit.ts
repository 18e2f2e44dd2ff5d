/** `moec edit`: a model with other experts or fewer blocks, from its weights. */
import { Command, Option } from "commander";

import { CompileError } from "../../ir/index.ts";
import {
  atResolution,
  keptBlocks,
  mergeConfig,
  parseBlocks,
  parseConfig,
  parseOverride,
  type SurgeryOptions,
  type Trained,
  withExperts,
} from "../../models/index.ts";
import {
  configOutputOption,
  modelOption,
  examples,
  jsonOption,
  parseCount,
  parseSize,
  pluginOption,
  setOption,
  trainedOutputOption,
} from "../options.ts";
import { progressBar } from "../progress.ts";
import {
  checkTrainedFiles,
  describeWritten,
  openTrained,
  surgeryOptions,
  type TrainedOptions,
  writeTrained,
} from "../trained.ts";

interface EditOptions extends TrainedOptions {
  readonly keepExperts?: readonly number[];
  readonly dropExperts?: readonly number[];
  readonly experts?: number;
  readonly blocks?: string;
  readonly set: readonly string[];
}

async function edit(path: string, options: EditOptions): Promise<void> {
  const { json = false } = options;
  checkAsked(options);
  await checkTrainedFiles(options);
  const surgery = await surgeryOptions(options);
  const trained = await openTrained(path, options.model);
  const progress = progressBar(json);
  try {
    const written = await writeTrained(edited(trained, options, surgery), options, surgery, progress);
    console.log(json ? JSON.stringify(written) : describeWritten(written));
  } finally {
    progress.stop();
    await trained.weights.close();
  }
}

function checkAsked({ keepExperts, dropExperts, experts, blocks, size }: EditOptions): void {
  const ways = [keepExperts, dropExperts, experts].filter((way) => way !== undefined).length;
  if (ways > 1)
    throw new CompileError(
      "U1",
      "edit",
      "takes one of --keep-experts, --drop-experts and --experts; got more",
    );
  if (ways === 0 && blocks === undefined && size === undefined)
    throw new CompileError(
      "U1",
      "edit",
      "needs --keep-experts, --drop-experts, --experts, --blocks or --size",
    );
}

/** The resolution first, then blocks, experts, and the overrides of the configuration. */
function edited(trained: Trained, options: EditOptions, surgery: SurgeryOptions): Trained {
  const { encoder } = parseConfig(trained.config);
  const all = Array.from({ length: encoder.moe?.num_experts ?? 0 }, (_, expert) => expert);
  const experts = picksOf(all, options);
  const { blocks, size } = options;
  const sized = size === undefined ? trained : atResolution(trained, size, surgery);
  const cut =
    blocks === undefined ? sized : keptBlocks(sized, parseBlocks(blocks, encoder.num_layers), surgery);
  const given = experts ? withExperts(cut, experts, surgery) : cut;
  return { ...given, config: options.set.map(parseOverride).reduce(mergeConfig, given.config) };
}

/** Which of `all` experts are asked for, in order; undefined where nothing is said of experts. */
function picksOf(
  all: readonly number[],
  { keepExperts, dropExperts, experts }: EditOptions,
): readonly number[] | undefined {
  const stray = dropExperts?.find((expert) => !all.includes(expert));
  if (stray !== undefined)
    throw new CompileError("U1", "--drop-experts", `must be some of 0 to ${all.length - 1}; got ${stray}`);
  if (dropExperts) return all.filter((expert) => !dropExperts.includes(expert));
  if (experts !== undefined) return Array.from({ length: experts }, (_, i) => i % Math.max(1, all.length));
  return keepExperts;
}

const parseExperts =
  (option: string) =>
  (text: string): readonly number[] =>
    text.split(",").map((each) => parseCount(option, 0)(each.trim() || "none"));

/** `moec edit`. */
export const editCommand: Command = new Command("edit")
  .description("make a model of some of another's experts or blocks, or at another resolution")
  .argument("<weights>", "of a model")
  .addOption(modelOption())
  .option(
    "--keep-experts <list>",
    "the experts to keep, in this order, such as 0,3,5",
    parseExperts("--keep-experts"),
  )
  .option("--drop-experts <list>", "the experts to leave out", parseExperts("--drop-experts"))
  .option(
    "--experts <n>",
    "so many: the first n, or, of more, copies of all in turn, what routers know of them too",
    parseCount("--experts", 1),
  )
  .option("--blocks <which>", "the blocks to keep, such as 5 alone, or 0,1,5")
  .addOption(
    new Option("--size <pixels>", "resize the position embeddings to images of this size").argParser(
      parseSize,
    ),
  )
  .addOption(setOption())
  .addOption(pluginOption())
  .addOption(trainedOutputOption())
  .addOption(configOutputOption())
  .addOption(jsonOption())
  .addHelpText(
    "after",
    examples(
      "edit moe.safetensors --model moe.json --keep-experts 0,3,5 -o three.safetensors",
      "edit moe.safetensors --model moe.json --experts 16 -o sixteen.safetensors",
      "edit moe.safetensors --model vmoe-s32-last2-e8 --blocks 5 -o block5.safetensors",
      "edit vit.safetensors --size 384 -o vit384.safetensors",
    ),
  )
  .action((path: string, options: EditOptions) => edit(path, options));
