/** `moec export`: a model as a file that other engines run. */
import { Command, Option } from "commander";

import { exportOnnx, type OnnxProgram, type Precision } from "../../backends/onnx/export.ts";
import { embedded } from "../../backends/onnx/file.ts";
import { saveProgram } from "../../backends/onnx/save.ts";
import { checkWritable, writeFileAtomically } from "../../files/disk.ts";
import { packageVersion } from "../../files/version.ts";
import { CompileError, type WeightSource } from "../../ir/index.ts";
import {
  anyBatch,
  createModel,
  imageSizeOf,
  type Json,
  type Model,
  type ModelOptions,
} from "../../models/index.ts";
import { openWeights } from "../../models/weights/open.ts";
import type { IntegerType } from "../../passes/index.ts";
import { defaultSize, outputsOf, readConfig, weightsOf } from "../model.ts";
import {
  batchOption,
  configHelp,
  examples,
  groupOption,
  jsonOption,
  parseCount,
  parseSize,
  planOption,
  pluginOption,
  quantizeOption,
  seedOption,
  setOption,
  weightsOption,
} from "../options.ts";
import { readPlan } from "../plan.ts";
import { loadRouters } from "../plugins.ts";
import { progressBar } from "../progress.ts";
import { mebibytes, storedAs } from "../terminal.ts";

interface ExportOptions {
  readonly to: string;
  readonly output: string;
  readonly set: readonly string[];
  readonly plugin: readonly string[];
  readonly weights?: string;
  readonly seed: number;
  readonly batch?: number;
  readonly dynamicBatch?: boolean;
  readonly size?: readonly [number, number];
  readonly groupSize?: number;
  readonly plan?: string;
  readonly outputs: string;
  readonly opset?: number;
  readonly inline?: boolean;
  readonly contrib?: boolean;
  readonly live?: boolean;
  readonly precision: Precision;
  readonly quantizeExperts?: IntegerType;
  readonly embed?: boolean;
  readonly json?: boolean;
}

/** What `--json` prints. */
interface Summary {
  readonly model: string;
  readonly weights: string;
  readonly files: readonly string[];
  readonly opset: number;
  readonly nodes: number;
  readonly functions: readonly string[];
  /** How the file's weights are stored, and the bytes that they take so. */
  readonly precision: Precision;
  readonly quantizeExperts?: IntegerType;
  readonly weightBytes: number;
  readonly outputs: readonly string[];
  /** What a batch must be a multiple of, where it is open. */
  readonly batchMultiple: number | null;
}

async function exportModel(name: string, options: ExportOptions): Promise<void> {
  if (options.to !== "onnx") throw new CompileError("U1", "--to", `must be onnx; got ${options.to}`);
  const routers = await loadRouters(options.plugin);
  const capacities = await readPlan(options.plan);
  await checkWritable(options.output);
  const file = options.weights === undefined ? undefined : await openWeights(options.weights);
  const progress = progressBar(options.json === true);
  try {
    const config = await readConfig(name, options.set, file);
    const prepared = prepare(name, config, { routers, ...(capacities && { capacities }) }, options, file);
    const source = await weightsOf(prepared.model, file, options, progress);
    await write(prepared.program, source, options, (done) => progress.show(done, "writing weights"));
    progress.stop();
    const summary = summaryOf(name, prepared, options);
    console.log(options.json ? JSON.stringify(summary) : describe(summary));
  } finally {
    progress.stop();
    await file?.close();
  }
}

/** A model, and the program that is written of it. */
interface Prepared {
  readonly model: Model;
  readonly program: OnnxProgram;
  readonly outputs: readonly string[];
  readonly batchMultiple: number | null;
}

