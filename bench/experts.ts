/**
 * The experts' products of an MoE layer beside the products of a dense MLP on as many rows, launch by launch on one
 * WebGPU adapter, and what routing, dispatch and combination take of the layer. Prints a table; `--json` prints one
 * line, for bench/results. Traps: bench/traps.md.
 */
import type { Executable, LaunchTime } from "../backends/backend.ts";
import { openBackend } from "../backends/choose.ts";
import { median } from "../backends/statistics.ts";
import { table } from "../cli/terminal.ts";
import { mergeConfig, presets } from "../models/index.ts";
import { denseMlp, type Measured, moeLayer } from "./programs.ts";

const rounds = 7;
const config = presets.get("vmoe-s32-every2") ?? {};
const cases = [8, 32].flatMap((experts) => [1, 8, 32].map((batch) => ({ experts, batch })));

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

/** A program that is timed launch by launch, once it is warm. */
class Timed {
  readonly executable: Executable;
  readonly inputs: Measured["inputs"];

  private constructor(executable: Executable, inputs: Measured["inputs"]) {
    this.executable = executable;
    this.inputs = inputs;
  }

  static async of({ graph, weights, inputs }: Measured): Promise<Timed> {
    const timed = new Timed(await engine.compile(graph, weights), inputs);
    await timed.launches();
    return timed;
  }

  async launches(): Promise<readonly LaunchTime[]> {
    const { profile } = this.executable;
    if (!profile) throw new RangeError(`${engine.device} times no launches`);
    return profile(this.inputs);
  }
}

const spent = (times: readonly LaunchTime[]): number => times.reduce((sum, { ms }) => sum + ms, 0);
const ofProducts = (times: readonly LaunchTime[]): number => spent(times.filter(({ flops }) => flops > 0));

async function measure({ experts, batch }: (typeof cases)[number]): Promise<Row> {
  const layer = moeLayer(mergeConfig(config, { encoder: { moe: { num_experts: experts } } }), batch);
  const sparse = await Timed.of(layer);
  const slots = (await sparse.executable.run(layer.inputs)).get("slots");
  const rows = [...(slots?.numbers() ?? [])].filter((slot) => slot >= 0).length;
  const dense = await Timed.of(denseMlp(config, rows));
  const turns: { readonly mine: number; readonly all: number; readonly dense: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    const [times, others] = [await sparse.launches(), await dense.launches()];
    turns.push({ mine: ofProducts(times), all: spent(times), dense: ofProducts(others) });
  }
  sparse.executable.dispose();
  dense.executable.dispose();
  return {
    experts,
    batch,
    rows,
    expertsMs: median(turns.map(({ mine }) => mine)),
    denseMs: median(turns.map((turn) => turn.dense)),
    ofDense: median(turns.map((turn) => turn.dense / turn.mine)),
    routing: median(turns.map(({ mine, all }) => 1 - mine / all)),
  };
}

const rows: Row[] = [];
for (const each of cases) rows.push(await measure(each));
const date = new Date().toISOString().slice(0, 10);
if (process.argv.includes("--json"))
  console.log(JSON.stringify({ date, device: engine.device, rounds, rows }));
else {
  console.log(`${engine.device}, ${date}, MoE layers of V-MoE-S/32, medians of ${rounds} turns\n`);
  const head = ["experts", "batch", "rows", "experts' ms", "dense ms", "of the dense rate", "no product"];
  const cells = rows.map((row) => [
    row.experts,
    row.batch,
    row.rows,
    row.expertsMs.toFixed(2),
    row.denseMs.toFixed(2),
    `${(100 * row.ofDense).toFixed(0)} %`,
    `${(100 * row.routing).toFixed(1)} %`,
  ]);
  console.log(table([head, ...cells]));
}
engine.close();
process.exit(0);
