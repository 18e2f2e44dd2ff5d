/** A model, its weights, its images and a backend, opened together: what `run` and `route` share. */
import { type Choice, chooseBackend, openBackend } from "../backends/choose.ts";
import { compile, type Program } from "../inference/compile.ts";
import type { Loaded } from "../inference/loaded.ts";
import { type Fit, readImages } from "../inference/photographs.ts";
import { CompileError, type Shape, showType, sizeOf, Tensor, type TensorType } from "../ir/index.ts";
import {
  createModel,
  imageSizeOf,
  type Json,
  type Model,
  normalDraws,
  routedBy,
  tokensOf,
} from "../models/index.ts";
import { openWeights } from "../models/weights/open.ts";
import type { WeightFile } from "../models/weights/sources/source.ts";
import type { WeightPrecision } from "../passes/index.ts";
import { isBundle, noWeights, openBundle } from "./bundleModel.ts";
import { defaultSize, readConfig, weightsOf } from "./model.ts";
import { readNpy } from "./npy.ts";
import { isOnnx, openOnnx, refuseOverrides } from "./onnxModel.ts";
import { findPictures } from "./pictures.ts";
import { readPlan } from "./plan.ts";
import { loadRouters } from "./plugins.ts";
import { type Progress, progressBar } from "./progress.ts";
import { readTarget } from "./target.ts";

export interface InferenceOptions extends WeightPrecision {
  readonly set: readonly string[];
  readonly plugin: readonly string[];
  readonly router?: string;
  readonly weights?: string;
  readonly image?: readonly string[];
  readonly input?: string;
  readonly batch?: number;
  readonly backend: string;
  readonly ep?: string;
  readonly target: string;
  readonly unsafeFeatures?: boolean;
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
  /** The image size that the weights were made for, where their positions were resized to another. */
  readonly resizedFrom: readonly [number, number] | undefined;
  /** What the images are called. */
  readonly names: readonly string[];
  /** Images of a run. */
  readonly batch: number;
  /** Images `start .. stop - 1`, f32[n, height, width, 3]. */
  readonly read: (start: number, stop: number) => Promise<Tensor>;
  /** All images in order, a batch at a time. */
  readonly images: () => AsyncIterable<Tensor>;
  /** Inputs of a batch besides its images. */
  readonly inputs: (batch: number) => ReadonlyMap<string, Tensor>;
  readonly choice: Choice;
  readonly progress: Progress;
  /** The program that computes the outputs of the given names, by default those of results. */
  readonly compile: (outputs?: readonly string[]) => Promise<Program>;
}

/** Images at a time where nothing is said. */
const mostImages = 32;

/**
 * Opens what the options name, lets `use` work with it, and closes it; `quiet` shows no progress. Throws for whatever is
 * wrong with them.
 */
export async function infer<T>(
  name: string,
  options: InferenceOptions,
  quiet: boolean,
  use: (inference: Inference) => Promise<T>,
): Promise<T> {
  // Everything that can be wrong with what the user gave is found before a device is opened.
  const progress = progressBar(quiet);
  const pictures = await namedPictures(options);
  const bundled = await isBundle(name);
  const asked = options.batch ?? Math.min(pictures.names.length, mostImages);
  const opened: Opened = await (bundled
    ? openFolder(name, options, pictures)
    : isOnnx(name)
      ? openFile(name, options, pictures, asked)
      : open(name, options, pictures, asked, progress));
  const { model, weights, resizedFrom, size } = opened;
  const batch = model.graph.inputs[0]?.type.shape[0] ?? asked;
  const read = (start: number, stop: number): Promise<Tensor> => pictures.read(start, stop, size);
  try {
    const first = await read(0, Math.min(batch, pictures.names.length));
    const choice = await (opened.device?.() ?? openChosen(options));
    try {
      return await use({
        model,
        origin: bundled || isOnnx(name) ? name : (options.weights ?? `random (seed ${options.seed})`),
        resizedFrom,
        names: pictures.names,
        batch,
        read,
        async *images() {
          yield first;
          for (let at = batch; at < pictures.names.length; at += batch)
            yield read(at, Math.min(at + batch, pictures.names.length));
        },
        inputs: (number) => noiseOf(model, options.noise ?? 0, number),
        choice,
        progress,
        compile: (outputs) =>
          compile(
            { model, weights },
            {
              engine: choice.engine,
              progress: progress.show,
              ...(outputs && { outputs }),
              ...(options.precision && { precision: options.precision }),
              ...(options.quantizeExperts && { quantizeExperts: options.quantizeExperts }),
              ...(options.trace && { trace: showRewrite }),
            },
          ),
      });
    } finally {
      choice.engine.close();
    }
  } finally {
    progress.stop();
    await weights.close();
  }
}

const showRewrite = ({
  pass,
  rule,
  at,
  before,
  after,
}: Record<"pass" | "rule" | "at" | "before" | "after", string>): void =>
  console.error(`${pass}: ${rule}${at ? ` at ${at}` : ""}\n  - ${before}\n  + ${after}`);

/** Images that are known by name and not read yet. */
interface Pictures {
  readonly names: readonly string[];
  /** Their size, where they have one of their own. */
  readonly size: readonly [number, number] | undefined;
  read(start: number, stop: number, size: readonly [number, number]): Promise<Tensor>;
}

