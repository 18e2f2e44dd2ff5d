/**
 * The experts' products of an MoE layer beside the products of a dense MLP on as many rows, launch by launch on one
 * WebGPU adapter, and what routing, dispatch and combination take of the layer. Prints a table; `--json` prints one
 * line, for bench/results; after `--budget <seconds>` no layer is begun; `--only <text>` leaves out what is named
 * otherwise. Traps: bench/traps.md.
 */
import type { Executable, LaunchTime } from "../backends/backend.ts";
import { openBackend } from "../backends/choose.ts";
import { median } from "../backends/statistics.ts";
import { takeTurns } from "../backends/turns.ts";
import { table } from "../cli/terminal.ts";
import { mergeConfig, presets } from "../models/index.ts";
import { type Case, isJson, measureAll } from "./measure.ts";
import { denseMlp, type Measured, moeLayer } from "./programs.ts";

const rounds = 7;
const config = presets.get("vmoe-s32-every2") ?? {};

/** What is measured of a layer; medians of turns. */
interface Row {
  readonly experts: number;
  readonly batch: number;
  /** Choices that are served: rows of the experts, and of the dense MLP. */
  readonly rows: number;
  /** Milliseconds of the products, and the rate of the experts' as a share of the dense MLP's. */
  readonly expertsMs: number;
  readonly denseMs: number;
  readonly ofDense: number;
  /** Share of the layer that is no product. */
  readonly routing: number;
}

const { engine } = await openBackend("webgpu");

/** A program that is timed launch by launch, run once. */
class Timed {
  readonly executable: Executable;
  readonly inputs: Measured["inputs"];

  private constructor(executable: Executable, inputs: Measured["inputs"]) {
    this.executable = executable;
    this.inputs = inputs;
  }

  static async of({ graph, weights, inputs }: Measured): Promise<Timed> {
    const timed = new Timed(await engine.compile(graph, weights), inputs);
    await timed.spent();
    return timed;
  }

  async spent(): Promise<Spent> {
    const { profile } = this.executable;
    if (!profile) throw new RangeError(`${engine.device} times no launches`);
    const launches = await profile(this.inputs);
    return { products: total(launches.filter(({ flops }) => flops > 0)), all: total(launches) };
  }
}

/** Milliseconds of a run's launches, and of those that are products. */
interface Spent {
  readonly products: number;
  readonly all: number;
}

const total = (launches: readonly LaunchTime[]): number => launches.reduce((sum, { ms }) => sum + ms, 0);

/** Milliseconds of the products, turn by turn. */
const productsOf = (turns: readonly (readonly Spent[])[]): number[] =>
  turns.map((turn) => median(turn.map(({ products }) => products)));

async function measure(experts: number, batch: number): Promise<Row> {
  const layer = moeLayer(mergeConfig(config, { encoder: { moe: { num_experts: experts } } }), batch);
  const sparse = await Timed.of(layer);
  const slots = (await sparse.executable.run(layer.inputs)).get("slots");
  const rows = [...(slots?.numbers() ?? [])].filter((slot) => slot >= 0).length;
  const dense = await Timed.of(denseMlp(config, rows));
  const [mine = [], others = []] = await takeTurns([() => sparse.spent(), () => dense.spent()], { rounds });
  sparse.executable.dispose();
  dense.executable.dispose();
  const [expertsMs, denseMs] = [productsOf(mine), productsOf(others)];
  return {
    experts,
    batch,
    rows,
    expertsMs: median(expertsMs),
    denseMs: median(denseMs),
    ofDense: median(expertsMs.map((ms, round) => (denseMs[round] ?? Number.NaN) / ms)),
    routing: median(mine.map((turn) => median(turn.map(({ products, all }) => 1 - products / all)))),
  };
}

const percent = (share: number, digits = 0): string => `${(100 * share).toFixed(digits)} %`;

function report(rows: readonly Row[]): void {
  const date = new Date().toISOString().slice(0, 10);
  if (isJson) {
    console.log(JSON.stringify({ date, device: engine.device, rounds, rows }));
    return;
  }
  console.log(`${engine.device}, ${date}, MoE layers of V-MoE-S/32, medians of ${rounds} turns\n`);
  const head = ["experts", "batch", "rows", "experts' ms", "dense ms", "of the dense rate", "no product"];
  const cells = rows.map((row) => [
    row.experts,
    row.batch,
    row.rows,
    row.expertsMs.toFixed(3),
    row.denseMs.toFixed(3),
    percent(row.ofDense),
    percent(row.routing, 1),
  ]);
  console.log(table([head, ...cells]));
}

const cases = [8, 32].flatMap((experts) =>
  [1, 8, 32].map((batch): Case<Row> => ({
    what: `E = ${experts}, batch ${batch}`,
    measure: () => measure(experts, batch),
  })),
);
await measureAll(cases, ({ ofDense }) => `${percent(ofDense)} of the dense rate`, report);
engine.close();
process.exit();
