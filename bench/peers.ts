/**
 * moec beside what a user would pick instead, on one WebGPU adapter in one run: ONNX Runtime's WebGPU engine on the
 * exported program, and TensorFlow.js on the dense model with the same weights. Prints a table of times and ratios;
 * `--json` prints one line, for bench/results; `--full` measures what only a GPU can. Traps: bench/traps.md.
 */
import type { Engine } from "../backends/backend.ts";
import { openBackend } from "../backends/choose.ts";
import { onnx } from "../backends/onnx/runtime.ts";
import { median } from "../backends/statistics.ts";
import { table } from "../cli/terminal.ts";
import { type Json, mergeConfig, presets } from "../models/index.ts";
import { denseProduct, imageModel, type Measured, moeLayer } from "./programs.ts";
import { closeTfjs, openTfjs, type TfjsProgram, tfjsProduct, tfjsVit } from "./tfjs.ts";
import { timesOf } from "./turns.ts";

const isFull = process.argv.includes("--full");
const isJson = process.argv.includes("--json");

/** Turns that are timed; fewer once they took this many milliseconds. */
const [most, budget] = isFull ? [15, 20_000] : [5, 6000];

interface Case {
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

const products = (sides: readonly number[]): Case[] =>
  sides.map((side) => ({
    what: `dense product, ${side}`,
    batch: 1,
    program: () => denseProduct(side),
    tfjs: tfjsProduct,
  }));
const dense = (name: string, batches: readonly number[]): Case[] =>
  batches.map((batch) => ({
    what: name,
    batch,
    program: () => imageModel(preset(name), batch),
    tfjs: (measured) => tfjsVit(preset(name), measured),
  }));
const sparse = (name: string, counts: readonly number[], batches: readonly number[]): Case[] =>
  counts.flatMap((count) =>
    batches.map((batch) => ({
      what: `${name}, E = ${count}`,
      batch,
      program: () => imageModel(experts(preset(name), count), batch),
    })),
  );
const layers = (name: string, counts: readonly number[], batches: readonly number[]): Case[] =>
  counts.flatMap((count) =>
    batches.map((batch) => ({
      what: `MoE layer of ${name}, E = ${count}`,
      batch,
      program: () => outputOf(moeLayer(experts(preset(name), count), batch), "y"),
    })),
  );
const capacities = (name: string, batch: number): Case[] =>
  [0.15, 0.5, 1.05].map((factor) => ({
    what: `${name}, E = 8, BPR, C = ${factor}`,
    batch,
    program: () => imageModel(served(experts(preset(name), 8), factor), batch),
    alone: true,
  }));

const cases: Case[] = isFull
  ? [
      ...products([512, 1024, 2048]),
      ...dense("vit-s32", [1, 8, 32]),
      ...sparse("vmoe-s32-last2", [8, 32], [1, 8, 32]),
      ...sparse("vmoe-s32-every2", [8, 32], [1, 8, 32]),
      ...sparse("vmoe-b16-every2", [8, 32], [1, 8, 32]),
      ...layers("vmoe-s32-every2", [8, 32], [1, 8, 32]),
      ...capacities("vmoe-s32-every2", 8),
    ]
  : [
      ...products([512, 1024]),
      ...dense("vit-s32", [1]),
      ...sparse("vmoe-s32-last2", [8], [1, 8]),
      ...sparse("vmoe-s32-every2", [8], [1]),
      ...layers("vmoe-s32-every2", [8, 32], [1, 8]),
      ...capacities("vmoe-s32-every2", 1),
    ];

/** An engine with a program of its own for a case. */
interface Contender {
  readonly numbers: Float32Array;
  run(): Promise<Float32Array>;
  dispose(): void;
}

async function onEngine(engine: Engine, { graph, weights, inputs }: Measured): Promise<Contender> {
  const executable = await engine.compile(graph, weights);
  const run = async (): Promise<Float32Array> => {
    const [output] = (await executable.run(inputs)).values();
    return output?.data as Float32Array;
  };
  try {
    return { numbers: await run(), run, dispose: () => executable.dispose() };
  } catch (error) {
    executable.dispose();
    throw error;
  }
}

async function onTfjs(built: TfjsProgram): Promise<Contender> {
  return { numbers: await built.run(), run: () => built.run(), dispose: closeTfjs };
}

/** What `open` opens, or nothing where the peer cannot do it, which is said. */
async function attempt(peer: string, open: () => Promise<Contender>): Promise<Contender | undefined> {
  try {
    return await open();
  } catch (error) {
    console.error(`${peer}: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

/** Milliseconds of each contender's warm runs, taking turns, so that slow phases of the machine fall on all. */
async function turnsOf(contenders: readonly (Contender | undefined)[]): Promise<number[][]> {
  const times = contenders.map((): number[] => []);
  for (let round = 0, spent = 0; round < most && spent < budget; round++) {
    for (const [i, contender] of contenders.entries()) {
      if (!contender) continue;
      const [ms = 0] = await timesOf(1, () => contender.run());
      times[i]?.push(ms);
      spent += ms;
    }
  }
  return times;
}

function difference(ours: Float32Array, theirs: Float32Array | undefined): number {
  if (!theirs) return 0;
  let [off, largest] = [0, 0];
  for (const [i, value] of ours.entries()) {
    off = Math.max(off, Math.abs(value - (theirs[i] ?? Number.NaN)));
    largest = Math.max(largest, Math.abs(value));
  }
  return off / largest;
}

async function measure(
  { what, batch, program, tfjs, alone }: Case,
  engine: Engine,
  peer: Engine,
): Promise<Row> {
  const measured = program();
  const ours = await onEngine(engine, measured);
  const runtime = alone ? undefined : await attempt("ONNX Runtime", () => onEngine(peer, measured));
  const other = tfjs && (await attempt("TensorFlow.js", async () => onTfjs(await tfjs(measured))));
  const [mine = [], theirs = [], others = []] = await turnsOf([ours, runtime, other]);
  const differs = Math.max(...[runtime, other].map((each) => difference(ours.numbers, each?.numbers)));
  for (const each of [ours, runtime, other]) each?.dispose();
  const ratio = (times: readonly number[]): number | null =>
    middle(times.map((ms, i) => ms / (mine[i] ?? ms)));
  return {
    what,
    batch,
    gflop: measured.flops / 1e9,
    ours: median(mine),
    onnx: middle(theirs),
    tfjs: middle(others),
    onnxRatio: ratio(theirs),
    tfjsRatio: ratio(others),
    differs,
  };
}

const middle = (values: readonly number[]): number | null => (values.length > 0 ? median(values) : null);
const shown = (ms: number | null, digits = 1): string => ms?.toFixed(digits) ?? "";

const { engine } = await openBackend("webgpu");
const peer = await onnx({ provider: "webgpu" }).open();
await openTfjs();
const rows: Row[] = [];
for (const each of cases) {
  if (!isJson) process.stderr.write(`${each.what}, batch ${each.batch}\n`);
  rows.push(await measure(each, engine, peer));
}
const date = new Date().toISOString().slice(0, 10);
if (isJson) console.log(JSON.stringify({ date, device: engine.device, peer: peer.device, rows }));
else {
  console.log(`${engine.device}; ${peer.device}; ${date}, medians of at most ${most} turns\n`);
  const cells = rows.map((row) => [
    row.what,
    row.batch,
    shown(row.ours),
    (row.gflop / (row.ours / 1e3)).toFixed(1),
    shown(row.onnx),
    shown(row.tfjs),
    shown(row.onnxRatio, 2),
    shown(row.tfjsRatio, 2),
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
  console.log(table([head, ...cells]));
}
engine.close();
process.exit(0);
