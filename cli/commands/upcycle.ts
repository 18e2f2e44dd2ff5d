/** `moec upcycle`: a sparse model from a dense one's weights. */
import { Command, Option } from "commander";

import { parseBlocks, parseConfig, parseOverride, upcycled } from "../../models/index.ts";
import {
  configOutputOption,
  modelOption,
  examples,
  jsonOption,
  parseCount,
  pluginOption,
  seedOption,
  setOption,
  sizeOption,
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

interface UpcycleCommandOptions extends TrainedOptions {
  readonly experts: number;
  readonly blocks: string;
  readonly router?: string;
  readonly renormalise?: boolean;
  readonly seed: number;
  readonly set: readonly string[];
}

async function upcycle(path: string, options: UpcycleCommandOptions): Promise<void> {
  const { model, experts, router, renormalise = false, seed, json = false } = options;
  await checkTrainedFiles(options);
  const surgery = await surgeryOptions(options);
  const dense = await openTrained(path, model);
  const progress = progressBar(json);
  try {
    const sparse = upcycled(dense, {
      experts,
      blocks: parseBlocks(options.blocks, parseConfig(dense.config).encoder.num_layers),
      renormalise,
      seed,
      overrides: options.set.map(parseOverride),
      ...surgery,
      ...(router !== undefined && { router }),
    });
    const written = await writeTrained(sparse, options, surgery, progress);
    const { moe } = parseConfig(sparse.config).encoder;
    const facts = { experts: moe?.num_experts, blocks: moe?.layers, router: moe?.router.name };
    if (json) console.log(JSON.stringify({ ...written, ...facts }));
    else
      console.log(
        `${facts.experts} experts in blocks ${facts.blocks?.join(", ")}, ${facts.router}\n${describeWritten(written)}`,
      );
  } finally {
    progress.stop();
    await dense.weights.close();
  }
}

/** `moec upcycle`. */
export const upcycleCommand: Command = new Command("upcycle")
  .description("make a sparse model of a dense one: each expert starts as the block's MLP, routers at random")
  .argument("<weights>", "of a Vision Transformer")
  .addOption(modelOption())
  .addOption(
    new Option("--experts <n>", "experts of a sparse block")
      .argParser(parseCount("--experts", 1))
      .makeOptionMandatory(),
  )
  .requiredOption(
    "--blocks <which>",
    "every2, last2 (of the odd blocks, as the paper counts), or a list such as 1,3,5",
  )
  .option("--router <name>", "by default V-MoE's; see moec routers")
  .option("--renormalise", "scale combine weights to sum to 1, so that the model starts as the dense one was")
  .addOption(seedOption())
  .addOption(setOption())
  .addOption(sizeOption())
  .addOption(pluginOption())
  .addOption(trainedOutputOption())
  .addOption(configOutputOption())
  .addOption(jsonOption())
  .addHelpText(
    "after",
    examples(
      "upcycle vit_b16.safetensors --experts 8 --blocks every2 --renormalise -o sparse.safetensors",
      "upcycle vit.safetensors --experts 32 --blocks last2 --router NoisyTopItemsPerExpertRouter -o sparse.safetensors",
    ),
  )
  .action((path: string, options: UpcycleCommandOptions) => upcycle(path, options));