function prepare(
  name: string,
  config: Json,
  given: Pick<ModelOptions, "routers" | "capacities">,
  options: ExportOptions,
  file: WeightSource | undefined,
): Prepared {
  const { batch = 1, groupSize, dynamicBatch, opset, inline, contrib, precision, quantizeExperts } = options;
  const imageSize = options.size ?? (file && imageSizeOf(config, file)) ?? defaultSize;
  const { live = false } = options;
  const chosen = { ...given, batch, imageSize, live, ...(groupSize !== undefined && { groupSize }) };
  const open = dynamicBatch ? anyBatch(config, chosen) : undefined;
  const model = open?.model ?? createModel(config, chosen);
  const outputs = outputsOf(model.graph, options.outputs);
  const program = exportOnnx(model.graph, {
    outputs,
    metadata: {
      "moec.version": packageVersion(),
      "moec.model": name,
      "moec.config": JSON.stringify(config),
      "moec.image_size": JSON.stringify(imageSize),
      "moec.capacity": JSON.stringify(model.blocks),
      ...(given.capacities && { "moec.plan": JSON.stringify(given.capacities) }),
      "moec.batch": JSON.stringify(open ? { multipleOf: open.groupImages } : batch),
    },
    ...(open && { batch: { axis: "batch", sizes: open.sizes, other: open.other.graph } }),
    ...(opset !== undefined && { opset }),
    ...(inline !== undefined && { inline }),
    ...(contrib !== undefined && { contrib }),
    ...(quantizeExperts && { quantizeExperts }),
    precision,
  });
  return { model, program, outputs, batchMultiple: open?.groupImages ?? null };
}

async function write(
  program: OnnxProgram,
  source: WeightSource,
  { output, embed }: ExportOptions,
  onProgress: (done: number) => void,
): Promise<void> {
  if (!embed) return saveProgram(output, program, source, onProgress);
  const bytes = await embedded(program, source);
  return writeFileAtomically(output, (sink) => sink(bytes));
}

function summaryOf(
  name: string,
  { program, outputs, batchMultiple }: Prepared,
  options: ExportOptions,
): Summary {
  const { graph, functions, opsetImport } = program.model;
  return {
    model: name,
    weights: options.weights ?? `random (seed ${options.seed})`,
    files: [options.output, ...(options.embed ? [] : [`${options.output}.data`])],
    opset: Number(opsetImport?.[0]?.version),
    nodes: graph?.node?.length ?? 0,
    functions: (functions ?? []).map((each) => each.name ?? ""),
    precision: options.precision,
    ...(options.quantizeExperts && { quantizeExperts: options.quantizeExperts }),
    weightBytes: program.weights.reduce((sum, { bytes }) => sum + bytes, 0),
    outputs,
    batchMultiple,
  };
}

/** The summary for people. */
function describe(summary: Summary): string {
  const { model, weights, files, opset, nodes, functions, weightBytes, batchMultiple } = summary;
  const calls = functions.length > 0 ? `, functions ${functions.join(", ")}` : "";
  return [
    `${model} in ${files.join(" and ")}`,
    `weights: ${weights}, ${mebibytes(weightBytes)}${storedAs(summary)}`,
    `opset ${opset}, ${nodes} nodes${calls}`,
    ...(batchMultiple === null ? [] : [`any batch that is a multiple of ${batchMultiple}`]),
  ].join("\n");
}

/** `moec export`. */
export const exportCommand: Command = new Command("export")
  .description("write a model as a file that other engines run")
  .argument("<model>", configHelp)
  .requiredOption("--to <format>", "onnx")
  .requiredOption("-o, --output <file>", "the file to write; weights go beside it, to <file>.data")
  .addOption(weightsOption())
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
  .addOption(planOption())
  .option("--outputs <names>", "all, or a list such as logits,encoderblock_5/slots", "logits")
  .addOption(
    new Option("--opset <n>", "version of the standard ops, 18 to 26; 21 by default").argParser(
      parseCount("--opset", 1),
    ),
  )
  .option("--inline", "plain nodes in place of the functions Route, Dispatch, Experts and Combine")
  .option("--live", "k, capacity and priority of each sparse block as an input, knobs/<block>, int32 [3]")
  .option("--contrib", "MoE layers as one com.microsoft.MoE node each, ONNX Runtime's own op")
  .addOption(
    new Option(
      "--precision <p>",
      "half-weights: stored as float16, computed in float32; half: computed in float16 but for routing",
    )
      .choices(["single", "half-weights", "half"])
      .default("single"),
  )
  .addOption(quantizeOption())
  .option("--embed", "weights in the file itself, for small models")
  .addOption(seedOption())
  .addOption(jsonOption())
  .addHelpText(
    "after",
    examples(
      "export vmoe-s32-last2-e8 --to onnx -o model.onnx",
      "export config.json --weights checkpoint --to onnx -o model.onnx --batch 8 --dynamic-batch",
      "export config.json --weights checkpoint --to onnx -o small.onnx --precision half-weights --quantize-experts int4",
      "export config.json --to onnx -o small.onnx --embed --outputs all",
    ),
  )
  .action((name: string, options: ExportOptions) => exportModel(name, options));
