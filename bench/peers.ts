/**
 * moec beside what a user would pick instead, on one WebGPU adapter in one run: ONNX Runtime's WebGPU engine on the exported
 * program, and TensorFlow.js on the dense model with the same weights. Options: bench/measure.ts. Traps: bench/traps.md.
 */
import type { Engine } from "../backends/backend.ts";
import { openBackend } from "../backends/choose.ts";
import { onnx } from "../backends/onnx/runtime.ts";
import { median } from "../backends/statistics.ts";
import { table } from "../cli/terminal.ts";
import { type Json, mergeConfig, presets } from "../models/index.ts";
import { type Case, isFull, measureAll, tell } from "./measure.ts";
import { denseProduct, imageModel, type Measured, moeLayer } from "./programs.ts";
import { closeTfjs, openTfjs, type TfjsProgram, tfjsProduct, tfjsVit } from "./tfjs.ts";
import { inTurns, type Runner, type Timed, timesAs } from "./turns.ts";

const turns = isFull ? { rounds: 9, limitMs: 20_000 } : { rounds: 5, limitMs: 6000 };

/** A program that engines are compared on. */
interface Compared {
  readonly what: string;
  readonly batch: number;
  readonly program: () => Measured;
  /** The same on TensorFlow.js, where it can be written there. */
  readonly tfjs?: (measured: Measured) => Promise<TfjsProgram>;
  /** Ours alone. */
  readonly alone?: boolean;
}

interface Row {
  readonly what: string;
  readonly batch: number;
  readonly gflop: number;
  /** Medians, in milliseconds; null where an engine was not asked or failed. */
  readonly ours: number;
  readonly onnx: number | null;
  readonly tfjs: number | null;
  /** How many times as long as ours they took, turn by turn: the median. */
  readonly onnxRatio: number | null;
  readonly tfjsRatio: number | null;
  /** Largest difference of an engine's numbers from ours, as a share of the largest number. */
  readonly differs: number;
}

const experts = (config: Json, count: number): Json =>
  mergeConfig(config, { encoder: { moe: { num_experts: count } } });
const served = (config: Json, factor: number): Json =>
  mergeConfig(config, {
    encoder: { moe: { router: { dispatcher: { capacity_factor: factor, batch_priority: true } } } },
  });
const outputOf = (measured: Measured, name: string): Measured => ({
  ...measured,
  graph: measured.graph.select([name]),
});
const preset = (name: string): Json => presets.get(name) as Json;

const products = (sides: readonly number[]): Compared[] =>
  sides.map((side) => ({
    what: `dense product, ${side}`,
    batch: 1,
    program: () => denseProduct(side),
    tfjs: tfjsProduct,
  }));
const dense = (name: string, batches: readonly number[]): Compared[] =>
  batches.map((batch) => ({
    what: name,
    batch,
    program: () => imageModel(preset(name), batch),
    tfjs: (measured) => tfjsVit(preset(name), measured),
  }));
const sparse = (name: string, counts: readonly number[], batches: readonly number[]): Compared[] =>
  counts.flatMap((count) =>
    batches.map((batch) => ({
      what: `${name}, E = ${count}`,
      batch,
      program: () => imageModel(experts(preset(name), count), batch),
    })),
  );
const layers = (name: string, counts: readonly number[], batches: readonly number[]): Compared[] =>
  counts.flatMap((count) =>
    batches.map((batch) => ({
      what: `MoE layer of ${name}, E = ${count}`,
      batch,
      program: () => outputOf(moeLayer(experts(preset(name), count), batch), "y"),
    })),
  );
const capacities = (name: string, batch: number): Compared[] =>
  [0.15, 0.5, 1.05].map((factor) => ({
    what: `${name}, E = 8, BPR, C = ${factor}`,
    batch,
    program: () => imageModel(served(experts(preset(name), 8), factor), batch),
    alone: true,
  }));

const compared: readonly Compared[] = isFull
  ? [
      ...products([512, 1024, 2048]),
      ...layers("vmoe-s32-every2", [8, 32], [1, 8, 32]),
      ...dense("vit-s32", [1, 8, 32]),
      ...sparse("vmoe-s32-last2", [8, 32], [1, 8, 32]),
      ...sparse("vmoe-s32-every2", [8, 32], [1, 8, 32]),
      ...capacities("vmoe-s32-every2", 8),
      ...sparse("vmoe-b16-every2", [8, 32], [1, 8, 32]),
    ]
  : [
      ...products([512, 1024]),
      ...dense("vit-s32", [1]),
      ...sparse("vmoe-s32-last2", [8], [1, 8]),
      ...sparse("vmoe-s32-every2", [8], [1]),
      ...layers("vmoe-s32-every2", [8, 32], [1, 8]),
      ...capacities("vmoe-s32-every2", 1),
      ...sparse("vmoe-b16-every2", [8], [1]),
    ];

