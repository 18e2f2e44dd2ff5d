/**
 * What k and the capacity ratio cost: one live program of V-MoE-S/32 Last-2 with 8 experts under batch prioritized routing,
 * beside the dense ViT-S/32 with the same head, on WebGPU. Options: bench/measure.ts. Traps: bench/traps.md.
 */
import { openBackend } from "../backends/choose.ts";
import { median } from "../backends/statistics.ts";
import { table } from "../cli/terminal.ts";
import { createModel, knobsOf, mergeConfig, presets, probing, randomWeights } from "../models/index.ts";
import { msLeft, tell } from "./measure.ts";
import { pictures } from "./programs.ts";
import { inTurns, type Runner, timesAs } from "./turns.ts";

const batch = 8;
const turns = { rounds: 11 };
const settings = [1, 2].flatMap((k) => [0.15, 0.5, 1.05].map((capacity) => ({ k, capacity })));

const { engine } = await openBackend("webgpu");
const sparse = presets.get("vmoe-s32-last2-e8") ?? {};
const head = { num_classes: sparse["num_classes"], representation_size: sparse["representation_size"] };
const image = pictures(batch);

const dense = createModel(mergeConfig(presets.get("vit-s32") ?? {}, head), { batch });
const live = createModel(sparse, { batch, live: true });
const [one, other] = await Promise.all(
  [dense, live].map(({ graph, parameters }) =>
    engine.compile(graph.select(["logits"]), randomWeights(probing(parameters), 0)),
  ),
);
const runners: Runner[] = [
  { what: "ViT-S/32", flops: batch * dense.flops, run: async () => one?.run(new Map([["image", image]])) },
  ...settings.map(({ k, capacity }): Runner => {
    const knobs = knobsOf(live, { k, capacity, priority: "gate" });
    const inputs = new Map([["image", image], ...knobs]);
    return { what: `k = ${k}, C = ${capacity}`, flops: 0, run: async () => other?.run(inputs) };
  }),
];
for (const runner of runners) await runner.run();
const [first, ...rest] = await inTurns(runners, { ...turns, limitMs: msLeft() });
const rows = rest.map((each) => ({
  what: each.what,
  ms: each.ms,
  ofDense: median(timesAs(each, first ?? each)),
}));
const cells = rows.map(({ what, ms, ofDense }) => [what, ms.toFixed(2), ofDense.toFixed(3)]);
const base = [first?.what ?? "", first?.ms.toFixed(2) ?? "", "1"];
tell({
  device: engine.device,
  how: `batch ${batch}, medians of at most ${turns.rounds} turns`,
  numbers: { batch, turns, dense: first?.ms, rows },
  text: table([["what", "ms", "of the dense model's time"], base, ...cells]),
});
engine.close();
process.exit();
