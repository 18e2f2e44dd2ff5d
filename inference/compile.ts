/** A loaded model on an engine: images to results, one batch or a stream of them. */
import type { CompileOptions, Engine, LaunchTime, Report, Span } from "../backends/backend.ts";
import { CompileError, type Tensor, type WeightSource } from "../ir/index.ts";
import { type Knobs, knobsOf, type Model, routeOutputs } from "../models/index.ts";
import { narrowWeights, type WeightPrecision } from "../passes/index.ts";
import { batchesOf, type Images } from "./batches.ts";
import type { Loaded } from "./loaded.ts";
import { Result } from "./result.ts";

/** How a model is compiled, and how its weights are stored. */
export interface ModelCompileOptions extends CompileOptions, WeightPrecision {
  /** Aborts compiling, which then throws the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Where a model is compiled. */
export interface EngineCompileOptions extends ModelCompileOptions {
  readonly engine: Engine;
  /** Whether the engine closes with the program; by default it stays open. */
  readonly owned?: boolean;
}

/** How a batch is run. Knobs are for models made live (`createModel`'s `live`); what is left out is as configured. */
export interface RunOptions extends Knobs {
  /** Aborts before the batch, or between the steps of an engine that has some, and throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** Inputs of the program besides the images, such as `noise/<block>`. */
  readonly inputs?: ReadonlyMap<string, Tensor>;
}

/** How many batches are run. */
export interface StreamOptions extends Omit<RunOptions, "inputs"> {
  /** Inputs besides the images, of all batches or of each by its number from 0. */
  readonly inputs?: RunOptions["inputs"] | ((batch: number) => ReadonlyMap<string, Tensor>);
}

/** A compiled model. */
export interface Program {
  readonly model: Model;
  /** The device that it runs on, for people. */
  readonly device: string;
  /** What a run does, as far as the engine counts it. */
  readonly report: Report;
  /**
   * Runs f32[n, height, width, 3], n at most the batch; see `stream` for what fills the rest. Runs wait for each other.
   * Throws B1 for images that do not fit, B4 and B5 when the device fails.
   */
  run(images: Tensor, options?: RunOptions): Promise<Result>;
  /**
   * Runs images as they come, batch by batch in their order; the next are taken in while the device works. The last
   * batch is filled up with images that came before, which take part in its routing.
   */
  stream(images: Images, options?: StreamOptions): AsyncGenerator<Result, void>;
  /** Times the launches of a run of one whole batch. Throws as `run` does, and B3 where the device times nothing. */
  profile(images: Tensor, options?: Omit<RunOptions, "signal">): Promise<readonly LaunchTime[]>;
  /**
   * Milliseconds of each of `spans` of those launches, without a break between the launches of one; `profile` has breaks.
   * Throws as `profile` does.
   */
  time(
    images: Tensor,
    spans: readonly Span[],
    options?: Omit<RunOptions, "signal">,
  ): Promise<readonly number[]>;
  /** Releases the device's memory, and the engine where it is the program's own. */
  close(): Promise<void>;
}

/** The outputs that results are made of. */
const resultOutputs = (model: Model): string[] => [
  ...new Set(["logits", model.prediction ?? "logits", ...routeOutputs(model)]),
];

/**
 * Compiles a model for an engine; reads every weight once. By default the outputs are what results are
 * made of. Throws W3 for weights that are not finite, B3 to B5 for what the device cannot do.
 */
export async function compile(
  { model, weights }: Loaded,
  { engine, owned = false, signal, ...options }: EngineCompileOptions,
): Promise<Program> {
  // Whoever is at work: compiling, then one run at a time.
  let active = signal;
  const narrow = narrowWeights(model.graph, options);
  const executable = await engine.compile(narrow.graph, abortable(narrow.weightsOf(weights), signal), {
    outputs: resultOutputs(model),
    ...options,
    progress(done, what) {
      active?.throwIfAborted();
      options.progress?.(done, what);
    },
  });
  active = undefined;
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = turn.then(work);
    turn = mine.catch(() => undefined);
    return mine;
  };
  const { shape = [] } = model.graph.inputs[0]?.type ?? {};
  const given = (
    images: Tensor,
    { inputs = new Map(), ...knobs }: Omit<RunOptions, "signal"> = {},
  ): ReadonlyMap<string, Tensor> => new Map([["image", images], ...knobsOf(model, knobs), ...inputs]);

  const program: Program = {
    model,
    device: engine.device,
    get report() {
      return executable.report;
    },
    async run(images, how = {}) {
      const [[most = 1], [count = 0]] = [shape, images.type.shape];
      if (count <= most) for await (const result of program.stream([images], how)) return result;
      throw new CompileError("B1", "images", `must be 1 to ${most} for one run; got ${count}`);
    },
    async *stream(images, { signal: stop, inputs = new Map(), ...knobs } = {}) {
      const set = knobsOf(model, knobs);
      const batches = batchesOf(images, shape);
      const next = (): Promise<IteratorResult<{ readonly images: Tensor; readonly count: number }, void>> => {
        const coming = batches.next();
        // Its failure is told when its turn comes, if it does.
        coming.catch(() => undefined);
        return coming;
      };
      try {
        let coming = next();
        for (let number = 0; ; number++) {
          stop?.throwIfAborted();
          const { value: batch } = await coming;
          if (!batch) return;
          coming = next();
          const more = typeof inputs === "function" ? inputs(number) : inputs;
          const outputs = await inTurn(async () => {
            stop?.throwIfAborted();
            active = stop;
            try {
              return await executable.run(new Map([["image", batch.images], ...set, ...more]));
            } finally {
              active = undefined;
            }
          });
          stop?.throwIfAborted();
          yield new Result(model, outputs, batch.count);
        }
      } finally {
        await batches.return();
      }
    },
    profile(images, how) {
      return inTurn(() => {
        if (executable.profile) return executable.profile(given(images, how));
        throw timesNothing(engine);
      });
    },
    time(images, spans, how) {
      return inTurn(() => {
        if (executable.time) return executable.time(given(images, how), spans);
        throw timesNothing(engine);
      });
    },
    close: () =>
      inTurn(async () => {
        executable.dispose();
        if (owned) engine.close();
      }),
  };
  return program;
}

const timesNothing = ({ device }: Engine): CompileError =>
  new CompileError("B3", device, "does not time its launches");

/** `source` that reads no more once `signal` is aborted. */
function abortable(source: WeightSource, signal: AbortSignal | undefined): WeightSource {
  if (!signal) return source;
  return {
    ...source,
    async read(name, rows) {
      signal.throwIfAborted();
      return source.read(name, rows);
    },
  };
}
