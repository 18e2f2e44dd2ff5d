/**
 * What k and the capacity ratio cost: one live program of V-MoE-S/32 Last-2 with 8 experts under batch prioritized routing,
 * beside the dense ViT-S/32 with the same head, on WebGPU; whole runs by the host's clock, and their launches by the device's.
 * Options: bench/measure.ts. Traps: bench/traps.md.
 */
import type { Executable } from "../backends/backend.ts";
import { openBackend } from "../backends/choose.ts";
import { median } from "../backends/statistics.ts";
import { takeTurns } from "../backends/turns.ts";
import { table } from "../cli/terminal.ts";
import type { Tensor } from "../ir/index.ts";
import { createModel, knobsOf, mergeConfig, presets, probing, randomWeights } from "../models/index.ts";
import { msLeft, tell } from "./measure.ts";
import { pictures } from "./programs.ts";
import { inTurns, type Runner, spanTimer, type Timed, timesAs } from "./turns.ts";

const batch = 8;
const turns = { rounds: 11 };
const settings = [1, 2].flatMap((k) => [0.15, 0.5, 1.05].map((capacity) => ({ k, capacity })));

const { engine } = await openBackend("webgpu");
const sparse = presets.get("vmoe-s32-last2-e8") ?? {};
const head = { num_classes: sparse["num_classes"], representation_size: sparse["representation_size"] };
const image = pictures(batch);

const dense = createModel(mergeConfig(presets.get("vit-s32") ?? {}, head), { batch });
const live = createModel(sparse, { batch, live: true });
const [one, other] = (await Promise.all(
  [dense, live].map(({ graph, parameters }) =>
    engine.compile(graph.select(["logits"]), randomWeights(probing(parameters), 0)),
  ),
)) as [Executable, Executable];
/** A model with its inputs. */
interface Setting {
  readonly what: string;
  readonly executable: Executable;
  readonly inputs: ReadonlyMap<string, Tensor>;
}

const all: readonly Setting[] = [
  { what: "ViT-S/32", executable: one, inputs: new Map([["image", image]]) },
  ...settings.map(({ k, capacity }) => ({
    what: `k = ${k}, C = ${capacity}`,
    executable: other,
    inputs: new Map([["image", image], ...knobsOf(live, { k, capacity, priority: "gate" })]),
  })),
];
for (const { executable, inputs } of all) await executable.run(inputs);
const runners = all.map(({ what, executable, inputs }): Runner => {
  return { what, flops: 0, run: () => executable.run(inputs) };
});
const [first, ...rest] = (await inTurns(runners, { ...turns, limitMs: msLeft() })) as [Timed, ...Timed[]];
const [launches, ...others] = (await launchesInTurns(all)) as [number[], ...number[][]];

/** Milliseconds of all launches, without a break between, turn by turn; none where the device times none. */
async function launchesInTurns(timed: readonly Setting[]): Promise<number[][]> {
  const launched: (() => Promise<number>)[] = [];
  for (const { executable, inputs } of timed) {
    const { length } = (await executable.profile?.(inputs)) ?? [];
    const take = await spanTimer(executable, inputs, [[0, length]]);
    if (!take) return timed.map(() => []);
    launched.push(async () => (await take())[0] ?? Number.NaN);
  }
  const taken = await takeTurns(launched, { ...turns, limitMs: msLeft() });
  return taken.map((each) => each.map(median));
}

const rows = rest.map((each, i) => {
  const own = others[i] ?? [];
  return {
    what: each.what,
    ms: each.ms,
    ofDense: median(timesAs(each, first)),
    launchesMs: median(own),
    launchesOfDense: median(own.map((ms, turn) => ms / (launches[turn] ?? Number.NaN))),
  };
});
const cells = rows.map(({ what, ms, ofDense, launchesMs, launchesOfDense }) => [
  what,
  ms.toFixed(2),
  ofDense.toFixed(3),
  launchesMs.toFixed(2),
  launchesOfDense.toFixed(3),
]);
const base = [first.what, first.ms.toFixed(2), "1", median(launches).toFixed(2), "1"];
tell({
  device: engine.device,
  how: `batch ${batch}, medians of at most ${turns.rounds} turns`,
  numbers: { batch, turns, dense: first.ms, denseLaunches: median(launches), rows },
  text: table([
    ["what", "ms", "of the dense model's time", "launches, ms", "of the dense model's"],
    base,
    ...cells,
  ]),
});
engine.close();
process.exit();
