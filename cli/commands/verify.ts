/** `moec verify`: every backend against the reference, on random inputs and weights. */
import { Command } from "commander";

import { type Choice, openBackend } from "../../backends/choose.ts";
import { backends } from "../../backends/index.ts";
import { reference } from "../../backends/reference/index.ts";
import { CompileError, sizeOf, Tensor, type WeightSource } from "../../ir/index.ts";
import { knobsOf, type Model, normalDraws, probing, randomWeights } from "../../models/index.ts";
import { narrowWeights, type WeightPrecision } from "../../passes/index.ts";
import { defaultSize, readModel } from "../model.ts";
import { isOnnx, openOnnx, refuseOverrides } from "../onnxModel.ts";
import {
  batchOption,
  examples,
  exitCodes,
  groupOption,
  jsonOption,
  modelHelp,
  pluginOption,
  precisionOption,
  quantizeOption,
  seedOption,
  setOption,
  sizeOption,
} from "../options.ts";
import { loadRouters } from "../plugins.ts";
import { progressBar } from "../progress.ts";
import { table } from "../terminal.ts";

interface VerifyOptions extends WeightPrecision {
  readonly set: readonly string[];
  readonly plugin: readonly string[];
  readonly backends?: string;
  readonly batch?: number;
  readonly size?: readonly [number, number];
  readonly groupSize?: number;
  readonly seed: number;
  readonly json?: boolean;
}

/** Rounding errors of single ops add up over a model's depth; experts may round through bfloat16. */
const depthFactor = 20;

/** How one backend compares. */
interface Comparison {
  readonly backend: string;
  readonly device: string;
  /** Largest difference of logits, and that as a share of the largest logit. */
  readonly maxError: number;
  readonly relativeError: number;
  readonly tolerance: number;
  /** Whether every token sits in the same slot of the same expert. */
  readonly routingEqual: boolean;
  readonly ok: boolean;
}

/** A backend that cannot be opened here, and why. */
interface Absence {
  readonly backend: string;
  readonly absent: string;
}

/** True when every backend is within its tolerance. */
async function verify(name: string, options: VerifyOptions): Promise<boolean> {
  const { seed, json } = options;
  const asked = options.backends?.split(",").map((word) => word.trim());
  const stray = asked?.find((backend) => !(backend in backends));
  if (stray !== undefined)
    throw new CompileError("B2", stray, `is no backend; there is ${Object.keys(backends).join(", ")}`);
  const verified = await (isOnnx(name) ? inFile(name, options) : described(name, options));
  const { model, weights } = narrowed(verified, options);
  const progress = progressBar(json === true);
  const show =
    (what: string) =>
    (done: number): void =>
      progress.show(done, what);
  const want = await outputsOf(model, weights, seed, await openBackend(reference.name), show(reference.name));
  const rows: (Comparison | Absence)[] = [];
  try {
    for (const backend of asked ?? Object.keys(backends)) {
      const choice = await openBackend(backend).catch((error: unknown) => {
        // What was asked for must be here; of what was not, it is said that it is not.
        if (asked || !(error instanceof CompileError)) throw error;
        return { backend, absent: error.message };
      });
      if ("absent" in choice) {
        rows.push(choice);
        continue;
      }
      const isOracle = choice.backend.name === reference.name;
      const got = isOracle ? want : await outputsOf(model, weights, seed, choice, show(backend));
      rows.push(compare(model, choice, got, want));
    }
  } finally {
    progress.stop();
  }
  const [images] = model.graph.inputs[0]?.type.shape ?? [];
  const report = { model: name, seed, batch: images, comparisons: rows };
  console.log(json ? JSON.stringify(report) : tableOf(rows));
  return rows.every((row) => "absent" in row || row.ok);
}

/** What is compared. */
interface Verified {
  readonly model: Model;
  readonly weights: WeightSource;
}

/** A model with random weights, none of which is without effect. */
async function described(
  name: string,
  { set, batch, size, groupSize, ...options }: VerifyOptions,
): Promise<Verified> {
  const model = await readModel(name, set, {
    batch: batch ?? 1,
    imageSize: size ?? defaultSize,
    routers: await loadRouters(options.plugin),
    ...(groupSize !== undefined && { groupSize }),
  });
  return { model, weights: randomWeights(probing(model.parameters), options.seed) };
}

