/** `moec compile`: a model as a bundle for a kind of device, which need not be there. */
import { Command, Option } from "commander";

import { compile } from "../../backends/webgpu/index.ts";
import type { Profile } from "../../backends/webgpu/profile.ts";
import { checkBundlePath, saveBundle, validate } from "../../backends/webgpu/saveBundle.ts";
import { packageVersion } from "../../files/version.ts";
import type { WeightSource } from "../../ir/index.ts";
import { createModel, imageSizeOf, type Model } from "../../models/index.ts";
import { openWeights } from "../../models/weights/open.ts";
import { narrowWeights, type WeightPrecision } from "../../passes/index.ts";
import type { DeviceModule } from "../../runtime/module.ts";
import { defaultSize, outputsOf, readConfig, weightsOf } from "../model.ts";
import {
  batchOption,
  configHelp,
  examples,
  groupOption,
  jsonOption,
  parseSize,
  planOption,
  pluginOption,
  precisionOption,
  quantizeOption,
  seedOption,
  setOption,
  targetOption,
  unsafeOption,
  weightsOption,
} from "../options.ts";
import { readPlan } from "../plan.ts";
import { loadRouters } from "../plugins.ts";
import { progressBar } from "../progress.ts";
import { readTarget } from "../target.ts";
import { mebibytes, storedAs } from "../terminal.ts";

interface CompileOptions extends WeightPrecision {
  readonly output: string;
  readonly target: string;
  readonly unsafeFeatures?: boolean;
  readonly set: readonly string[];
  readonly plugin: readonly string[];
  /** A path; false where a bundle without weights is wanted. */
  readonly weights?: string | false;
  readonly validate: boolean;
  readonly seed: number;
  readonly batch?: number;
  readonly size?: readonly [number, number];
  readonly groupSize?: number;
  readonly plan?: string;
  readonly live?: boolean;
  readonly outputs: string;
  readonly json?: boolean;
}

/** What `--json` prints. */
interface Summary extends WeightPrecision {
  readonly model: string;
  readonly target: string;
  readonly output: string;
  readonly weights: string | null;
  readonly batch: number;
  readonly outputs: readonly string[];
  readonly kernels: number;
  readonly launches: number;
  readonly validated: boolean;
  readonly memory: DeviceModule["memory"];
  /** From the configuration to kernels and launches; on the null device; to the disk. */
  readonly milliseconds: { readonly compile: number; readonly validate: number; readonly write: number };
  /** The most memory that the process had, in MiB: when it was compiled, and in all. */
  readonly peakMiB: { readonly compile: number; readonly all: number };
}

async function compileModel(name: string, options: CompileOptions): Promise<void> {
  const routers = await loadRouters(options.plugin);
  const capacities = await readPlan(options.plan);
  const target = await readTarget(options.target, options.unsafeFeatures);
  await checkBundlePath(options.output);
  const file = typeof options.weights === "string" ? await openWeights(options.weights) : undefined;
  const progress = progressBar(options.json === true);
  try {
    const config = await readConfig(name, options.set, file);
    const started = performance.now();
    const imageSize = options.size ?? (file && imageSizeOf(config, file)) ?? defaultSize;
    const { batch = 1, groupSize, live = false } = options;
    const model = createModel(config, {
      batch,
      imageSize,
      routers,
      live,
      ...(groupSize !== undefined && { groupSize }),
      ...(capacities && { capacities }),
    });
    const outputs = outputsOf(model.graph, options.outputs);
    const narrow = narrowWeights(model.graph, options);
    const module = compile(narrow.graph, target, { outputs });
    const compiled = performance.now();
    const compilePeak = peakMiB();
    if (options.validate) await validate(module, target);
    const validated = performance.now();
    const source = await sourceOf(model, file, options, (done) => progress.show(done, "checking weights"));
    const { precision = "single", quantizeExperts } = options;
    const stored = { precision, ...(quantizeExperts && { quantizeExperts }) };
    const about = {
      name,
      config,
      imageSize,
      batch,
      live,
      ...(groupSize !== undefined && { groupSize }),
      ...(capacities && { capacities }),
      ...stored,
      target: target.name,
      version: packageVersion(),
    };
    const held = source && narrow.weightsOf(source);
    await saveBundle(options.output, module, about, held, (done) => progress.show(done, "writing"));
    progress.stop();
    const summary: Summary = {
      model: name,
      target: target.name,
      output: options.output,
      weights: source ? options.weights || `random (seed ${options.seed})` : null,
      ...stored,
      batch,
      outputs,
      kernels: module.kernels.length,
      launches: module.launches.length,
      validated: options.validate,
      memory: module.memory,
      milliseconds: {
        compile: Math.round(compiled - started),
        validate: Math.round(validated - compiled),
        write: Math.round(performance.now() - validated),
      },
      peakMiB: { compile: compilePeak, all: peakMiB() },
    };
    console.log(options.json ? JSON.stringify(summary) : describe(summary, target));
  } finally {
    progress.stop();
    await file?.close();
  }
}

