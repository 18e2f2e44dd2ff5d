/** A model, its weights, its input and a backend, opened together: what `run` and `route` share. */
import type { Engine, Executable } from "../backends/backend.ts";
import { type Choice, chooseBackend, openBackend } from "../backends/choose.ts";
import { CompileError, showType, sizeOf, Tensor, type WeightSource } from "../ir/index.ts";
import {
  createModel,
  imageSizeOf,
  type Json,
  knobsOf,
  type Model,
  normalDraws,
  routedBy,
} from "../models/index.ts";
import { openWeights } from "../models/weights/open.ts";
import { type Fit, readImages } from "./image.ts";
import { defaultSize, readConfig, weightsOf } from "./model.ts";
import { readNpy } from "./npy.ts";
import { isOnnx, openOnnx, refuseOverrides } from "./onnxModel.ts";
import { readPlan } from "./plan.ts";
import { loadRouters } from "./plugins.ts";
import { type Progress, progressBar } from "./progress.ts";

export interface InferenceOptions {
  readonly set: readonly string[];
  readonly plugin: readonly string[];
  readonly router?: string;
  readonly weights?: string;
  readonly image?: readonly string[];
  readonly input?: string;
  readonly backend: string;
  readonly ep?: string;
  readonly threads?: number;
  readonly session: Json;
  readonly seed: number;
  readonly noise?: number;
  readonly size?: readonly [number, number];
  readonly fit: Fit;
  readonly groupSize?: number;
  readonly plan?: string;
  readonly json?: boolean;
  readonly trace?: boolean;
  /** What a command makes of the configuration. */
  readonly adapt?: (config: Json) => Json;
  /** Whether k, capacity and priority are inputs of the program. */
  readonly live?: boolean;
}

/** What is open. */
export interface Inference {
  readonly model: Model;
  /** Where the weights are from, for people. */
  readonly origin: string;
  /** f32[B, height, width, 3]. */
  readonly image: Tensor;
  /** Every input of the program. */
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly choice: Choice;
  readonly progress: Progress;
  /** The program that computes the outputs of the given names. */
  readonly compile: (outputs: readonly string[]) => Promise<Executable>;
}

/** Opens what the options name, lets `use` work with it, and closes it. Throws for whatever is wrong with them. */
export async function infer<T>(
  name: string,
  options: InferenceOptions,
  use: (inference: Inference) => Promise<T>,
): Promise<T> {
  // Everything that can be wrong with what the user gave is found before a device is opened.
  const progress = progressBar(options.json === true);
  const { model, image, weights } = await (isOnnx(name)
    ? openFile(name, options)
    : open(name, options, progress));
  const choice = await openChosen(options);
  try {
    return await use({
      model,
      origin: isOnnx(name) ? name : (options.weights ?? `random (seed ${options.seed})`),
      image,
      inputs: inputsOf(model, image, options),
      choice,
      progress,
      compile: (outputs) => compile(choice.engine, model, weights, outputs, options, progress),
    });
  } finally {
    progress.stop();
    choice.engine.close();
    await weights.close();
  }
}

/** What is run. */
interface Opened {
  readonly model: Model;
  readonly image: Tensor;
  readonly weights: WeightSource;
}

/** A preset or a configuration, with weights from a file or none. */
async function open(name: string, options: InferenceOptions, progress: Progress): Promise<Opened> {
  const routers = await loadRouters(options.plugin);
  const given = await readConfig(name, options.set);
  const routed = options.router === undefined ? given : routedBy(given, options.router, routers);
  const config = options.adapt?.(routed) ?? routed;
  const file = options.weights === undefined ? undefined : await openWeights(options.weights);
  const image = await readInput(options, file && imageSizeOf(config, file));
  const capacities = await readPlan(options.plan);
  const model = createModel(config, {
    batch: image.type.shape[0] ?? 1,
    imageSize: [image.type.shape[1] ?? 1, image.type.shape[2] ?? 1],
    routers,
    ...(options.groupSize !== undefined && { groupSize: options.groupSize }),
    ...(options.noise !== undefined && { noise: true }),
    ...(capacities && { capacities }),
    ...(options.live && { live: true }),
  });
  return { model, image, weights: await weightsOf(model, file, options, progress) };
}

/** A file that has all but the input. */
async function openFile(path: string, options: InferenceOptions): Promise<Opened> {
  const { set, weights: other, router, groupSize, plan, noise, size, input, image: paths } = options;
  refuseOverrides(path, {
    "--set": set,
    "--weights": other,
    "--router": router,
    "--group-size": groupSize,
    "--plan": plan,
    "--noise": noise,
    "--size": size,
  });
  const routers = await loadRouters(options.plugin);
  const batch = input === undefined ? paths?.length : (await readNpy(input)).type.shape[0];
  const { model, weights, imageSize } = await openOnnx(path, batch, routers);
  return { model, weights, image: await readInput(options, imageSize) };
}

/** The model's input: the array of `--input`, or the pictures of `--image` at the size that the weights know. */
async function readInput(
  options: InferenceOptions,
  known: readonly [number, number] | undefined,
): Promise<Tensor> {
  const { image: paths = [], input } = options;
  if ((input === undefined) === (paths.length === 0)) {
    throw new CompileError("U1", "run", "needs either --image photo.jpg ... or --input x.npy");
  }
  if (input === undefined) {
    return readImages(paths, options.size ?? known ?? defaultSize, options.fit);
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
async function openChosen({ backend, ep, threads, session }: InferenceOptions): Promise<Choice> {
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

function compile(
  engine: Engine,
  { graph }: Model,
  weights: WeightSource,
  outputs: readonly string[],
  { trace }: InferenceOptions,
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

/** The image, knobs as configured, and for routers with noise a standard normal draw from its seed. */
function inputsOf(model: Model, image: Tensor, { noise = 0 }: InferenceOptions): Map<string, Tensor> {
  const inputs = new Map([["image", image], ...knobsOf(model)]);
  for (const { leaf, type } of model.graph.inputs) {
    const name = leaf?.name ?? "";
    if (!inputs.has(name)) inputs.set(name, new Tensor(type, normalDraws(noise, name, sizeOf(type.shape))));
  }
  return inputs;
}
