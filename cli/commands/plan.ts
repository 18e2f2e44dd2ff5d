/** `moec plan`: capacities of the sparse blocks, what they cost, and what a trace says they drop. */
import { Command, Option } from "commander";

import { checkWritable, fileSource, writeFileAtomically } from "../../files/disk.ts";
import { CompileError } from "../../ir/index.ts";
import {
  capacitiesOf,
  checkTraceable,
  createModel,
  demandOf,
  type Json,
  type LayerPlan,
  type Model,
  planCapacities,
  type PlanGoal,
  type Priority,
  readTrace,
  type RoutingTrace,
  shareAt,
} from "../../models/index.ts";
import { readSafetensors } from "../../models/weights/safetensors.ts";
import { drawChart } from "../chart.ts";
import { defaultSize, readConfig } from "../model.ts";
import {
  configHelp,
  examples,
  groupOption,
  jsonOption,
  parseCount,
  pluginOption,
  setOption,
  sizeOption,
} from "../options.ts";
import { writePlan } from "../plan.ts";
import { loadRouters } from "../plugins.ts";
import { bold, mebibytes, table } from "../terminal.ts";

interface PlanOptions {
  readonly set: readonly string[];
  readonly plugin: readonly string[];
  readonly batch?: number;
  readonly size?: readonly [number, number];
  readonly groupSize?: number;
  readonly trace?: string;
  readonly dropRate?: number;
  readonly gflops?: number;
  readonly tile?: number;
  readonly priority?: Priority;
  readonly output?: string;
  readonly svg?: string;
  readonly json?: boolean;
}

/** Capacity factors at which the table of a trace is shown. */
const shownFactors = [0.15, 0.25, 0.5, 0.75, 1, 1.05, 1.25, 1.5, 2];
const priorities = ["token", "gate"] as const;

/** What a block loses for each number of slots, by who is served first. */
interface Curve {
  readonly block: string;
  /** Slots of a capacity factor of 1. */
  readonly evenShare: number;
  readonly dropped: readonly number[];
  readonly lostWeight: Readonly<Record<Priority, readonly number[]>>;
}

async function plan(name: string, options: PlanOptions): Promise<void> {
  const { output, svg, json } = options;
  if (svg !== undefined && options.trace === undefined)
    throw new CompileError("U1", "--svg", "shows what a trace says; got no --trace");
  for (const file of [output, svg]) if (file !== undefined) await checkWritable(file);
  const config = await readConfig(name, options.set);
  const { model, batch } = await modelOf(config, options);
  checkTraceable(model, name);
  const trace = options.trace === undefined ? undefined : await openTrace(options.trace);
  const priority = options.priority ?? configured(config);
  const layers = planCapacities(model, batch, goalOf(options, priority), trace);
  const curves = trace ? curvesOf(model, trace) : [];
  if (output !== undefined) await writePlan(output, capacitiesOf(layers));
  if (svg !== undefined)
    await writeFileAtomically(svg, (sink) => sink(new TextEncoder().encode(chart(name, curves))));
  console.log(
    json
      ? JSON.stringify({ model: name, batch, priority, layers, curves })
      : report(layers, curves, priority),
  );
}

async function modelOf(
  config: Json,
  { plugin, batch, size, groupSize }: PlanOptions,
): Promise<{ readonly model: Model; readonly batch: number }> {
  const chosen = { imageSize: size ?? defaultSize, routers: await loadRouters(plugin) };
  const images = batch ?? createModel(config, chosen).fullBatch;
  const model = createModel(config, {
    ...chosen,
    batch: images,
    ...(groupSize !== undefined && { groupSize }),
  });
  return { model, batch: images };
}

const goalOf = ({ dropRate, gflops, tile }: PlanOptions, priority: Priority): PlanGoal => ({
  priority,
  ...(dropRate !== undefined && { dropRate }),
  ...(gflops !== undefined && { gflops }),
  ...(tile !== undefined && { tile }),
});

/** Who a configuration serves first. */
function configured(config: Json): Priority {
  const at = ["encoder", "moe", "router", "dispatcher", "batch_priority"].reduce<unknown>(
    (inner, key) => (inner as Json | undefined)?.[key],
    config,
  );
  return at === true ? "gate" : "token";
}

async function openTrace(path: string): Promise<RoutingTrace> {
  const file = await readSafetensors(await fileSource(path));
  try {
    return await readTrace(file, path);
  } finally {
    await file.close();
  }
}

function curvesOf(model: Model, trace: RoutingTrace): Curve[] {
  const k = model.router?.choices ?? 1;
  return model.blocks.flatMap(({ name, groupSize, experts }) => {
    const layer = trace.get(name);
    if (!layer) return [];
    const [token, gate] = priorities.map((priority) => demandOf(name, layer, { groupSize, k, priority }));
    if (!token || !gate) return [];
    return [
      {
        block: name,
        evenShare: (groupSize * k) / experts,
        dropped: [...token.dropped],
        lostWeight: { token: [...token.lostWeight], gate: [...gate.lostWeight] },
      },
    ];
  });
}

