/** `moec tune`: the fastest tiles for a model's matrix products on this machine's GPU, measured and kept. */
import { Command, Option } from "commander";

import { tuneDawn } from "../../backends/webgpu/dawn.ts";
import { writeProfile } from "../../backends/webgpu/targetFile.ts";
import type { TunedSubject } from "../../backends/webgpu/tune/index.ts";
import { checkWritable } from "../../files/disk.ts";
import { CompileError } from "../../ir/index.ts";
import { narrowWeights, type WeightPrecision } from "../../passes/index.ts";
import { defaultSize, outputsOf, readModel } from "../model.ts";
import {
  batchOption,
  configHelp,
  examples,
  groupOption,
  jsonOption,
  planOption,
  pluginOption,
  precisionOption,
  quantizeOption,
  setOption,
  sizeOption,
  unsafeOption,
} from "../options.ts";
import { readPlan } from "../plan.ts";
import { loadRouters } from "../plugins.ts";
import { progressBar } from "../progress.ts";
import { bold, table } from "../terminal.ts";
import { showProduct, showTile } from "../tiles.ts";

interface Options extends WeightPrecision {
  readonly output?: string;
  readonly set: readonly string[];
  readonly plugin: readonly string[];
  readonly batch?: number;
  readonly size?: readonly [number, number];
  readonly groupSize?: number;
  readonly plan?: string;
  readonly live?: boolean;
  readonly outputs?: string;
  readonly budget: number;
  readonly unsafeFeatures?: boolean;
  readonly json?: boolean;
}

/** What `--json` prints. */
interface Found {
  readonly model: string;
  readonly device: string;
  readonly batch: number;
  /** Where the choices are kept for `--target auto`, and the target file that was asked for. */
  readonly file: string;
  readonly output: string | null;
  readonly seconds: number;
  /** Milliseconds of a run's products, as far as they were measured: by the target's rule, and as chosen. */
  readonly ms: { readonly rule: number; readonly tuned: number };
  readonly products: readonly TunedSubject[];
}

async function tuneModel(name: string, options: Options): Promise<void> {
  const { output, batch = 1, size = defaultSize, groupSize, budget } = options;
  if (output !== undefined) {
    if (!output.endsWith(".json"))
      throw new CompileError("U1", "--output", `must be a .json file; got ${output}`);
    await checkWritable(output);
  }
  const routers = await loadRouters(options.plugin);
  const capacities = await readPlan(options.plan);
  const { graph, prediction = "logits" } = await readModel(name, options.set, {
    batch,
    imageSize: size,
    routers,
    ...(groupSize !== undefined && { groupSize }),
    ...(capacities && { capacities }),
    ...(options.live && { live: true }),
  });
  const outputs = outputsOf(graph, options.outputs ?? prediction);
  const progress = progressBar(options.json === true);
  try {
    const { profile, subjects, ms, device, file } = await tuneDawn(narrowWeights(graph, options).graph, {
      outputs,
      unsafe: options.unsafeFeatures === true,
      budgetMs: 1000 * budget,
      progress: progress.show,
    });
    if (output !== undefined) await writeProfile(output, { ...profile, name: `${profile.name}, tuned` });
    progress.stop();
    const sum = (of: (subject: TunedSubject) => number): number =>
      subjects.reduce((total, subject) => total + of(subject), 0);
    const found: Found = {
      model: name,
      device,
      batch,
      file,
      output: output ?? null,
      seconds: ms / 1000,
      ms: {
        rule: sum(({ rule }) => rule?.ms ?? 0),
        tuned: sum(({ rule, faster }) => (faster ?? rule)?.ms ?? 0),
      },
      products: subjects,
    };
    if (options.json) console.log(JSON.stringify(found));
    else show(found);
  } finally {
    progress.stop();
  }
}

const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

function show({ model, device, batch, file, output, seconds, ms, products }: Found): void {
  console.log(`${bold(model)}, ${plural(batch, "image")}, on ${device}`);
  const rows = products.map(
    ({ label, products: [first], launches, rule, faster, measured, refused, left }) => [
      label,
      first ? showProduct(first) : "",
      launches,
      rule ? showTile(rule.tile) : "not measured",
      rule?.ms.toFixed(3) ?? "",
      faster ? showTile(faster.tile) : "",
      faster?.ms.toFixed(3) ?? "",
      rule && faster ? `${(rule.ms / faster.ms).toFixed(2)}x` : "",
      `${measured}${refused > 0 ? `, ${refused} refused` : ""}${left > 0 ? `, ${left} left` : ""}`,
    ],
  );
  const head = ["product", "of", "launches", "rule's tile", "ms", "faster tile", "ms", "gain", "measured"];
  console.log(table([head, ...rows]));
  console.log(
    `\n${ms.rule.toFixed(3)} ms of products became ${ms.tuned.toFixed(3)} ms, found in ${seconds.toFixed(1)} s`,
  );
  console.log(
    `kept in ${file}, for --target auto; remove it, or give --target untuned, for the rule's tiles`,
  );
  if (output !== null) console.log(`target file: ${output}`);
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== "" && Number.isFinite(seconds) && seconds >= 0) return seconds;
  throw new CompileError("U1", "--budget", `must be a number of seconds; got ${text}`);
}

/** `moec tune`. */
export const tuneCommand: Command = new Command("tune")
  .description(
    "measure which tiles a model's matrix products are fastest with on this machine's GPU, and keep them",
  )
  .argument("<model>", configHelp)
  .addOption(
    new Option("--budget <seconds>", "of measuring; the costliest products come first")
      .argParser(parseSeconds)
      .default(60),
  )
  .option("-o, --output <file.json>", "write a target file too, for --target elsewhere")
  .addOption(unsafeOption())
  .addOption(setOption())
  .addOption(pluginOption())
  .addOption(batchOption())
  .addOption(sizeOption())
  .addOption(groupOption())
  .addOption(planOption())
  .addOption(precisionOption())
  .addOption(quantizeOption())
  .option("--live", "tune for the program whose k, capacity and priority are inputs")
  .option("--outputs <names>", "all, or a list of what the program computes; by default what predicts")
  .addOption(jsonOption())
  .addHelpText(
    "after",
    examples(
      "tune vmoe-s32-last2-e8 --batch 8",
      "tune vmoe-b16-every2 --budget 120 -o mine.json",
      "compile vmoe-b16-every2 --target mine.json -o bundle",
      "tune vmoe-s32-last2-e8 --quantize-experts int8",
    ),
  )
  .action((name: string, options: Options) => tuneModel(name, options));
