/** `moec run`: images or an array through a model. */
import type { Engine, Executable } from "../../backends/backend.ts";
import { type Choice, chooseBackend, openBackend } from "../../backends/choose.ts";
import { CompileError, type Shape, showType, sizeOf, Tensor, type WeightSource } from "../../ir/index.ts";
import { createModel, type Json, type Model, normalDraws, randomWeights } from "../../models/index.ts";
import { openWeights } from "../../models/weights/file.ts";
import { checkFinite, matchWeights } from "../../models/weights/match.ts";
import { type Fit, readImages } from "../image.ts";
import { readConfig } from "../model.ts";
import { readNpy, writeNpy } from "../npy.ts";
import { type Progress, progressBar } from "../progress.ts";
import { type BlockRoutes, routesOf } from "../routes.ts";
import { bold, dim, drawRoutes, table } from "../terminal.ts";

export interface RunOptions {
  readonly set: readonly string[];
  readonly weights?: string;
  readonly image?: readonly string[];
  readonly input?: string;
  readonly output?: string;
  readonly backend: string;
  readonly seed: number;
  readonly noise?: number;
  readonly size?: readonly [number, number];
  readonly fit: Fit;
  readonly groupSize?: number;
  readonly repeat: number;
  readonly json?: boolean;
  readonly trace?: boolean;
}

const top = 5;

/** What a run found, as `--json` prints it. */
interface RunReport {
  readonly model: string;
  readonly weights: string;
  readonly backend: string;
  readonly device: string;
  readonly reason: string;
  readonly images: readonly string[];
  readonly top5: readonly (readonly {
    readonly class: number;
    readonly logit: number;
    readonly probability: number;
  }[])[];
  readonly routes: readonly BlockRoutes[];
  readonly milliseconds: { readonly compile: number; readonly first: number; readonly warm: number | null };
  /** Whether all runs of `--repeat` gave the same bits. */
  readonly identical: boolean | null;
  readonly launches: number | null;
  readonly launchesPerMoeLayer: Readonly<Record<string, number>> | null;
  readonly submits: number | null;
  readonly readbacks: number | null;
}

export async function run(name: string, options: RunOptions): Promise<void> {
  const config = await readConfig(name, options.set);
  // Everything that can be wrong with what the user gave is found before a device is opened.
  const source = options.weights === undefined ? undefined : await openWeights(options.weights);
  const image = await readInput(config, options, source);
  const model = createModel(config, {
    batch: image.type.shape[0] ?? 1,
    imageSize: [image.type.shape[1] ?? 1, image.type.shape[2] ?? 1],
    ...(options.groupSize !== undefined && { groupSize: options.groupSize }),
    ...(options.noise !== undefined && { noise: true }),
  });
  const progress = progressBar(options.json === true);
  const weights = await readWeights(model, source, options, progress);
  const choice = options.backend === "auto" ? await chooseBackend() : await openBackend(options.backend);
  try {
    const { outputs, report } = await compute(model, weights, image, choice, name, options, progress);
    if (options.output !== undefined) await writeNpy(options.output, outputs.get("logits") as Tensor);
    if (options.json) console.log(JSON.stringify(report));
    else show(model, report, options);
  } finally {
    progress.stop();
    choice.engine.close();
    await weights.close();
  }
}

/** The model's input: the array of `--input`, or the pictures of `--image` at the size that the weights know. */
async function readInput(
  config: Json,
  options: RunOptions,
  source: WeightSource | undefined,
): Promise<Tensor> {
  const { image: paths = [], input } = options;
  if ((input === undefined) === (paths.length === 0)) {
    throw new CompileError("U1", "run", "needs either --image photo.jpg ... or --input x.npy");
  }
  if (input === undefined)
    return readImages(paths, options.size ?? sizeOfWeights(config, source), options.fit);
  const array = await readNpy(input);
  const { shape } = array.type;
  if (shape.length !== 4 || shape[3] !== 3 || shape.includes(0)) {
    throw new CompileError(
      "W1",
      input,
      `must be images f32[N, height, width, 3]; it is ${showType(array.type)}`,
    );
  }
  return array;
}

const defaultSize: readonly [number, number] = [224, 224];

/** The square size for which learned position embeddings were made; 224 where there are none. */
function sizeOfWeights(config: Json, source: WeightSource | undefined): readonly [number, number] {
  const places = source?.tensors.get("Encoder/posembed_input/pos_embedding")?.shape[1];
  const patch = config["patch_size"] as Shape | undefined;
  if (places === undefined || !patch) return defaultSize;
  const side = Math.floor(Math.sqrt(places));
  return [side * (patch[0] ?? 1), side * (patch[1] ?? 1)];
}

