/** `moec inspect`: what a model is and costs, and its program as text. Reads no weights. */
import { print } from "../../ir/index.ts";
import { createModel, flopsPerImage, type Model, parameterCount } from "../../models/index.ts";
import { peakBytes } from "../../passes/index.ts";
import { readConfig } from "../model.ts";
import { table } from "../terminal.ts";

export interface InspectOptions {
  readonly set: readonly string[];
  readonly batch?: number;
  readonly size: readonly [number, number];
  readonly groupSize?: number;
  readonly json?: boolean;
  readonly text?: boolean;
}

const bytesOfFloat = 4;

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** What `--json` prints. */
function summary(model: Model, batch: number, size: readonly [number, number]): Record<string, unknown> {
  const { config, blocks, tokens, graph, router } = model;
  const { encoder } = config;
  const parameters = parameterCount(model);
  return {
    model: config.name,
    parameters,
    gflops: flopsPerImage(model) / 1e9,
    memory: { weights: bytesOfFloat * parameters, activations: peakBytes(graph.select(["logits"])) },
    batch,
    imageSize: size,
    tokens,
    hiddenSize: config.hidden_size,
    mlpDim: encoder.mlp_dim,
    heads: encoder.num_heads,
    blocks: encoder.num_layers,
    classes: config.num_classes,
    sparse: blocks.map(({ index, experts, groups, groupSize, capacity }) => ({
      block: index,
      experts,
      groups,
      groupSize,
      capacity,
    })),
    router: router && { name: router.name, ...router.contract },
    nodes: graph.nodes.length,
  };
}

/** More images than this are not taken just to fill a group. */
const mostImages = 1024;

/** The fewest images that fill whole groups of the configuration's size. */
function wholeGroups({ config, tokens }: Model): number {
  const group = config.encoder.moe?.group_size ?? tokens;
  let images = 1;
  while (images <= mostImages && (images * tokens) % group !== 0) images++;
  return images > mostImages ? 1 : images;
}

export async function inspect(name: string, options: InspectOptions): Promise<void> {
  const { set, size, groupSize } = options;
  const config = await readConfig(name, set);
  const shape = { imageSize: size, ...(groupSize && { groupSize }) };
  const batch = options.batch ?? wholeGroups(createModel(config, { imageSize: size }));
  const model = createModel(config, { batch, ...shape });
  if (options.text) {
    console.log(print(model.graph).trimEnd());
    return;
  }
  const facts = summary(model, batch, size);
  if (options.json) {
    console.log(JSON.stringify(facts));
    return;
  }
  const { weights, activations } = facts["memory"] as Record<"weights" | "activations", number>;
  const { blocks, tokens, router } = model;
  const { encoder, hidden_size: width, num_classes: classes } = model.config;
  const lines: [string, string][] = [
    ["parameters", `${(parameterCount(model) / 1e6).toFixed(1)} M (${mebibytes(weights)} as float32)`],
    ["operations", `${(flopsPerImage(model) / 1e9).toFixed(2)} GFLOP an image`],
    ["activations", `${mebibytes(activations)} at most at once, ${batch} image${batch === 1 ? "" : "s"}`],
    ["image", `${size.join(" x ")} px, ${tokens} tokens`],
    ["blocks", `${encoder.num_layers} of width ${width}, MLP ${encoder.mlp_dim}, ${encoder.num_heads} heads`],
    ["classes", String(classes ?? "none")],
  ];
  if (router) {
    const { contract } = router;
    lines.push(["router", router.name], ["  compares", `${contract.compares}; ${contract.ties}`]);
    lines.push(["  weights", contract.weights], ["  order", contract.order]);
  }
  console.log(lines.map(([label, text]) => `${label.padEnd(12)} ${text}`).join("\n"));
  if (blocks.length > 0) {
    const rows = blocks.map(({ index, experts, groups, groupSize: size_, capacity }) => [
      index,
      experts,
      groups,
      size_,
      capacity,
    ]);
    console.log(`\n${table([["sparse block", "experts", "groups", "tokens a group", "capacity"], ...rows])}`);
  }
}
