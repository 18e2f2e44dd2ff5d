#!/usr/bin/env node
/** The command line: words and options to commands, and everything that can go wrong to one line. */
import { Command, CommanderError, Option } from "commander";

import { CompileError } from "../ir/index.ts";
import { exportModel, type ExportOptions } from "./commands/export.ts";
import { inspect, type InspectOptions } from "./commands/inspect.ts";
import { models } from "./commands/models.ts";
import { route, type RouteOptions } from "./commands/route.ts";
import { routers, type RoutersOptions } from "./commands/routers.ts";
import { run, type RunOptions } from "./commands/run.ts";
import { verify, type VerifyOptions } from "./commands/verify.ts";
import { parseCount, parsePair, parseSize } from "./model.ts";
import { packageVersion } from "./version.ts";

/** Exit codes: 1 a comparison failed, 2 the input is wrong, 70 (sysexits' EX_SOFTWARE) moec itself is. */
const exitCodes = { failed: 1, badInput: 2, internal: 70 } as const;

const collect = (value: string, all: readonly string[]): string[] => [...all, value];

const setOption = (): Option =>
  new Option("--set <path=value>", "override a key of the configuration; may be given often")
    .argParser(collect)
    .default([], "none");
const sizeOption = (): Option =>
  new Option("--size <pixels>", "image size, like 224 or 224x320; by default 224").argParser(parseSize);
const batchOption = (): Option =>
  new Option("--batch <n>", "images at a time; by default 1").argParser(parseCount("--batch", 1));
const groupOption = (): Option =>
  new Option("--group-size <n>", "tokens that are routed together").argParser(parseCount("--group-size", 1));
const seedOption = (): Option =>
  new Option("--seed <n>", "of the random weights").argParser(parseCount("--seed", 0)).default(0);
const pluginOption = (): Option =>
  new Option("--plugin <file>", "a module of your own routers, .ts or .js; may be given often")
    .argParser(collect)
    .default([], "none");
const jsonOption = (): Option => new Option("--json", "print one line of JSON");

const modelHelp = "a preset, a configuration file in the original's format, or a file of moec export";

const examples = (...lines: readonly string[]): string =>
  `\nExamples:\n${lines.map((line) => `  $ moec ${line}`).join("\n")}\n`;

/** The exit code that a finished command asks for. */
let exitCode = 0;

const program = new Command("moec")
  .description("Compile sparse Mixture-of-Experts vision models, and run them.")
  .version(packageVersion())
  .exitOverride()
  .configureOutput({ writeErr: () => undefined })
  .addHelpText(
    "after",
    examples(
      "models",
      "inspect vmoe-b16-every2 --text",
      "run vmoe-s32-last2-e8 --image photo.jpg",
      "route vmoe-s32-last2-e8 --image photo.jpg --svg routes.svg",
      "run config.json --weights checkpoint --input x.npy --output logits.npy",
      "verify vmoe-s32-last2-e8 --backends webgpu,onnx",
      "export vmoe-s32-last2-e8 --to onnx -o model.onnx",
    ),
  );

program
  .command("models")
  .description("list the presets with their parameters, operations and sparse blocks")
  .addOption(jsonOption())
  .addHelpText("after", examples("models", "models --json | jq '.[].name'"))
  .action(models);

program
  .command("routers")
  .description("list the routers, and how each decides")
  .addOption(pluginOption())
  .addOption(jsonOption())
  .addHelpText("after", examples("routers", "routers --plugin my-router.ts --json | jq '.[].name'"))
  .action((options: RoutersOptions) => routers(options));

program
  .command("inspect")
  .description("show what a model is and costs; reads no weights")
  .argument("<model>", modelHelp)
  .addOption(setOption())
  .addOption(pluginOption())
  .addOption(
    new Option("--batch <n>", "images at a time; by default as many as fill the groups").argParser(
      parseCount("--batch", 1),
    ),
  )
  .addOption(sizeOption())
  .addOption(groupOption())
  .addOption(jsonOption())
  .option("--text", "print the program")
  .addHelpText(
    "after",
    examples("inspect vmoe-15b", "inspect vmoe-s32-last2 --batch 8 --json", "inspect config.json --text"),
  )
  .action((name: string, options: InspectOptions) => inspect(name, options));

/** The options of commands that run a model, and the model itself. */
const inferring = (command: Command): Command =>
  command
    .argument("<model>", modelHelp)
    .option(
      "--weights <file>",
      "a .safetensors file, or the prefix of a V-MoE checkpoint; random when not given",
    )
    .option("--image <file...>", "photographs")
    .option("--input <x.npy>", "float32 images [N, height, width, 3] in [-1, 1], instead of photographs")
    .option("--backend <name>", "auto, webgpu, onnx or reference", "auto")
    .option("--ep <engine>", "ONNX Runtime's engine: cpu, webgpu or cuda")
    .addOption(
      new Option("--threads <n>", "threads of an op in ONNX Runtime").argParser(parseCount("--threads", 1)),
    )
    .addOption(
      new Option("--session <name=value>", "an option of ONNX Runtime's session; may be given often")
        .argParser(parsePair)
        .default({}, "none"),
    )
    .addOption(setOption())
    .addOption(pluginOption())
    .option("--router <name>", "another router, with its own defaults and the model's capacities")
    .addOption(
      new Option(
        "--size <pixels>",
        "size of photographs, like 224; by default what the weights were made for, or 224",
      ).argParser(parseSize),
    )
    .addOption(
      new Option(
        "--fit <how>",
        "crop: shrink and take the centre, as in pre-training; squash: stretch, as in fine-tuning",
      )
        .choices(["crop", "squash"])
        .default("crop"),
    )
    .addOption(groupOption())
    .addOption(seedOption())
    .addOption(
      new Option("--noise <seed>", "add the routers' noise, drawn from this seed").argParser(
        parseCount("--noise", 0),
      ),
    )
    .option("--trace", "print each rewrite of the program on stderr")
    .addOption(jsonOption());

