/**
 * How long models take on this machine's backends, side by side in one run, beside the backend's own dense product as
 * the ceiling. Prints a table; `--json` prints one line, for bench/results. Traps: bench/traps.md.
 */
import type { Engine, Executable } from "../backends/backend.ts";
import { openBackend } from "../backends/choose.ts";
import { table } from "../cli/terminal.ts";
import type { Tensor } from "../ir/index.ts";
import { createModel, presets, randomWeights } from "../models/index.ts";
import { denseProduct, median, pictures, timesOf } from "./measure.ts";

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
  what: string,
  batch: number,
  flops: number,
  compile: () => Promise<Executable>,
  inputs: ReadonlyMap<string, Tensor>,
): Promise<Row> {
  const started = performance.now();
  const executable = await compile();
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

/** What the backend's matrix kernels can do. */
function ceiling(engine: Engine): Promise<Row> {
  const { graph, weights, inputs, flops } = denseProduct(side);
  const label = `dense product ${side}x${side}x${side}`;
  return measure(label, 1, flops, () => engine.compile(graph, weights), inputs);
}

function modelRow(engine: Engine, name: string, batch: number): Promise<Row> {
  const config = presets.get(name);
  if (!config) throw new RangeError(`no preset ${name}`);
  const { graph, parameters, flops } = createModel(config, { batch });
  const compile = (): Promise<Executable> =>
    engine.compile(graph, randomWeights(parameters, 0), { outputs: ["logits"] });
  return measure(name, batch, batch * flops, compile, new Map([["image", pictures(batch)]]));
}

const { engine } = await openBackend("webgpu");
const rows = [await ceiling(engine)];
for (const name of models) for (const batch of batches) rows.push(await modelRow(engine, name, batch));
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
