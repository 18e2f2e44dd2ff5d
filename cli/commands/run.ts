/** `moec run`: images or an array through a model. */
import type { Engine, Executable } from "../../backends/backend.ts";
import { type Choice, chooseBackend, openBackend } from "../../backends/choose.ts";
import { checkWritable } from "../../files/disk.ts";
import { CompileError, showType, sizeOf, Tensor, type WeightSource } from "../../ir/index.ts";
import { createModel, imageSizeOf, type Json, type Model, normalDraws } from "../../models/index.ts";
import { openWeights } from "../../models/weights/open.ts";
import { type Fit, readImages } from "../image.ts";
import { defaultSize, readConfig, weightsOf } from "../model.ts";
import { readNpy, writeNpy } from "../npy.ts";
import { loadRouters } from "../plugins.ts";
import { type Progress, progressBar } from "../progress.ts";
import { type RunReport, showReport, topClasses } from "../report.ts";
import { routesOf } from "../routes.ts";

export interface RunOptions {
  readonly set: readonly string[];
  readonly plugin: readonly string[];
  readonly weights?: string;
  readonly image?: readonly string[];
  readonly input?: string;
  readonly output?: string;
  readonly backend: string;
  readonly ep?: string;
  readonly threads?: number;
  readonly session: Json;
  readonly seed: number;
  readonly noise?: number;
  readonly size?: readonly [number, number];
  readonly fit: Fit;
  readonly groupSize?: number;
  readonly repeat: number;
  readonly json?: boolean;
  readonly trace?: boolean;
}

export async function run(name: string, options: RunOptions): Promise<void> {
  // Everything that can be wrong with what the user gave is found before a device is opened.
  const config = await readConfig(name, options.set);
  const routers = await loadRouters(options.plugin);
  if (options.output !== undefined) await checkWritable(options.output);
  const file = options.weights === undefined ? undefined : await openWeights(options.weights);
  const image = await readInput(config, options, file);
  const model = createModel(config, {
    batch: image.type.shape[0] ?? 1,
    imageSize: [image.type.shape[1] ?? 1, image.type.shape[2] ?? 1],
    routers,
    ...(options.groupSize !== undefined && { groupSize: options.groupSize }),
    ...(options.noise !== undefined && { noise: true }),
  });
  const progress = progressBar(options.json === true);
  const weights = await weightsOf(model, file, options, progress);
  const choice = await openChosen(options);
  try {
    const { outputs, report } = await compute(model, weights, image, choice, name, options, progress);
    if (options.output !== undefined) await writeNpy(options.output, outputs.get("logits") as Tensor);
    if (options.json) console.log(JSON.stringify(report));
    else showReport(model, report);
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
  if (input === undefined) {
    return readImages(
      paths,
      options.size ?? (source && imageSizeOf(config, source)) ?? defaultSize,
      options.fit,
    );
  }
  if (options.size) throw new CompileError("U1", "--size", "is for photographs; an array has its own size");
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

/** The backend asked for, with what is said of ONNX Runtime; that is for no other. */
async function openChosen({ backend, ep, threads, session }: RunOptions): Promise<Choice> {
  const said = Object.entries({ "--ep": ep, "--threads": threads, "--session": Object.keys(session)[0] });
  const [option] = said.find(([, value]) => value !== undefined) ?? [];
  if (option !== undefined && backend !== "onnx") {
    throw new CompileError("U1", option, `is for --backend onnx; got --backend ${backend}`);
  }
  if (backend === "auto") return chooseBackend();
  const engine = {
    session,
    ...(ep !== undefined && { provider: ep }),
    ...(threads !== undefined && { threads }),
  };
  return openBackend(backend, engine);
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
    images:
      options.image ?? Array.from({ length: image.type.shape[0] ?? 1 }, (_, i) => `${options.input} [${i}]`),
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

const rounded = (ms: number): number => Math.round(ms * 10) / 10;

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