const percent = (share: number | null): string => (share === null ? "-" : `${(100 * share).toFixed(2)} %`);
/** The plan for people: a row a block, and below what other capacities would lose. */
function report(layers: readonly LayerPlan[], curves: readonly Curve[], priority: Priority): string {
  const head = [
    "sparse block",
    "experts",
    "groups",
    "tokens a group",
    "choices",
    "configured",
    "capacity",
    "factor",
    "buffers",
    "GFLOP an image",
    "used",
    "dropped",
    "weight lost",
    "tokens unserved",
  ];
  const rows = layers.map((each) => [
    each.block,
    each.experts,
    each.groups,
    each.groupSize,
    each.choices,
    each.configured,
    each.capacity,
    each.factor.toFixed(3),
    mebibytes(each.bufferBytes),
    each.gflops.toFixed(3),
    each.usedGflops?.toFixed(3) ?? "-",
    percent(each.dropRate),
    percent(each.lostWeight),
    percent(each.unserved),
  ]);
  const total = layers.reduce((sum, { gflops }) => sum + gflops, 0);
  const order = priority === "gate" ? "tokens of largest weight first" : "tokens in their order";
  const parts = [
    table([head, ...rows]),
    `the experts take ${total.toFixed(3)} GFLOP an image, every slot counted; served: ${order}`,
  ];
  for (const { block, evenShare, dropped, lostWeight } of curves) {
    const at = (shares: readonly number[], slots: number): string =>
      percent(shareAt(Float64Array.from(shares), slots));
    const lines = shownFactors.map((factor) => {
      const slots = Math.max(1, Math.ceil(evenShare * factor));
      return [
        factor.toFixed(2),
        slots,
        at(dropped, slots),
        at(lostWeight.token, slots),
        at(lostWeight.gate, slots),
      ];
    });
    const columns = ["factor", "slots", "dropped", "weight lost by position", "by weight"];
    parts.push(`\n${bold(block)}\n${table([columns, ...lines])}`);
  }
  return parts.join("\n");
}

const chart = (name: string, curves: readonly Curve[]): string =>
  drawChart({
    title: `${name}: what is lost by capacity`,
    x: "capacity factor",
    y: "share",
    curves: curves.flatMap(({ block, evenShare, dropped, lostWeight }) =>
      [
        { name: `${block}: choices dropped`, shares: dropped },
        { name: `${block}: weight lost, by position`, shares: lostWeight.token },
        { name: `${block}: weight lost, by weight`, shares: lostWeight.gate },
      ].map(({ name: curve, shares }) => ({
        name: curve,
        points: shares.map((share, slots) => [slots / evenShare, share] as const),
      })),
    ),
  });

const share = (text: string): number => parseNumber("--drop-rate", text);

function parseNumber(option: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value)) return value;
  throw new CompileError("U1", option, `must be a number; got ${text}`);
}

/** `moec plan`. */
export const planCommand: Command = new Command("plan")
  .description("choose the capacities of the sparse blocks, and say what they cost and drop")
  .argument("<model>", configHelp)
  .option("--trace <file>", "what tokens ask for, recorded by moec trace")
  .addOption(
    new Option(
      "--drop-rate <share>",
      "the fewest slots that drop at most this share of the choices",
    ).argParser(share),
  )
  .addOption(
    new Option(
      "--gflops <n>",
      "the slots that lose least within so many 1e9 operations of experts an image",
    ).argParser((text: string) => parseNumber("--gflops", text)),
  )
  .addOption(
    new Option("--tile <rows>", "fill capacities up to a multiple of this").argParser(
      parseCount("--tile", 1),
    ),
  )
  .addOption(
    new Option("--priority <who>", "who is served first, in place of the model's own").choices([
      ...priorities,
    ]),
  )
  .option("-o, --output <plan.json>", "the file to write, for --plan of other commands")
  .option("--svg <out.svg>", "a picture of what is lost by capacity")
  .addOption(setOption())
  .addOption(pluginOption())
  .addOption(
    new Option("--batch <n>", "images at a time; by default as many as fill the groups").argParser(
      parseCount("--batch", 1),
    ),
  )
  .addOption(sizeOption())
  .addOption(groupOption())
  .addOption(jsonOption())
  .addHelpText(
    "after",
    examples(
      "plan vmoe-b16-every2 --tile 64",
      "plan vmoe-s32-last2-e8 --trace trace.safetensors --drop-rate 0.01 -o plan.json",
      "plan vmoe-s32-last2-e8 --trace trace.safetensors --gflops 0.4 --svg lost.svg",
    ),
  )
  .action((name: string, options: PlanOptions) => plan(name, options));
