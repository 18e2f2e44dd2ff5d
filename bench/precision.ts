/**
 * What narrow weights cost or gain in time: one MoE layer alone, its weights stored each way, on WebGPU. Options:
 * bench/measure.ts. Traps: bench/traps.md.
 */
import { openBackend } from "../backends/choose.ts";
import { median } from "../backends/statistics.ts";
import { table } from "../cli/terminal.ts";
import { presets } from "../models/index.ts";
import { narrowWeights, type WeightPrecision } from "../passes/index.ts";
import { type Case, measureAll, tell } from "./measure.ts";
import { moeLayer } from "./programs.ts";
import { inTurns, type Runner, timesAs } from "./turns.ts";

const turns = { rounds: 7, runs: 2 };
const ways: Readonly<Record<string, WeightPrecision>> = {
  float32: {},
  "half-weights": { precision: "half-weights" },
  int8: { quantizeExperts: "int8" },
  int4: { quantizeExperts: "int4" },
};

interface Row {
  readonly what: string;
  readonly ms: number;
  readonly gflops: number;
  /** Of the time with float32 weights. */
  readonly ofSingle: number;
}

async function measure(preset: string, batch: number): Promise<Row[]> {
  const { graph, weights, inputs, flops } = moeLayer(presets.get(preset) ?? {}, batch);
  const programs = await Promise.all(
    Object.entries(ways).map(async ([way, precision]) => {
      const narrow = narrowWeights(graph, precision);
      const program = await engine.compile(narrow.graph, narrow.weightsOf(weights));
      return { way, program };
    }),
  );
  const runners = programs.map(({ way, program }): Runner => ({
    what: `${preset}, batch ${batch}, ${way}`,
    flops,
    run: () => program.run(inputs),
  }));
  for (const runner of runners) await runner.run();
  const timed = await inTurns(runners, turns);
  for (const { program } of programs) program.dispose();
  return timed.map((each) => ({
    what: each.what,
    ms: each.ms,
    gflops: each.gflops,
    ofSingle: median(timesAs(each, timed[0] ?? each)),
  }));
}

function report(layers: readonly Row[][]): void {
  const rows = layers.flat();
  const cells = rows.map(({ what, ms, gflops, ofSingle }) => [
    what,
    ms.toFixed(2),
    gflops.toFixed(1),
    ofSingle.toFixed(2),
  ]);
  tell({
    device: engine.device,
    how: `medians of ${turns.rounds} turns`,
    numbers: { turns, rows },
    text: table([["MoE layer", "ms", "GFLOP/s, at most", "of float32's time"], ...cells]),
  });
}

const { engine } = await openBackend("webgpu");
const cases = (
  [
    ["vmoe-s32-last2-e8", 1],
    ["vmoe-s32-last2-e8", 16],
    ["vmoe-b16-every2-e8", 1],
  ] as const
).map(([preset, batch]): Case<Row[]> => ({
  what: `${preset}, batch ${batch}`,
  measure: () => measure(preset, batch),
}));
const line = (rows: readonly Row[]): string => rows.map(({ ofSingle }) => ofSingle.toFixed(2)).join(", ");
await measureAll(cases, line, report);
engine.close();
process.exit();
