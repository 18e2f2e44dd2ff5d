/**
 * How long models take on this machine's backends, side by side in one run, beside the backend's own dense product as
 * the ceiling. Prints a table; `--json` prints one line, for bench/results. Traps: bench/traps.md.
 */
import type { Engine } from "../backends/backend.ts";
import { openBackend } from "../backends/choose.ts";
import { median } from "../backends/statistics.ts";
import { table } from "../cli/terminal.ts";
import { presets } from "../models/index.ts";
import { denseProduct, imageModel, type Measured } from "./programs.ts";
import { timesOf } from "./turns.ts";

const models = ["vit-s32", "vmoe-s32-last2-e8", "vmoe-s32-every2"];
const batches = [1, 8];
const repeats = 7;
const side = 1024;

interface Row {
  readonly what: string;
  readonly batch: number;
  readonly compileMs: number;
  readonly firstMs: number;
  /** Median of the later runs. */
  readonly warmMs: number;
  readonly gflops: number;
  readonly launches: number | null;
}

async function measure(
  engine: Engine,
  what: string,
  batch: number,
  { graph, weights, inputs, flops }: Measured,
): Promise<Row> {
  const started = performance.now();
  const executable = await engine.compile(graph, weights);
  const compiled = performance.now();
  await executable.run(inputs);
  const first = performance.now();
  const times = await timesOf(repeats, () => executable.run(inputs));
  const { launches } = executable.report;
  executable.dispose();
  const warmMs = median(times);
  const row = { what, batch, compileMs: compiled - started, firstMs: first - compiled, warmMs };
  return { ...row, gflops: flops / warmMs / 1e6, launches: launches ?? null };
}

const { engine } = await openBackend("webgpu");
const rows = [await measure(engine, `dense product ${side}x${side}x${side}`, 1, denseProduct(side))];
for (const name of models) {
  for (const batch of batches) {
    rows.push(await measure(engine, name, batch, imageModel(presets.get(name) ?? {}, batch)));
  }
}
const date = new Date().toISOString().slice(0, 10);
if (process.argv.includes("--json"))
  console.log(JSON.stringify({ date, device: engine.device, repeats, rows }));
else {
  console.log(`${engine.device}, ${date}, median of ${repeats} runs\n`);
  const cells = rows.map((row) => [
    row.what,
    row.batch,
    row.compileMs.toFixed(0),
    row.firstMs.toFixed(0),
    row.warmMs.toFixed(1),
    (row.warmMs / row.batch).toFixed(1),
    row.gflops.toFixed(2),
    row.launches ?? "",
  ]);
  console.log(
    table([
      ["what", "batch", "compile ms", "first ms", "warm ms", "ms an image", "GFLOP/s", "launches"],
      ...cells,
    ]),
  );
}
engine.close();
process.exit(0);