inferring(program.command("run"))
  .description("run images, or an array, through a model")
  .option("--output <y.npy>", "where to write the logits, float32 [N, classes]")
  .addOption(
    new Option("--repeat <n>", "run so often, and say how long the later runs take")
      .argParser(parseCount("--repeat", 1))
      .default(1),
  )
  .addHelpText(
    "after",
    examples(
      "run vmoe-s32-last2-e8 --image photo.jpg",
      "run vmoe-s32-last2-e8 --weights vmoe_s32.safetensors --image a.jpg b.jpg --json",
      "run config.json --input x.npy --output y.npy --set encoder.moe.router.dispatcher.batch_priority=true",
    ),
  )
  .action((name: string, options: RunOptions) => run(name, options));

inferring(program.command("route"))
  .description("show where a model sends the patches of photographs")
  .option("--svg <out.svg>", "a picture: maps of patches to experts over the photographs, drops and loads")
  .addHelpText(
    "after",
    examples(
      "route vmoe-s32-last2-e8 --image photo.jpg --svg routes.svg",
      "route vmoe-s32-last2-e8 --image photo.jpg --router NoisyTopItemsPerExpertRouter --json",
    ),
  )
  .action((name: string, options: RouteOptions) => route(name, options));

program
  .command("verify")
  .description(
    "compare backends with the reference on random inputs and weights; exit code 1 when one is off",
  )
  .argument("<model>", modelHelp)
  .option("--backends <a,b>", "which; all by default")
  .addOption(setOption())
  .addOption(pluginOption())
  .addOption(batchOption())
  .addOption(sizeOption())
  .addOption(groupOption())
  .addOption(seedOption())
  .addOption(jsonOption())
  .addHelpText(
    "after",
    examples("verify vmoe-s32-last2-e8", "verify config.json --backends webgpu --seed 7 --json"),
  )
  .action(async (name: string, options: VerifyOptions) => {
    if (!(await verify(name, options))) exitCode = exitCodes.failed;
  });

program
  .command("export")
  .description("write a model as a file that other engines run")
  .argument("<model>", "a preset, or a configuration file in the original's format")
  .requiredOption("--to <format>", "onnx")
  .requiredOption("-o, --output <file>", "the file to write; weights go beside it, to <file>.data")
  .option(
    "--weights <file>",
    "a .safetensors file, or the prefix of a V-MoE checkpoint; random when not given",
  )
  .addOption(setOption())
  .addOption(pluginOption())
  .addOption(batchOption())
  .option("--dynamic-batch", "leave the batch open: any number of the groups that --batch makes")
  .addOption(
    new Option(
      "--size <pixels>",
      "image size, like 224 or 224x320; by default what the weights were made for, or 224",
    ).argParser(parseSize),
  )
  .addOption(groupOption())
  .option("--outputs <names>", "all, or a list such as logits,encoderblock_5/slots", "logits")
  .addOption(
    new Option("--opset <n>", "version of the standard ops, 18 to 26; 21 by default").argParser(
      parseCount("--opset", 1),
    ),
  )
  .option("--inline", "plain nodes in place of the functions Route, Dispatch, Experts and Combine")
  .option("--contrib", "MoE layers as one com.microsoft.MoE node each, ONNX Runtime's own op")
  .addOption(
    new Option(
      "--precision <p>",
      "half-weights: stored as float16, computed in float32; half: computed in float16 but for routing",
    )
      .choices(["single", "half-weights", "half"])
      .default("single"),
  )
  .option("--embed", "weights in the file itself, for small models")
  .addOption(seedOption())
  .addOption(jsonOption())
  .addHelpText(
    "after",
    examples(
      "export vmoe-s32-last2-e8 --to onnx -o model.onnx",
      "export config.json --weights checkpoint --to onnx -o model.onnx --batch 8 --dynamic-batch",
      "export config.json --to onnx -o small.onnx --embed --outputs all",
    ),
  )
  .action((name: string, options: ExportOptions) => exportModel(name, options));

for (const command of program.commands) command.exitOverride().configureOutput({ writeErr: () => undefined });

/** What went wrong, as one line on stderr, and the exit code for it. */
function explain(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    console.error(
      error.message.startsWith("error: ")
        ? error.message.split("\n")[0]
        : "error: no such command; see moec --help",
    );
    return exitCodes.badInput;
  }
  if (error instanceof CompileError) {
    console.error(`error: ${error.message}`);
    return exitCodes.badInput;
  }
  const message = error instanceof Error ? error.message : String(error);
  console.error(`error: unexpected: ${message.split("\n")[0]} (MOEC_DEBUG=1 shows where)`);
  if (process.env["MOEC_DEBUG"]) console.error(error);
  return exitCodes.internal;
}

try {
  await program.parseAsync();
} catch (error) {
  exitCode = explain(error);
}
// Dawn keeps the process alive while its objects are; what was printed must be out before it ends.
process.stdout.write("", () => process.exit(exitCode));