async function inFile(path: string, { set, size, groupSize, ...options }: VerifyOptions): Promise<Verified> {
  refuseOverrides(path, { "--set": set, "--size": size, "--group-size": groupSize });
  return openOnnx(path, options.batch, await loadRouters(options.plugin));
}

/** The model with its weights stored as `precision` says, for the reference as for the others. */
function narrowed({ model, weights }: Verified, precision: WeightPrecision): Verified {
  const { graph, weightsOf } = narrowWeights(model.graph, precision);
  return { model: { ...model, graph }, weights: weightsOf(weights) };
}

function tableOf(rows: readonly (Comparison | Absence)[]): string {
  const cells = rows.map((row) =>
    "absent" in row
      ? [row.backend, "", "", "", "", `absent: ${row.absent}`]
      : [
          row.backend,
          row.maxError.toExponential(1),
          row.relativeError.toExponential(1),
          row.tolerance.toExponential(1),
          row.routingEqual ? "equal" : "DIFFERENT",
          row.ok ? "ok" : "FAILED",
        ],
  );
  return table([["backend", "max error", "relative", "tolerance", "routing", "verdict"], ...cells]);
}

const wanted = ({ blocks }: Model): string[] => ["logits", ...blocks.map((block) => `${block.name}/tokens`)];

async function outputsOf(
  model: Model,
  weights: WeightSource,
  seed: number,
  { engine }: Choice,
  progress: (done: number) => void,
): Promise<Map<string, Tensor>> {
  const { graph } = model;
  try {
    const executable = await engine.compile(graph, weights, {
      outputs: wanted(model),
      check: true,
      progress,
    });
    const knobs = knobsOf(model);
    const inputs = graph.inputs.map(({ leaf, type }): [string, Tensor] => {
      const name = leaf?.name ?? "";
      return [name, knobs.get(name) ?? new Tensor(type, normalDraws(seed, name, sizeOf(type.shape)))];
    });
    const outputs = await executable.run(new Map(inputs));
    executable.dispose();
    return outputs;
  } finally {
    engine.close();
  }
}

function compare(
  model: Model,
  { backend: { name, tolerance }, engine: { device } }: Choice,
  got: ReadonlyMap<string, Tensor>,
  want: ReadonlyMap<string, Tensor>,
): Comparison {
  const [g, w] = [got, want].map((outputs) => Array.from((outputs.get("logits") as Tensor).numbers())) as [
    number[],
    number[],
  ];
  const largest = w.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
  const maxError = w.reduce((max, v, i) => Math.max(max, Math.abs(v - (g[i] as number))), 0);
  const routingEqual = model.blocks.every(({ name: block }) => {
    const [a, b] = [got.get(`${block}/tokens`), want.get(`${block}/tokens`)];
    return a && b && Buffer.compare(a.bytes, b.bytes) === 0;
  });
  const allowed = depthFactor * tolerance.f32;
  const relativeError = maxError / largest;
  return {
    backend: name,
    device,
    maxError,
    relativeError,
    tolerance: allowed,
    routingEqual,
    ok: routingEqual && relativeError <= allowed,
  };
}

/** `moec verify`. */
export const verifyCommand: Command = new Command("verify")
  .description(
    "compare backends with the reference on random inputs and weights; exit code 1 when one is off",
  )
  .argument("<model>", modelHelp)
  .option("--backends <a,b>", "which; all by default")
  .addOption(setOption())
  .addOption(pluginOption())
  .addOption(batchOption())
  .addOption(sizeOption())
  .addOption(groupOption())
  .addOption(precisionOption())
  .addOption(quantizeOption())
  .addOption(seedOption())
  .addOption(jsonOption())
  .addHelpText(
    "after",
    examples(
      "verify vmoe-s32-last2-e8",
      "verify config.json --backends webgpu --seed 7 --json",
      "verify vmoe-s32-last2-e8 --quantize-experts int4",
    ),
  )
  .action(async (name: string, options: VerifyOptions) => {
    if (!(await verify(name, options))) process.exitCode = exitCodes.failed;
  });
