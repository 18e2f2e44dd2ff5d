/**
 * V-MoE-S/32 Last-2 with 8 experts, 8 images of 224 pixels, by ONNX Runtime on the CPU, beside the best dense product
 * of the same engine. Prints a table; `--json` prints one line, for bench/results.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";

import { onnx } from "../backends/onnx/runtime.ts";
import { table } from "../cli/terminal.ts";
import { createModel, mergeConfig, presets, randomWeights } from "../models/index.ts";
import { denseProduct, type Measured, median, pictures, timesOf } from "./measure.ts";

const batch = 8;
/** Rounds in which each program has its turn, and runs of a turn. */
const rounds = 7;
const runs = 3;
const sides = [512, 1024, 2048];

function model(): Measured {
  const config = mergeConfig(presets.get("vmoe-s32-last2") ?? {}, { encoder: { moe: { num_experts: 8 } } });
  const { graph, parameters, flops } = createModel(config, { batch });
  return {
    graph: graph.select(["logits"]),
    weights: randomWeights(parameters, 0),
    inputs: new Map([["image", pictures(batch)]]),
    flops: batch * flops,
  };
}

interface Row {
  readonly what: string;
  readonly ms: number;
  readonly gflops: number;
}

/** The programs in turns, so that what the machine does beside them falls on all alike. */
async function inTurns(programs: ReadonlyMap<string, Measured>): Promise<Row[]> {
  const engine = await onnx().open();
  const all = await Promise.all(
    [...programs].map(async ([what, { graph, weights, inputs, flops }]) => {
      const executable = await engine.compile(graph, weights);
      await executable.run(inputs);
      return { what, flops, times: [] as number[], run: () => executable.run(inputs) };
    }),
  );
  for (let round = 0; round < rounds; round++) {
    for (const each of all) each.times.push(...(await timesOf(runs, each.run)));
  }
  return all.map(({ what, flops, times }) => ({
    what,
    ms: median(times),
    gflops: flops / median(times) / 1e6,
  }));
}

/** One kernel in ONNX Runtime's own profile. */
interface Kernel {
  readonly cat: string;
  readonly name: string;
  readonly dur: number;
}

/** The share of the kernels' time that is spent in sparse blocks, from routing to combination. */
async function sparseShare({ graph, weights, inputs }: Measured): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "moec-profile-"));
  try {
    const session = { enableProfiling: true, profileFilePrefix: join(folder, "profile") };
    // Only plain nodes keep their scope when the runtime has loaded them.
    const engine = await onnx({ session, form: { inline: true } }).open();
    const executable = await engine.compile(graph, weights);
    await timesOf(rounds, () => executable.run(inputs));
    executable.dispose();
    const [file = ""] = await readdir(folder);
    const events = JSON.parse(await readFile(join(folder, file), "utf8")) as Kernel[];
    const kernels = events.filter(({ cat, name }) => cat === "Node" && name.endsWith("_kernel_time"));
    const total = (some: readonly Kernel[]): number => some.reduce((sum, { dur }) => sum + dur, 0);
    return total(kernels.filter(({ name }) => name.includes("/Moe/"))) / total(kernels);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const name = `V-MoE-S/32 Last-2, E = 8, batch ${batch}`;
const whole = model();
const rows = await inTurns(
  new Map([[name, whole], ...sides.map((side) => [`dense product, ${side}`, denseProduct(side)] as const)]),
);
const best = Math.max(...rows.slice(1).map(({ gflops }) => gflops));
const share = await sparseShare(whole);
const date = new Date().toISOString().slice(0, 10);
const processor = `${cpus()[0]?.model.trim()}, ${cpus().length} threads`;
if (process.argv.includes("--json")) console.log(JSON.stringify({ date, processor, rows, best, share }));
else {
  console.log(`ONNX Runtime on ${processor}, ${date}, medians of ${rounds * runs} runs in turns\n`);
  const cells = rows.map(({ what, ms, gflops }) => [
    what,
    ms.toFixed(1),
    gflops.toFixed(1),
    `${((100 * gflops) / best).toFixed(0)} %`,
  ]);
  console.log(table([["what", "ms", "GFLOP/s", "of the best product"], ...cells]));
  console.log(`\nsparse layers take ${(100 * share).toFixed(0)} % of the model's time`);
}
process.exit(0);
