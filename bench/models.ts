/**
 * How long models take on this machine's backends, side by side in one run, beside the backend's own dense product as the
 * ceiling. Options: bench/measure.ts. Traps: bench/traps.md.
 */
import type { Engine } from "../backends/backend.ts";
import { openBackend } from "../backends/choose.ts";
import { table } from "../cli/terminal.ts";
import { presets } from "../models/index.ts";
import { type Case, measureAll, tell } from "./measure.ts";
import { denseProduct, imageModel, type Measured } from "./programs.ts";
import { inTurns } from "./turns.ts";

const models = ["vit-s32", "vmoe-s32-last2-e8", "vmoe-s32-every2"];
const batches = [1, 8];
const rounds = 7;
const side = 1024;

interface Row {
  readonly what: string;
  readonly batch: number;
  readonly compileMs: number;
  readonly firstMs: number;
  /** Median of the turns of later runs. */
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
  const [warm] = await inTurns([{ what, flops, run: () => executable.run(inputs) }], { rounds });
  const { launches } = executable.report;
  executable.dispose();
  const { ms: warmMs = 0, gflops = 0 } = warm ?? {};
  const [compileMs, firstMs] = [compiled - started, first - compiled];
  return { what, batch, compileMs, firstMs, warmMs, gflops, launches: launches ?? null };
}

const caseOf = (what: string, batch: number, program: () => Measured): Case<Row> => ({
  what: `${what}, batch ${batch}`,
  measure: () => measure(engine, what, batch, program()),
});

function report(rows: readonly Row[]): void {
  const cells = rows.map((row) => [
    row.what,
    row.batch,
    row.compileMs.toFixed(0),
    row.firstMs.toFixed(0),
    row.warmMs.toFixed(2),
    (row.warmMs / row.batch).toFixed(2),
    row.gflops.toFixed(2),
    row.launches ?? "",
  ]);
  const head = ["what", "batch", "compile ms", "first ms", "warm ms", "ms an image", "GFLOP/s", "launches"];
  tell({
    device: engine.device,
    how: `medians of ${rounds} turns`,
    numbers: { rounds, rows },
    text: table([head, ...cells]),
  });
}

const { engine } = await openBackend("webgpu");
const cases = [
  caseOf(`dense product ${side}x${side}x${side}`, 1, () => denseProduct(side)),
  ...models.flatMap((name) =>
    batches.map((batch) => caseOf(name, batch, () => imageModel(presets.get(name) ?? {}, batch))),
  ),
];
await measureAll(cases, ({ warmMs }) => `${warmMs.toFixed(2)} ms`, report);
engine.close();
process.exit();