/** An engine with a program of its own. */
interface Contender extends Runner {
  readonly numbers: Float32Array;
  dispose(): void;
}

async function onEngine(what: string, on: Engine, measured: Measured): Promise<Contender> {
  const { graph, weights, inputs, flops } = measured;
  const executable = await on.compile(graph, weights);
  const run = async (): Promise<Float32Array> => {
    const [output] = (await executable.run(inputs)).values();
    return output?.data as Float32Array;
  };
  try {
    return { what, flops, numbers: await run(), run, dispose: () => executable.dispose() };
  } catch (error) {
    executable.dispose();
    throw error;
  }
}

async function onTfjs(what: string, { flops }: Measured, built: TfjsProgram): Promise<Contender> {
  return { what, flops, numbers: await built.run(), run: () => built.run(), dispose: closeTfjs };
}

/** What `open` opens, or nothing where the peer cannot do it, which is said. */
async function attempt(
  peer: string,
  open: (what: string) => Promise<Contender>,
): Promise<Contender | undefined> {
  try {
    return await open(peer);
  } catch (error) {
    console.error(`${peer}: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

function difference(ours: Float32Array, theirs: Float32Array): number {
  let [off, largest] = [0, 0];
  for (const [i, value] of ours.entries()) {
    off = Math.max(off, Math.abs(value - (theirs[i] ?? Number.NaN)));
    largest = Math.max(largest, Math.abs(value));
  }
  return off / largest;
}

async function measure({ what, batch, program, tfjs, alone }: Compared): Promise<Row> {
  const measured = program();
  const ours = await onEngine("moec", engine, measured);
  const runtime = alone ? undefined : await attempt("ONNX Runtime", (name) => onEngine(name, peer, measured));
  const other =
    tfjs && (await attempt("TensorFlow.js", async (name) => onTfjs(name, measured, await tfjs(measured))));
  const peers = [runtime, other].filter((each) => each !== undefined);
  try {
    const [mine, ...rest] = (await inTurns([ours, ...peers], turns)) as [Timed, ...Timed[]];
    const timeOf = (each?: Contender): Timed | undefined => rest.find((timed) => timed.what === each?.what);
    const ratio = (each?: Timed): number | null => (each ? median(timesAs(each, mine)) : null);
    const [theirs, others] = [timeOf(runtime), timeOf(other)];
    return {
      what,
      batch,
      gflop: measured.flops / 1e9,
      ours: mine.ms,
      onnx: theirs?.ms ?? null,
      tfjs: others?.ms ?? null,
      onnxRatio: ratio(theirs),
      tfjsRatio: ratio(others),
      differs: Math.max(0, ...peers.map(({ numbers }) => difference(ours.numbers, numbers))),
    };
  } finally {
    for (const each of [ours, ...peers]) each.dispose();
  }
}

const shown = (value: number | null, digits = 2): string => value?.toFixed(digits) ?? "";

const line = ({ ours, onnxRatio, tfjsRatio }: Row): string =>
  [
    `${shown(ours)} ms`,
    ...(onnxRatio === null ? [] : [`ONNX Runtime ${shown(onnxRatio)} times as long`]),
    ...(tfjsRatio === null ? [] : [`TensorFlow.js ${shown(tfjsRatio)}`]),
  ].join(", ");

function report(rows: readonly Row[]): void {
  const cells = rows.map((row) => [
    row.what,
    row.batch,
    shown(row.ours),
    (row.gflop / (row.ours / 1e3)).toFixed(1),
    shown(row.onnx),
    shown(row.tfjs),
    shown(row.onnxRatio),
    shown(row.tfjsRatio),
    row.differs.toExponential(0),
  ]);
  const head = [
    "what",
    "batch",
    "ms",
    "GFLOP/s",
    "ONNX Runtime ms",
    "tfjs ms",
    "ONNX Runtime : ours",
    "tfjs : ours",
    "differs",
  ];
  tell({
    device: engine.device,
    how: `beside ${peer.device}, medians of at most ${turns.rounds} turns`,
    numbers: { peer: peer.device, rows },
    text: table([head, ...cells]),
  });
}

const { engine } = await openBackend("webgpu");
const peer = await onnx({ provider: "webgpu" }).open();
await openTfjs();
const cases = compared.map((each): Case<Row> => ({
  what: `${each.what}, batch ${each.batch}`,
  measure: () => measure(each),
}));
await measureAll(cases, line, report);
engine.close();
process.exit();