const peakMiB = (): number => Math.round(process.resourceUsage().maxRSS / 2 ** 10);

async function sourceOf(
  model: Model,
  file: WeightSource | undefined,
  { weights, seed }: CompileOptions,
  onProgress: (done: number) => void,
): Promise<WeightSource | undefined> {
  if (weights === false) return undefined;
  const given = { seed, ...(weights !== undefined && { weights }) };
  return weightsOf(model, file, given, { show: onProgress, stop: () => undefined });
}

/** The summary for people. */
function describe(summary: Summary, { limits }: Profile): string {
  const { model, target, output, weights, batch, kernels, launches, validated, memory, milliseconds } =
    summary;
  return [
    `${model} for ${target} in ${output}, ${batch} image${batch === 1 ? "" : "s"} at a time`,
    `weights: ${weights ? `${weights}, ${mebibytes(memory.weights)}` : `left out; they take ${mebibytes(memory.weights)}`}${storedAs(summary)}`,
    `activations: ${mebibytes(memory.planned)}, at most ${mebibytes(memory.least)} at once`,
    `${launches} launches of ${kernels} kernels, ${validated ? "valid" : "not validated"} within ${limits.maxComputeWorkgroupStorageSize / 2 ** 10} KiB a workgroup and ${mebibytes(limits.maxStorageBufferBindingSize)} a binding`,
    `compiled in ${milliseconds.compile} ms`,
  ].join("\n");
}

/** `moec compile`. */
export const compileCommand: Command = new Command("compile")
  .description("write a model as a bundle that moec/runtime runs, for a kind of device that need not be here")
  .argument("<model>", configHelp)
  .requiredOption("-o, --output <folder>", "the folder to write; a bundle that is there is replaced")
  .addOption(targetOption())
  .addOption(unsafeOption())
  .addOption(weightsOption())
  .option("--no-weights", "leave the weights out")
  .option("--no-validate", "do not build the kernels on Dawn's null device")
  .addOption(setOption())
  .addOption(pluginOption())
  .addOption(batchOption())
  .addOption(
    new Option(
      "--size <pixels>",
      "image size, like 224 or 224x320; by default what the weights were made for, or 224",
    ).argParser(parseSize),
  )
  .addOption(groupOption())
  .addOption(planOption())
  .addOption(precisionOption())
  .addOption(quantizeOption())
  .option("--live", "k, capacity and priority of each sparse block as an input, knobs/<block>, int32 [3]")
  .option("--outputs <names>", "all, or a list such as logits,encoderblock_5/slots", "logits")
  .addOption(seedOption())
  .addOption(jsonOption())
  .addHelpText(
    "after",
    examples(
      "compile vmoe-s32-last2-e8 --target apple -o bundle",
      "compile config.json --weights checkpoint --target mobile --batch 8 -o bundle",
      "compile config.json --weights checkpoint --precision half-weights --quantize-experts int4 -o bundle",
      "compile vmoe-15b --target nvidia --no-weights -o bundle --json",
    ),
  )
  .action((name: string, options: CompileOptions) => compileModel(name, options));
