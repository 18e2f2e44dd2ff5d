/** `moec run`: images or an array through a model. */
import { Command, Option } from "commander";

import { median } from "../../backends/statistics.ts";
import { checkWritable } from "../../files/disk.ts";
import type { Program } from "../../inference/compile.ts";
import type { Result } from "../../inference/result.ts";
import { CompileError, Tensor } from "../../ir/index.ts";
import { type BlockRoutes, joinedRoutes, type Model } from "../../models/index.ts";
import { infer, type Inference, type InferenceOptions } from "../inference.ts";
import { readLabels } from "../labels.ts";
import { writeNpy } from "../npy.ts";
import { examples, inferring, parseCount } from "../options.ts";
import {
  csvHead,
  csvLines,
  type NamedScore,
  type RunHead,
  type RunReport,
  showHead,
  showImages,
  showLine,
  showLoads,
  showTimes,
} from "../report.ts";
import { parseSweep, runSweep, type Sweep } from "../sweep.ts";

interface RunOptions extends InferenceOptions {
  readonly output?: string;
  readonly labels?: string;
  readonly repeat: number;
  readonly csv?: boolean;
  readonly jsonl?: boolean;
  /** Knobs to sweep; nothing runs but the sweep where there are any. */
  readonly sweep: Sweep;
}

async function run(name: string, options: RunOptions): Promise<void> {
  const { output, json, csv, jsonl, sweep } = options;
  const ways = Object.entries({ "--json": json, "--jsonl": jsonl, "--csv": csv }).filter(
    ([, asked]) => asked,
  );
  if (ways.length > 1)
    throw new CompileError("U1", ways.map(([way]) => way).join(" and "), "are two ways to print; choose one");
  const live = Object.keys(sweep).length > 0;
  const unfit = Object.entries({ "--output": output, "--csv": csv, "--jsonl": jsonl }).find(
    ([, asked]) => asked !== undefined,
  );
  if (live && unfit) throw new CompileError("U1", unfit[0], "is for one setting of the knobs; got --sweep");
  if (output !== undefined) await checkWritable(output);
  // Lines that come one by one on a terminal would be printed over the bar.
  const quiet = ways.length > 0 && (json === true || process.stdout.isTTY);
  await infer(name, { ...options, live }, quiet, async (inference) => {
    if (live) return runSweep(name, sweep, options, inference);
    const report = await compute(name, options, inference);
    if (json) console.log(JSON.stringify(report));
    else if (ways.length === 0) showRest(inference, report);
  });
}

/** How each image is told of as it is done, by what was asked for; the head goes first. */
function tellerOf(
  { csv, jsonl, json }: RunOptions,
  head: RunHead,
  several: boolean,
): (image: string, scores: readonly NamedScore[]) => void {
  if (csv) console.log(csvHead);
  if (csv) return (image, scores) => console.log(csvLines(image, scores));
  if (jsonl) return (image, top5) => console.log(JSON.stringify({ image, top5 }));
  if (json || !several) return () => undefined;
  showHead(head);
  return showLine;
}

/** What is left to print for people: of one batch everything, of several what was not told image by image. */
function showRest({ model, names, batch }: Inference, report: RunReport): void {
  if (names.length > batch) {
    showTimes(report);
    showLoads(report.routes);
    return;
  }
  showHead(report);
  showTimes(report);
  showImages(model, report);
}

async function compute(name: string, options: RunOptions, inference: Inference): Promise<RunReport> {
  const { model, names, batch, choice, progress, images, inputs } = inference;
  const several = names.length > batch;
  if (several && options.repeat > 1)
    throw new CompileError(
      "U1",
      "--repeat",
      `is for one batch; got ${names.length} images, ${batch} at a time`,
    );
  const classes = model.graph.outputs.get(model.prediction ?? "logits")?.type.shape.at(-1) ?? 0;
  const labels = options.labels === undefined ? undefined : await readLabels(options.labels, classes);
  const started = performance.now();
  const program = await inference.compile();
  const compiled = performance.now();
  const head: RunHead = {
    model: name,
    weights: inference.origin,
    resizedFrom: inference.resizedFrom ?? null,
    backend: choice.backend.name,
    device: choice.engine.device,
    reason: choice.reason,
  };
  const tell = tellerOf(options, head, several);
  const top5: NamedScore[][] = [];
  const routes: BlockRoutes[][] = [];
  const logits: Tensor[] = [];
  let first: number | undefined;
  let repeated: Repeated = { warm: null, host: null, identical: null };
  for await (const result of program.stream(images(), { inputs })) {
    first ??= performance.now();
    const named = result.top().map((scores) => scores.map((score) => labelled(score, labels)));
    for (const scores of named) tell(names[top5.push(scores) - 1] ?? "", scores);
    routes.push(result.routes);
    if (options.output !== undefined) logits.push(result.logits);
    if (options.repeat > 1) repeated = await repeat(program, result, options.repeat, inference);
    progress.show(top5.length / names.length, `${top5.length} of ${names.length} images`);
  }
  const done = performance.now();
  progress.stop();
  const { launches, launchesByScope, submits, readbacks, hostMs } = program.report;
  await program.close();
  if (options.output !== undefined) await writeNpy(options.output, stacked(logits));
  return {
    ...head,
    images: names,
    top5,
    routes: joinedRoutes(routes),
    batch,
    milliseconds: {
      compile: rounded(compiled - started),
      first: rounded((first ?? done) - compiled),
      warm: repeated.warm,
      host: hostMs === undefined ? null : rounded(repeated.host ?? hostMs),
      all: rounded(done - compiled),
    },
    identical: repeated.identical,
    launches: launches ?? null,
    launchesPerMoeLayer: launchesByScope ? perMoeLayer(model, launchesByScope) : null,
    submits: submits ?? null,
    readbacks: readbacks ?? null,
  };
}

