/**
 * The experts' products of an MoE layer on one WebGPU adapter, beside the products of a dense MLP on as many rows, and
 * beside dense products that read as many weights, too; and what routing, dispatch and combination take of the layer, beyond
 * what LayerNorm and residual take of a dense one. Options: bench/measure.ts. Traps: bench/traps.md.
 */
import type { Executable, LaunchTime, Span } from "../backends/backend.ts";
import { openBackend } from "../backends/choose.ts";
import { isOfExperts, spansOf } from "../backends/spans.ts";
import { median } from "../backends/statistics.ts";
import { takeTurns } from "../backends/turns.ts";
import { table } from "../cli/terminal.ts";
import { mergeConfig, presets } from "../models/index.ts";
import { type Case, isFull, measureAll, tell } from "./measure.ts";
import { denseMlp, type Measured, moeLayer, wideProducts } from "./programs.ts";
import { spanTimer } from "./turns.ts";

const rounds = 15;

/** What is measured: MoE layers of the paper's models, of images of 224 pixels. */
interface Layer {
  /** A preset, and what it is called. */
  readonly preset: string;
  readonly model: string;
  readonly experts: number;
  readonly batch: number;
}

/** What is measured of a layer; medians of turns. */
interface Row {
  readonly model: string;
  readonly experts: number;
  readonly batch: number;
  /** Choices that are served: rows of the experts, and of the dense MLP. */
  readonly rows: number;
  /** Milliseconds of the products: the experts', those of the dense MLP, and those that read as many weights. */
  readonly expertsMs: number;
  readonly denseMs: number;
  readonly wideMs: number;
  /** The rate of the experts' products as a share of the others'. */
  readonly ofDense: number;
  readonly ofWide: number;
  /** Share of the layer that is no product of experts, LayerNorm and residual included. */
  readonly noProduct: number;
  /** Share of the layer that routing, dispatch and combination take: the same without what a dense layer has, too. */
  readonly routing: number;
}

const { engine } = await openBackend("webgpu");

/** A program of which the device times all launches, and those of products, without a break between. */
interface Timed {
  readonly executable: Executable;
  readonly spent: () => Promise<Spent>;
}

/** `productsOf` says which launches are products, and what adds up parts of them. */
async function timed(
  { graph, weights, inputs }: Measured,
  productsOf: (launches: readonly LaunchTime[]) => Span,
): Promise<Timed> {
  const executable = await engine.compile(graph, weights);
  const launches = (await executable.profile?.(inputs)) ?? [];
  const take = await spanTimer(executable, inputs, [[0, launches.length], productsOf(launches)]);
  if (!take) throw new RangeError(`${engine.device} times no launches`);
  const spent = async (): Promise<Spent> => {
    const [all = Number.NaN, products = Number.NaN] = await take();
    return { all, products };
  };
  return { executable, spent };
}

/** Milliseconds of a run's launches, and of its products. */
interface Spent {
  readonly all: number;
  readonly products: number;
}

/** What comes before and after the products. */
const around = ({ all, products }: Spent): number => all - products;

/** The router's product is none of the experts'. */
const ofExperts = (launches: readonly LaunchTime[]): Span => spansOf(launches, isOfExperts)[0] ?? [0, 0];
const allBut =
  (first: number) =>
  (launches: readonly LaunchTime[]): Span => [first, launches.length];

/** The median of what a turn has, turn by turn. */
const each = (turns: readonly (readonly Spent[])[], of: (spent: Spent) => number): number[] =>
  turns.map((turn) => median(turn.map(of)));

/** How many times as fast the first is as the second, which has `work` times as much to do; side by side, turn by turn. */
const rate = (first: readonly number[], second: readonly number[], work = 1): number =>
  median(first.map((ms, turn) => (second[turn] ?? Number.NaN) / work / ms));

async function measure({ preset, model, experts, batch }: Layer): Promise<Row> {
  const config = presets.get(preset) ?? {};
  const layer = moeLayer(mergeConfig(config, { encoder: { moe: { num_experts: experts } } }), batch);
  const sparse = await timed(layer, ofExperts);
  const slots = (await sparse.executable.run(layer.inputs)).get("slots");
  const rows = [...(slots?.numbers() ?? [])].filter((slot) => slot >= 0).length;
  // LayerNorm is a launch of its own there, the residual a part of the last one.
  const dense = await timed(denseMlp(config, rows), allBut(1));
  const wide = await timed(wideProducts(config, rows, experts), allBut(0));
  const all = [sparse, dense, wide];
  const turns = await takeTurns(
    all.map(({ spent }) => spent),
    { rounds },
  );
  for (const { executable } of all) executable.dispose();
  const [own = [], besides = [], others = []] = turns;
  const expertsMs = each(own, ({ products }) => products);
  const denseMs = each(besides, ({ products }) => products);
  const wideMs = each(others, ({ products }) => products);
  const aroundDense = median(each(besides, around));
  return {
    model,
    experts,
    batch,
    rows,
    expertsMs: median(expertsMs),
    denseMs: median(denseMs),
    wideMs: median(wideMs),
    ofDense: rate(expertsMs, denseMs),
    // Each matrix is multiplied by as many rows, whole ones.
    ofWide: rate(expertsMs, wideMs, (Math.ceil(rows / experts) * experts) / rows),
    noProduct: median(each(own, (spent) => around(spent) / spent.all)),
    routing: median(each(own, (spent) => (around(spent) - aroundDense) / spent.all)),
  };
}

const percent = (share: number, digits = 0): string => `${(100 * share).toFixed(digits)} %`;

function report(rows: readonly Row[]): void {
  const head = [
    "model",
    "experts",
    "batch",
    "rows",
    "ms",
    "dense ms",
    "wide ms",
    "of dense",
    "of wide",
    "no product",
    "routing",
  ];
  const cells = rows.map((row) => [
    row.model,
    row.experts,
    row.batch,
    row.rows,
    row.expertsMs.toFixed(3),
    row.denseMs.toFixed(3),
    row.wideMs.toFixed(3),
    percent(row.ofDense),
    percent(row.ofWide),
    percent(row.noProduct, 1),
    percent(row.routing, 1),
  ]);
  tell({
    device: engine.device,
    how: `MoE layers, medians of ${rounds} turns`,
    numbers: { rounds, rows },
    text: table([head, ...cells]),
  });
}

const layersOf = (model: string, preset: string, experts: number, batches: readonly number[]): Layer[] =>
  batches.map((batch) => ({ preset, model, experts, batch }));

const layers = [
  ...layersOf("S/32", "vmoe-s32-every2", 8, [1, 8, 32]),
  ...layersOf("S/32", "vmoe-s32-every2", 32, [1, 8, 32]),
  ...layersOf("B/16", "vmoe-b16-every2", 8, isFull ? [1, 8, 32] : [1, 8]),
  ...layersOf("B/16", "vmoe-b16-every2", 32, isFull ? [1, 8, 32] : [1]),
];
const cases = layers.map((layer): Case<Row> => ({
  what: `${layer.model}, E = ${layer.experts}, batch ${layer.batch}`,
  measure: () => measure(layer),
}));
await measureAll(cases, ({ ofDense }) => `${percent(ofDense)} of the dense rate`, report);
engine.close();
process.exit();
