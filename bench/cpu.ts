/**
 * V-MoE-S/32 Last-2 with 8 experts, 8 images of 224 pixels, by ONNX Runtime on the CPU, beside the best dense product of the
 * same engine. Options: bench/measure.ts. Traps: bench/traps.md.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";

import { onnx } from "../backends/onnx/runtime.ts";
import { median } from "../backends/statistics.ts";
import { table } from "../cli/terminal.ts";
import { mergeConfig, presets } from "../models/index.ts";
import { Distance, stayOnFirstCore } from "./cores.ts";
import { tell } from "./measure.ts";
import { denseProduct, imageModel, type Measured } from "./programs.ts";
import { inTurns, type Runner, shares } from "./turns.ts";

const batch = 8;
const sides = [512, 1024, 1536, 2048];
const turns = { rounds: 15, runs: 3 };
/** Cores that need longer, in nanoseconds there and back, share no cache. */
const near = 200;
/** Threads that went on spinning after a run would take the core from those of the next program. */
const quiet = { extra: { session: { force_spinning_stop: "1" } } };

/** The program, loaded by ONNX Runtime and run once. */
async function loaded(what: string, { graph, weights, inputs, flops }: Measured): Promise<Runner> {
  const engine = await onnx({ session: quiet }).open();
  const executable = await engine.compile(graph, weights);
  await executable.run(inputs);
  return { what, flops, run: () => executable.run(inputs) };
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
    const session = { ...quiet, enableProfiling: true, profileFilePrefix: join(folder, "profile") };
    // Only plain nodes keep their scope when the runtime has loaded them.
    const engine = await onnx({ session, form: { inline: true } }).open();
    const executable = await engine.compile(graph, weights);
    for (let run = 0; run < turns.rounds; run++) await executable.run(inputs);
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

const percent = (ratio: number): string => `${(100 * ratio).toFixed(0)} %`;

const distance = await Distance.open();
const onFirstCore = stayOnFirstCore();
const config = mergeConfig(presets.get("vmoe-s32-last2") ?? {}, { encoder: { moe: { num_experts: 8 } } });
const whole = imageModel(config, batch);
const runners = [await loaded(`V-MoE-S/32 Last-2, E = 8, batch ${batch}`, whole)];
for (const side of sides) runners.push(await loaded(`dense product, ${side}`, denseProduct(side)));
const apart: number[] = [];
const rows = await inTurns(runners, { ...turns, before: () => void apart.push(distance.measure()) });
await distance.close();
const [model, ...products] = rows;
const best = products.reduce((a, b) => (a.gflops >= b.gflops ? a : b));
const ratios = shares(model ?? best, best);
const share = await sparseShare(whole);
const processor = `${cpus()[0]?.model.trim()}, ${cpus().length} threads`;
const cells = rows.map((row) => [
  row.what,
  row.ms.toFixed(1),
  row.gflops.toFixed(1),
  percent(median(shares(row, best))),
  percent(row.gflops / best.gflops),
]);
const isNear = (_: number, round: number): boolean => (apart[round] ?? 0) < near;
const places = [
  ["near each other", ratios.filter(isNear)],
  ["far apart", ratios.filter((ratio, round) => !isNear(ratio, round))],
] as const;
const ofBest = (those: readonly number[]): string =>
  `in ${those.length} rounds: ${percent(median(those))} of the best product`;
tell({
  device: `ONNX Runtime on ${processor}`,
  how: `medians of ${turns.rounds} turns of ${turns.runs} runs and more`,
  numbers: {
    processor,
    onFirstCore,
    turns,
    apart,
    ratios,
    ofBest: median(ratios),
    ofBestByMedians: (model?.gflops ?? 0) / best.gflops,
    share,
    rows,
  },
  text: [
    table([["what", "ms", "GFLOP/s", "of the best product beside it", "by medians"], ...cells]),
    ...places.flatMap(([where, those]) => (those.length > 0 ? [`cores ${where} ${ofBest(those)}`] : [])),
    `sparse layers take ${percent(share)} of the model's time`,
  ].join("\n"),
});
process.exit(0);
