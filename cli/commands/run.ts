/** `moec run`: images or an array through a model. */
import { Command, Option } from "commander";

import { checkWritable } from "../../files/disk.ts";
import { CompileError, type Tensor } from "../../ir/index.ts";
import { type Model, routeOutputs, routesOf } from "../../models/index.ts";
import { infer, type Inference, type InferenceOptions } from "../inference.ts";
import { writeNpy } from "../npy.ts";
import { examples, inferring, parseCount } from "../options.ts";
import { type RunReport, showReport, topClasses } from "../report.ts";
import { parseSweep, runSweep, type Sweep } from "../sweep.ts";

interface RunOptions extends InferenceOptions {
  readonly output?: string;
  readonly repeat: number;
  /** Knobs to sweep; nothing runs but the sweep where there are any. */
  readonly sweep: Sweep;
}

async function run(name: string, options: RunOptions): Promise<void> {
  const { sweep, repeat, json = false } = options;
  const live = Object.keys(sweep).length > 0;
  if (live && options.output !== undefined)
    throw new CompileError("U1", "--output", "is for one setting of the knobs; got --sweep");
  if (options.output !== undefined) await checkWritable(options.output);
  await infer(name, { ...options, live }, async (inference) => {
    if (live) return runSweep(name, sweep, repeat, json, inference);
    const { outputs, report } = await compute(name, options, inference);
    if (options.output !== undefined) await writeNpy(options.output, outputs.get("logits") as Tensor);
    if (options.json) console.log(JSON.stringify(report));
    else showReport(inference.model, report);
  });
}

async function compute(
  name: string,
  options: RunOptions,
  { model, origin, image, inputs, choice: { backend, engine, reason }, progress, ...open }: Inference,
): Promise<{ readonly outputs: Map<string, Tensor>; readonly report: RunReport }> {
  const { prediction = "logits" } = model;
  const wanted = [...new Set(["logits", prediction, ...routeOutputs(model)])];
  const started = performance.now();
  const executable = await open.compile(wanted);
  const compiled = performance.now();
  const outputs = await executable.run(inputs);
  const first = performance.now();
  const warm: number[] = [];
  let identical = true;
  for (let i = 1; i < options.repeat; i++) {
    const before = performance.now();
    const again = await executable.run(inputs);
    warm.push(performance.now() - before);
    identical &&= [...outputs].every(
      ([output, tensor]) => Buffer.compare(tensor.bytes, again.get(output)?.bytes ?? tensor.bytes) === 0,
    );
    progress.show(i / options.repeat, "repeating");
  }
  progress.stop();
  const { launches, launchesByScope, submits, readbacks } = executable.report;
  executable.dispose();
  const report: RunReport = {
    model: name,
    weights: origin,
    backend: backend.name,
    device: engine.device,
    reason,
    images:
      options.image ?? Array.from({ length: image.type.shape[0] ?? 1 }, (_, i) => `${options.input} [${i}]`),
    top5: topClasses(outputs.get(prediction) as Tensor),
    routes: routesOf(model, outputs),
    milliseconds: {
      compile: rounded(compiled - started),
      first: rounded(first - compiled),
      warm: warm.length > 0 ? rounded(median(warm)) : null,
    },
    identical: warm.length > 0 ? identical : null,
    launches: launches ?? null,
    launchesPerMoeLayer: launchesByScope ? perMoeLayer(model, launchesByScope) : null,
    submits: submits ?? null,
    readbacks: readbacks ?? null,
  };
  return { outputs, report };
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

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

/** `moec run`. */
export const runCommand: Command = inferring(new Command("run"))
  .description("run images, or an array, through a model")
  .option("--output <y.npy>", "where to write the logits, float32 [N, classes]")
  .addOption(
    new Option("--repeat <n>", "run so often, and say how long the later runs take")
      .argParser(parseCount("--repeat", 1))
      .default(1),
  )
  .addOption(
    new Option(
      "--sweep <knob=values>",
      "run once for each of the values of k, capacity or priority, compiled once for the configured ones; may be given often",
    )
      .argParser(parseSweep)
      .default({}, "none"),
  )
  .addHelpText(
    "after",
    examples(
      "run vmoe-s32-last2-e8 --image photo.jpg",
      "run vmoe-s32-last2-e8 --image photo.jpg --sweep k=1,2 --sweep capacity=0.15,0.5,1.05 --sweep priority=token,gate",
      "run vmoe-s32-last2-e8 --weights vmoe_s32.safetensors --image a.jpg b.jpg --json",
      "run config.json --input x.npy --output y.npy --set encoder.moe.router.dispatcher.batch_priority=true",
    ),
  )
  .action((name: string, options: RunOptions) => run(name, options));
