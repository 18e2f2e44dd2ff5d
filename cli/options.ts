/** The options that commands share, and what they say in their help. */
import { type Command, Option } from "commander";

import { CompileError } from "../ir/index.ts";
import type { Json } from "../models/index.ts";

/** Exit codes: 1 a comparison failed, 2 the input is wrong, 70 (sysexits' EX_SOFTWARE) moec itself is. */
export const exitCodes: Readonly<Record<"failed" | "badInput" | "internal", number>> = {
  failed: 1,
  badInput: 2,
  internal: 70,
};

/** `224` or `224x320`, as height and width. */
export function parseSize(text: string): readonly [number, number] {
  const match = /^(\d+)(?:x(\d+))?$/.exec(text);
  if (!match) throw new CompileError("U1", "--size", `must be like 224 or 224x320; got ${text}`);
  return [Number(match[1]), Number(match[2] ?? match[1])];
}

/** A whole number of at least `least`. */
export const parseCount =
  (option: string, least: number) =>
  (text: string): number => {
    const count = Number(text);
    if (Number.isSafeInteger(count) && count >= least) return count;
    throw new CompileError("U1", option, `must be a whole number of at least ${least}; got ${text}`);
  };

/** `name=value` into what is collected already; the value as JSON where it is some, else as text. */
function parsePair(text: string, all: Json = {}): Json {
  const [name = "", ...rest] = text.split("=");
  const value = rest.join("=");
  if (!name || rest.length === 0)
    throw new CompileError("U1", "--session", `must be name=value; got ${text}`);
  try {
    return { ...all, [name]: JSON.parse(value) as unknown };
  } catch {
    return { ...all, [name]: value };
  }
}

const collect = (value: string, all: readonly string[]): string[] => [...all, value];

/** `--set`, repeatable: overrides of the configuration. */
export const setOption = (): Option =>
  new Option("--set <path=value>", "override a key of the configuration; may be given often")
    .argParser(collect)
    .default([], "none");
/** `--size`: pixels down and across. */
export const sizeOption = (): Option =>
  new Option("--size <pixels>", "image size, like 224 or 224x320; by default 224").argParser(parseSize);
/** `--batch`: images of a run. */
export const batchOption = (): Option =>
  new Option("--batch <n>", "images at a time; by default 1").argParser(parseCount("--batch", 1));
/** `--group-size`: tokens that are routed together. */
export const groupOption = (): Option =>
  new Option("--group-size <n>", "tokens that are routed together").argParser(parseCount("--group-size", 1));
/** `--seed` of random weights; 0 by default. */
export const seedOption = (): Option =>
  new Option("--seed <n>", "of the random weights").argParser(parseCount("--seed", 0)).default(0);
/** `--plugin`, repeatable: files of routers. */
export const pluginOption = (): Option =>
  new Option("--plugin <file>", "a module of your own routers, .ts or .js; may be given often")
    .argParser(collect)
    .default([], "none");
/** `--weights`: files of trained parameters. */
export const weightsOption = (): Option =>
  new Option(
    "--weights <file>",
    "safetensors, .npz, Flax msgpack, or the prefix of a V-MoE checkpoint; random when not given",
  );
/** What an argument that names weights may be. */
export const weightsHelp: string =
  "safetensors (moec, timm, Hugging Face), .npz, Flax msgpack, or the prefix of a V-MoE checkpoint";
/** `--precision`: how weights are stored. */
export const precisionOption = (): Option =>
  new Option(
    "--precision <p>",
    "half-weights: stored as float16, computed in float32; by default single",
  ).choices(["single", "half-weights"]);
/** `--quantize-experts`: integers for the experts' matrices. */
export const quantizeOption = (): Option =>
  new Option(
    "--quantize-experts <type>",
    "the experts' matrices as integers, with a scale for each column of 32 rows",
  ).choices(["int8", "int4"]);
/** `--plan`: a file of capacities. */
export const planOption = (): Option =>
  new Option("--plan <file>", "capacities of the sparse blocks, as moec plan writes them");
/** `--target`: what is compiled for. */
export const targetOption = (): Option =>
  new Option(
    "--target <target>",
    "what WebGPU compiles for: auto, this machine's GPU as moec tune left it; untuned, the same without; a target of moec target --list; or a .json file",
  ).default("auto");
/** `--unsafe-features`: what browsers keep behind a flag. */
export const unsafeOption = (): Option =>
  new Option(
    "--unsafe-features",
    "let WebGPU multiply by subgroup matrices, in float16 mostly, where the target has them; browsers need a flag",
  );
/** `--json`. */
export const jsonOption = (): Option => new Option("--json", "print one line of JSON");

/** `--model`: the configuration of weights that are an argument. */
export const modelOption = (): Option =>
  new Option(
    "--model <name>",
    "a preset or a configuration file; by default what names and shapes say, where the model is dense",
  );
/** `--output`: the weights to write. */
export const trainedOutputOption = (): Option =>
  new Option("-o, --output <file.safetensors>", "the weights to write").makeOptionMandatory();
/** `--config`: the configuration to write. */
export const configOutputOption = (): Option =>
  new Option("--config <file.json>", "the configuration to write; by default beside the weights");

/** What the argument `<model>` may be where a model is made anew. */
export const configHelp: string = "a preset, or a configuration file in the original's format";

/** What the argument `<model>` may be. */
export const modelHelp: string =
  "a preset, a configuration file in the original's format, or a file of moec export";

/** What the argument `<model>` of a command that runs it may be. */
const runnableHelp = `${modelHelp}, or a folder of moec compile`;

/** The examples at the end of a help text, one a line. */
export const examples = (...lines: readonly string[]): string =>
  `\nExamples:\n${lines.map((line) => `  $ moec ${line}`).join("\n")}\n`;

/** The options of commands that run a model, and the model itself. */
export const inferring = (command: Command): Command =>
  command
    .argument("<model>", runnableHelp)
    .addOption(weightsOption())
    .option("--image <file...>", "photographs: files, folders of them, or globs such as 'photos/*.jpg'")
    .option("--input <x.npy>", "float32 images [N, height, width, 3] in [-1, 1], instead of photographs")
    .option("--backend <name>", "auto, webgpu, onnx or reference", "auto")
    .addOption(targetOption())
    .addOption(unsafeOption())
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
    .addOption(planOption())
    .addOption(precisionOption())
    .addOption(quantizeOption())
    .addOption(seedOption())
    .addOption(
      new Option("--noise <seed>", "add the routers' noise, drawn from this seed").argParser(
        parseCount("--noise", 0),
      ),
    )
    .option("--trace", "print each rewrite of the program on stderr")
    .addOption(jsonOption());