/** The array of `--input`, or the pictures of `--image`. */
async function namedPictures({ image: given = [], input, size, fit }: InferenceOptions): Promise<Pictures> {
  if ((input === undefined) === (given.length === 0)) {
    throw new CompileError("U1", "run", "needs either --image photo.jpg ... or --input x.npy");
  }
  if (input === undefined) {
    const names = await findPictures(given);
    return {
      names,
      size: undefined,
      read: (start, stop, to) => readImages(names.slice(start, stop), to, fit),
    };
  }
  if (size) throw new CompileError("U1", "--size", "is for photographs; an array has its own size");
  const { type, data } = await readNpy(input);
  const [count = 0, height = 0, width = 0, channels] = type.shape;
  if (type.shape.length !== 4 || channels !== 3 || type.shape.includes(0)) {
    throw new CompileError("W1", input, `must be images f32[N, height, width, 3]; it is ${showType(type)}`);
  }
  const part = (start: number, stop: number, shape: Shape): Tensor =>
    new Tensor({ ...type, shape }, data.subarray(start * height * width * 3, stop * height * width * 3));
  return {
    names: Array.from({ length: count }, (_, i) => `${input} [${i}]`),
    size: [height, width],
    read: (start, stop) => Promise.resolve(part(start, stop, [stop - start, height, width, 3])),
  };
}

/** What is run. */
interface Opened extends Loaded {
  readonly size: readonly [number, number];
  readonly resizedFrom?: readonly [number, number] | undefined;
  /** Opens the device that it is for, where that is not for the options to say. */
  readonly device?: () => Promise<Choice>;
}

/** A preset or a configuration, with weights from a file or none. */
async function open(
  name: string,
  options: InferenceOptions,
  pictures: Pictures,
  batch: number,
  progress: Progress,
): Promise<Opened> {
  const file = options.weights === undefined ? undefined : await openWeights(options.weights);
  try {
    return await openWith(file, name, options, pictures, batch, progress);
  } catch (error) {
    progress.stop();
    await file?.close();
    throw error;
  }
}

async function openWith(
  file: WeightFile | undefined,
  name: string,
  options: InferenceOptions,
  pictures: Pictures,
  batch: number,
  progress: Progress,
): Promise<Opened> {
  const routers = await loadRouters(options.plugin);
  const given = await readConfig(name, options.set, file);
  const routed = options.router === undefined ? given : routedBy(given, options.router, routers);
  const config = options.adapt?.(routed) ?? routed;
  const known = file && imageSizeOf(config, file);
  const imageSize = pictures.size ?? options.size ?? known ?? defaultSize;
  const capacities = await readPlan(options.plan);
  const model = createModel(config, {
    batch,
    imageSize,
    routers,
    ...(options.groupSize !== undefined && { groupSize: options.groupSize }),
    ...(options.noise !== undefined && { noise: true }),
    ...(capacities && { capacities }),
    ...(options.live && { live: true }),
  });
  const before = known && createModel(config, { imageSize: known, routers }).grid;
  const resizedFrom = before && tokensOf(before) !== tokensOf(model.grid) ? known : undefined;
  return { model, weights: await weightsOf(model, file, options, progress), size: imageSize, resizedFrom };
}

/** A bundle that has all but the input. */
async function openFolder(path: string, options: InferenceOptions, pictures: Pictures): Promise<Opened> {
  const backend = options.backend === "auto" || options.backend === "webgpu" ? undefined : options.backend;
  refuseOverrides(path, {
    "--set": options.set,
    "--weights": options.weights,
    "--router": options.router,
    "--group-size": options.groupSize,
    "--plan": options.plan,
    "--noise": options.noise,
    "--size": options.size,
    "--batch": options.batch,
    "--precision": options.precision,
    "--quantize-experts": options.quantizeExperts,
    "--backend": backend,
    "--ep": options.ep,
    "--threads": options.threads,
    "--session": Object.keys(options.session)[0],
    "--target": options.target === "auto" ? undefined : options.target,
  });
  const {
    model,
    imageSize,
    open: device,
  } = await openBundle(path, await loadRouters(options.plugin), options.unsafeFeatures);
  return { model, weights: noWeights, size: pictures.size ?? imageSize, device };
}

/** A file that has all but the input. */
async function openFile(
  path: string,
  options: InferenceOptions,
  pictures: Pictures,
  batch: number,
): Promise<Opened> {
  refuseOverrides(path, {
    "--set": options.set,
    "--weights": options.weights,
    "--router": options.router,
    "--group-size": options.groupSize,
    "--plan": options.plan,
    "--noise": options.noise,
    "--size": options.size,
  });
  const { model, weights, imageSize } = await openOnnx(path, batch, await loadRouters(options.plugin));
  return { model, weights, size: pictures.size ?? imageSize };
}

/** The backend asked for, with what is said of WebGPU's target or of ONNX Runtime; that is for no other. */
async function openChosen({
  backend,
  target,
  unsafeFeatures: unsafe = false,
  ep,
  threads,
  session,
}: InferenceOptions): Promise<Choice> {
  const [ofWebgpu] = [...(target === "auto" ? [] : ["--target"]), ...(unsafe ? ["--unsafe-features"] : [])];
  if (ofWebgpu !== undefined) {
    if (backend !== "auto" && backend !== "webgpu") {
      throw new CompileError("U1", ofWebgpu, `is for --backend webgpu; got --backend ${backend}`);
    }
    const profile = target === "auto" ? {} : { target: await readTarget(target, unsafe) };
    return openBackend("webgpu", { unsafe, ...profile });
  }

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

/** For routers with noise, standard normal draws from a seed, others in every batch. */
function noiseOf({ graph }: Model, seed: number, batch: number): Map<string, Tensor> {
  const drawn = (name: string, type: TensorType): Tensor =>
    new Tensor(type, normalDraws(seed, batch === 0 ? name : `${name}/${batch}`, sizeOf(type.shape)));
  return new Map(
    graph.inputs
      .filter(({ leaf }) => leaf?.name.startsWith("noise/"))
      .map(({ leaf, type }) => [leaf?.name ?? "", drawn(leaf?.name ?? "", type)]),
  );
}
