/** `moec inspect`: what a model is and costs, and its program as text. Reads no weights. */
import { Command, Option } from "commander";

import { anyGpu, compile } from "../../backends/webgpu/index.ts";
import { print } from "../../ir/index.ts";
import { createModel, type Model, parameterCount, tokensOf } from "../../models/index.ts";
import { defaultSize, readConfig } from "../model.ts";
import { isOnnx, openOnnx, refuseOverrides } from "../onnxModel.ts";
import {
  examples,
  groupOption,
  jsonOption,
  modelHelp,
  parseCount,
  planOption,
  pluginOption,
  setOption,
  sizeOption,
} from "../options.ts";
import { readPlan } from "../plan.ts";
import { loadRouters } from "../plugins.ts";
import { mebibytes, table } from "../terminal.ts";

interface InspectOptions {
  readonly set: readonly string[];
  readonly plugin: readonly string[];
  readonly batch?: number;
  readonly size?: readonly [number, number];
  readonly groupSize?: number;
  readonly plan?: string;
  readonly json?: boolean;
  readonly text?: boolean;
}

const bytesOfFloat = 4;

/** What `--json` prints. */
interface Summary {
  readonly model: string;
  readonly parameters: number;
  /** Operations of one image, in 1e9. */
  readonly gflops: number;
  /** Bytes: of the weights as float32; of activations as planned for a GPU, and the most of them needed at once. */
  readonly memory: { readonly weights: number; readonly activations: number; readonly least: number };
  readonly batch: number;
  readonly imageSize: readonly [number, number];
  readonly tokens: number;
  readonly nodes: number;
  readonly sparse: readonly Readonly<
    Record<"block" | "experts" | "groups" | "groupSize" | "capacity", number>
  >[];
  readonly router: Readonly<Record<string, string>> | null;
}

function summaryOf(model: Model, batch: number, imageSize: readonly [number, number]): Summary {
  const { graph, grid, blocks, router, flops } = model;
  const parameters = parameterCount(model);
  const { planned, least } = compile(graph, anyGpu, { outputs: ["logits"] }).memory;
  return {
    model: graph.name,
    parameters,
    gflops: flops / 1e9,
    memory: { weights: bytesOfFloat * parameters, activations: planned, least },
    batch,
    imageSize,
    tokens: tokensOf(grid),
    ...model.facts,
    nodes: graph.nodes.length,
    sparse: blocks.map(({ index, experts, groups, groupSize, capacity }) => ({
      block: index,
      experts,
      groups,
      groupSize,
      capacity,
    })),
    router: router ? { name: router.name, ...router.contract } : null,
  };
}

async function inspect(name: string, options: InspectOptions): Promise<void> {
  const { model, batch, size } = await (isOnnx(name) ? inFile(name, options) : described(name, options));
  if (options.text) {
    console.log(print(model.graph).trimEnd());
    return;
  }
  const summary = summaryOf(model, batch, size);
  console.log(options.json ? JSON.stringify(summary) : describe(model, summary));
}

/** A model, and what it is for. */
interface Inspected {
  readonly model: Model;
  readonly batch: number;
  readonly size: readonly [number, number];
}

async function described(
  name: string,
  { set, size, groupSize, plan, ...options }: InspectOptions,
): Promise<Inspected> {
  const config = await readConfig(name, set);
  const capacities = await readPlan(plan);
  const chosen = { imageSize: size ?? defaultSize, routers: await loadRouters(options.plugin) };
  const batch = options.batch ?? createModel(config, chosen).fullBatch;
  const model = createModel(config, {
    ...chosen,
    batch,
    ...(groupSize !== undefined && { groupSize }),
    ...(capacities && { capacities }),
  });
  return { model, batch, size: chosen.imageSize };
}

async function inFile(
  path: string,
  { set, size, groupSize, plan, ...options }: InspectOptions,
): Promise<Inspected> {
  refuseOverrides(path, { "--set": set, "--size": size, "--group-size": groupSize, "--plan": plan });
  const { model, weights, imageSize } = await openOnnx(
    path,
    options.batch,
    await loadRouters(options.plugin),
  );
  await weights.close();
  return { model, batch: model.graph.inputs[0]?.type.shape[0] ?? 1, size: imageSize };
}

/** The summary for people. */
function describe(
  { facts }: Model,
  { parameters, gflops, memory, batch, imageSize, tokens, router, sparse }: Summary,
): string {
  const lines: [string, string][] = [
    ["parameters", `${(parameters / 1e6).toFixed(1)} M (${mebibytes(memory.weights)} as float32)`],
    ["operations", `${gflops.toFixed(2)} GFLOP an image`],
    [
      "activations",
      `${mebibytes(memory.activations)} for ${batch} image${batch === 1 ? "" : "s"}, at most ${mebibytes(memory.least)} at once`,
    ],
    ["image", `${imageSize.join(" x ")} px, ${tokens} tokens`],
    [
      "sizes",
      Object.entries(facts)
        .map(([fact, value]) => `${fact} ${value}`)
        .join(", "),
    ],
    ...Object.entries(router ?? {}).map(([key, value]): [string, string] => [
      key === "name" ? "router" : `  ${key}`,
      value,
    ]),
  ];
  const text = lines.map(([label, value]) => `${label.padEnd(12)} ${value}`).join("\n");
  if (sparse.length === 0) return text;
  const rows = sparse.map((each) => [each.block, each.experts, each.groups, each.groupSize, each.capacity]);
  return `${text}\n\n${table([["sparse block", "experts", "groups", "tokens a group", "capacity"], ...rows])}`;
}

/** `moec inspect`. */
export const inspectCommand: Command = new Command("inspect")
  .description("show what a model is and costs; reads no weights")
  .argument("<model>", modelHelp)
  .addOption(setOption())
  .addOption(pluginOption())
  .addOption(
    new Option("--batch <n>", "images at a time; by default as many as fill the groups").argParser(
      parseCount("--batch", 1),
    ),
  )
  .addOption(sizeOption())
  .addOption(groupOption())
  .addOption(planOption())
  .addOption(jsonOption())
  .option("--text", "print the program")
  .addHelpText(
    "after",
    examples("inspect vmoe-15b", "inspect vmoe-s32-last2 --batch 8 --json", "inspect config.json --text"),
  )
  .action((name: string, options: InspectOptions) => inspect(name, options));