async function readWeights(
  { parameters }: Model,
  source: WeightSource | undefined,
  { weights: path, seed }: RunOptions,
  progress: Progress,
): Promise<WeightSource> {
  if (!source || path === undefined) return randomWeights(parameters, seed);
  const matched = matchWeights(parameters, source, path);
  await checkFinite(matched, (done) => progress.show(done, "checking weights"));
  return matched;
}

async function compute(
  model: Model,
  weights: WeightSource,
  image: Tensor,
  { backend, engine, reason }: Choice,
  name: string,
  options: RunOptions,
  progress: Progress,
): Promise<{ readonly outputs: Map<string, Tensor>; readonly report: RunReport }> {
  const wanted = ["logits", ...model.blocks.map((block) => `${block.name}/slots`)];
  const started = performance.now();
  const executable = await compile(engine, model, weights, wanted, options, progress);
  const compiled = performance.now();
  const inputs = inputsOf(model, image, options);
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
    weights: options.weights ?? `random (seed ${options.seed})`,
    backend: backend.name,
    device: engine.device,
    reason,
    images: options.image ?? [],
    top5: topClasses(outputs.get("logits") as Tensor),
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

function compile(
  engine: Engine,
  { graph }: Model,
  weights: WeightSource,
  outputs: readonly string[],
  { trace }: RunOptions,
  progress: Progress,
): Promise<Executable> {
  return engine.compile(graph, weights, {
    outputs,
    progress: progress.show,
    ...(trace && {
      trace: ({ pass, rule, at, before, after }) =>
        console.error(`${pass}: ${rule}${at ? ` at ${at}` : ""}\n  - ${before}\n  + ${after}`),
    }),
  });
}

/** The image, and for routers with noise a standard normal draw from its seed. */
function inputsOf({ graph }: Model, image: Tensor, { noise = 0 }: RunOptions): Map<string, Tensor> {
  const inputs = new Map([["image", image]]);
  for (const { leaf, type } of graph.inputs.slice(1)) {
    const name = leaf?.name ?? "";
    inputs.set(name, new Tensor(type, normalDraws(noise, name, sizeOf(type.shape))));
  }
  return inputs;
}

/** Launches from routing to combination of each sparse block. */
const perMoeLayer = ({ blocks }: Model, byScope: ReadonlyMap<string, number>): Record<string, number> =>
  Object.fromEntries(
    blocks.map(({ name }) => {
      const inside = [...byScope].filter(([scope]) => scope.startsWith(`Encoder/${name}/Moe`));
      return [name, inside.reduce((sum, [, count]) => sum + count, 0)];
    }),
  );

function topClasses(logits: Tensor): RunReport["top5"] {
  const [images = 1, classes = 1] = logits.type.shape;
  const all = logits.numbers();
  return Array.from({ length: images }, (_, i) => {
    const row = Array.from(all.subarray(i * classes, (i + 1) * classes));
    const largest = row.reduce((a, b) => Math.max(a, b));
    const total = row.reduce((sum, v) => sum + Math.exp(v - largest), 0);
    const order = [...row.keys()].toSorted((a, b) => (row[b] as number) - (row[a] as number)).slice(0, top);
    return order.map((index) => {
      const logit = row[index] as number;
      return { class: index, logit, probability: Math.exp(logit - largest) / total };
    });
  });
}

const rounded = (ms: number): number => Math.round(ms * 10) / 10;

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

function show(model: Model, report: RunReport, { image: paths = [], input }: RunOptions): void {
  const { milliseconds: ms, weights } = report;
  console.log(`${bold(report.model)} on ${report.backend}: ${report.device} ${dim(`(${report.reason})`)}`);
  const random = weights.startsWith("random");
  console.log(`weights: ${weights}${random ? ": untrained, so the classes below carry no information" : ""}`);
  const warm =
    ms.warm === null
      ? ""
      : `, then ${ms.warm} ms (median), ${report.identical ? "the same bits" : "OTHER BITS"} every time`;
  console.log(`compiled in ${ms.compile} ms, first run ${ms.first} ms${warm}`);
  const patch = model.config.patch_size[1];
  const width = model.graph.inputs[0]?.type.shape[2] ?? 1;
  for (const [i, classes] of report.top5.entries()) {
    console.log(`\n${bold(paths[i] ?? `${input} [${i}]`)}`);
    const rows = classes.map(({ class: index, logit, probability }) => [
      index,
      logit.toFixed(4),
      `${(100 * probability).toFixed(2)} %`,
    ]);
    console.log(table([["class", "logit", "softmax"], ...rows]));
    for (const routes of report.routes) {
      console.log(
        `\n${drawRoutes(routes, i, Math.floor(width / patch), model.config.classifier === "token")}`,
      );
    }
  }
}
