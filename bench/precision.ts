/**
 * What narrow weights cost or gain in time: one MoE layer alone, its weights stored each way, on WebGPU. Prints a table;
 * `--json` prints one line, for bench/results. Traps: bench/traps.md.
 */
import { openBackend } from "../backends/choose.ts";
import { median } from "../backends/statistics.ts";
import { table } from "../cli/terminal.ts";
import { presets } from "../models/index.ts";
import { narrowWeights, type WeightPrecision } from "../passes/index.ts";
import { moeLayer } from "./programs.ts";
import { inTurns, type Runner } from "./turns.ts";

const turns = { rounds: 7, runs: 2 };
const ways: Readonly<Record<string, WeightPrecision>> = {
  float32: {},
  "half-weights": { precision: "half-weights" },
  int8: { quantizeExperts: "int8" },
  int4: { quantizeExperts: "int4" },
};

const { engine } = await openBackend("webgpu");
const rows: {
  readonly what: string;
  readonly ms: number;
  readonly gflops: number;
  readonly ofSingle: number;
}[] = [];
for (const [preset, batch] of [
  ["vmoe-s32-last2-e8", 1],
  ["vmoe-s32-last2-e8", 16],
  ["vmoe-b16-every2-e8", 1],
] as const) {
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
  for (const { what, ms, gflops, turns: times } of timed) {
    // Turn by turn, so that slow phases of the machine fall on both.
    const ofSingle = median(times.map((time, round) => time / (timed[0]?.turns[round] ?? Number.NaN)));
    rows.push({ what, ms, gflops, ofSingle });
  }
  for (const { program } of programs) program.dispose();
}
const date = new Date().toISOString().slice(0, 10);
if (process.argv.includes("--json")) {
  console.log(JSON.stringify({ date, device: engine.device, turns, rows }));
} else {
  console.log(`${engine.device}, ${date}, medians of ${turns.rounds} turns\n`);
  const cells = rows.map(({ what, ms, gflops, ofSingle }) => [
    what,
    ms.toFixed(1),
    gflops.toFixed(1),
    ofSingle.toFixed(2),
  ]);
  console.log(table([["MoE layer", "ms", "GFLOP/s, at most", "of float32's time"], ...cells]));
}
engine.close();
process.exit(0);