const labelled = (score: NamedScore, labels: readonly string[] | undefined): NamedScore => {
  const label = labels?.[score.class];
  return label === undefined ? score : { ...score, label };
};

/** What running a batch again showed: median times of the run and of the host, and whether all bits were the same. */
type Repeated = Pick<RunReport, "identical"> & Readonly<Record<"warm" | "host", number | null>>;

async function repeat(
  program: Program,
  { outputs }: Result,
  times: number,
  { names, read, inputs, progress }: Inference,
): Promise<Repeated> {
  const images = await read(0, names.length);
  const warm: number[] = [];
  const host: number[] = [];
  let identical = true;
  for (let i = 1; i < times; i++) {
    const before = performance.now();
    const again = await program.run(images, { inputs: inputs(0) });
    warm.push(performance.now() - before);
    host.push(program.report.hostMs ?? 0);
    identical &&= [...outputs].every(
      ([output, tensor]) =>
        Buffer.compare(tensor.bytes, again.outputs.get(output)?.bytes ?? new Uint8Array()) === 0,
    );
    progress.show(i / times, "repeating");
  }
  return { warm: rounded(median(warm)), host: median(host), identical };
}

/** Rows of tensors as those of one. */
function stacked(parts: readonly Tensor[]): Tensor {
  const rows = parts.reduce((sum, { type }) => sum + (type.shape[0] ?? 0), 0);
  const [part] = parts;
  const all = Tensor.zeros({ dtype: "f32", shape: [rows, ...(part?.type.shape.slice(1) ?? [])] });
  let at = 0;
  for (const { data } of parts) {
    all.data.set(data, at);
    at += data.length;
  }
  return all;
}

/** Launches from routing to combination of each sparse block. */
const perMoeLayer = ({ blocks }: Model, byScope: ReadonlyMap<string, number>): Record<string, number> =>
  Object.fromEntries(
    blocks.map(({ name }) => {
      const inside = [...byScope].filter(([scope]) => scope.startsWith(`Encoder/${name}/Moe`));
      return [name, inside.reduce((sum, [, count]) => sum + count, 0)];
    }),
  );

const rounded = (ms: number): number => Math.round(ms * 10) / 10;

/** `moec run`. */
export const runCommand: Command = inferring(new Command("run"))
  .description("run images, or an array, through a model")
  .addOption(
    new Option("--batch <n>", "images at a time; by default all, at most 32").argParser(
      parseCount("--batch", 1),
    ),
  )
  .addOption(
    new Option(
      "--sweep <knob=values>",
      "run once for each of the values of k, capacity or priority, compiled once for the configured ones; may be given often",
    )
      .argParser(parseSweep)
      .default({}, "none"),
  )
  .option("--labels <names>", "names of classes: a file with one a line, or imagenet")
  .option("--output <y.npy>", "where to write the logits, float32 [N, classes]")
  .option("--csv", "print a line for each of an image's best classes, as it is done")
  .option("--jsonl", "print a line of JSON for each image, as it is done")
  .addOption(
    new Option("--repeat <n>", "run so often, and say how long the later runs take")
      .argParser(parseCount("--repeat", 1))
      .default(1),
  )
  .addHelpText(
    "after",
    examples(
      "run vmoe-s32-last2-e8 --image photo.jpg",
      "run vmoe-s32-last2-e8 --image photo.jpg --sweep k=1,2 --sweep capacity=0.15,0.5,1.05 --sweep priority=token,gate",
      "run vmoe-s32-last2-e8 --weights vmoe_s32.safetensors --image a.jpg b.jpg --json",
      "run vmoe-s32-last2-e8 --image 'photos/*.jpg' folder --batch 8 --labels imagenet --csv > classes.csv",
      "run config.json --input x.npy --output y.npy --set encoder.moe.router.dispatcher.batch_priority=true",
    ),
  )
  .action((name: string, options: RunOptions) => run(name, options));
