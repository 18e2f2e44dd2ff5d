/** The original's model class: a Vision Transformer whose chosen blocks are sparse; dense where none is. */
import { CompileError, Graph, input, ops, sizeOf, type TensorType, type Value } from "../ir/index.ts";
import { type ModelConfig, parseConfig } from "./config.ts";
import { tokensOf } from "./grid.ts";
import type { Parameter } from "./init.ts";
import { knobsPrefix } from "./knobs.ts";
import type { Model, ModelClass, ModelOptions, SparseBlock } from "./model.ts";
import type { MoeContext } from "./moe.ts";
import { Parameters } from "./parameters.ts";
import { routerOf } from "./routers/index.ts";
import type { Knobs } from "./routers/options.ts";
import { imageInput, vit } from "./vit.ts";
import { squareOf } from "./weights/positions.ts";

export const visionTransformerMoe: ModelClass = {
  name: "VisionTransformerMoe",
  summary: "A Vision Transformer in which the MLPs of chosen blocks are mixtures of experts.",
  source: "Riquelme et al. 2021, arXiv 2106.05974; google-research/vmoe, vmoe/nn/vit_moe.py",
  build(config, options) {
    const parsed = parseConfig(config);
    const { moe } = parsed.encoder;
    if (moe && moe.ensemble_size !== null) {
      const message = `is for VisionTransformerMoeEnsemble; got ${moe.ensemble_size}`;
      throw new CompileError("M3", "encoder.moe.ensemble_size", message);
    }
    return vitModel(visionTransformerMoe.name, parsed, options);
  },
  imageSizeOf(config, shape) {
    const { patch_size: patch, classifier } = parseConfig(config);
    const places = shape("Encoder/posembed_input/pos_embedding")?.[1];
    if (places === undefined) return undefined;
    const square = squareOf(places, classifier === "token");
    return square && [square.rows * patch[0], square.columns * patch[1]];
  },
};

/** A prediction for each image, made of `logits` that have a row for each member of an ensemble. */
export interface Prediction {
  readonly name: string;
  combine(logits: Value, members: number): Value;
}

/** The model of a Vision Transformer's configuration, dense, sparse, or an ensemble. */
export function vitModel(
  name: string,
  parsed: ModelConfig,
  options: ModelOptions,
  prediction?: Prediction,
): Model {
  const { batch = 1, imageSize = [224, 224], noise, live = false, capacities = {} } = options;
  checkOptions(parsed, batch, imageSize);
  const [rows, columns] = imageSize.map((size, i) => Math.floor(size / (parsed.patch_size[i] ?? 1))) as [
    number,
    number,
  ];
  const grid = { rows, columns, classToken: parsed.classifier === "token" };
  const tokens = tokensOf(grid);
  const { moe } = parsed.encoder;
  const members = moe?.ensemble_size ?? 1;
  const groupSize = moe
    ? chooseGroupSize(moe.group_size, tokens * members, batch, options.groupSize)
    : tokens;
  if (groupSize % members !== 0) {
    const message = `must be a multiple of ensemble_size = ${members}; got ${groupSize}`;
    throw new CompileError("M6", "group size", message);
  }
  const router = moe
    ? routerOf(moe.router.name, options.routers).bind(moe.router, moe.num_experts, members)
    : undefined;

  if (live) {
    if (!moe || !router) throw new CompileError("M6", "live", "is for models with sparse blocks");
    // Whether the router has limits at all is found out before anything is built.
    router.limits({}, groupSize, moe.num_experts);
  }

  const parameters = new Parameters();
  const image = imageInput([batch, ...imageSize, 3]);
  const inputs = [image];
  const sparse = (block: string): Omit<MoeContext, "parameters"> => {
    if (!moe || !router) throw new Error(`${block} is not sparse`);
    const take = (prefix: string, type: TensorType): Value => {
      const value = input(prefix + block, type);
      inputs.push(value);
      return value;
    };
    const noisy = noise ?? router.noisy;
    return {
      config: moe,
      router,
      hidden: { width: parsed.encoder.mlp_dim, gelu: parsed.encoder.gelu },
      groupSize,
      capacity: capacities[block],
      noise: noisy ? (shape) => take("noise/", { dtype: "f32", shape }) : undefined,
      limits: live ? take(knobsPrefix, { dtype: "i32", shape: [3] }) : undefined,
    };
  };
  checkCapacities(capacities, parsed);
  const { logits, plans } = vit(image, parsed, { parameters, moe: moe ? sparse : undefined });

  const outputs: [string, Value][] = [["logits", logits]];
  const combined = prediction && parsed.num_classes ? prediction : undefined;
  if (combined) outputs.push([combined.name, combined.combine(logits, members)]);
  for (const [block, plan] of plans) {
    const { tokens: seated, slots, weights, auxiliaryLoss } = plan;
    const named = {
      tokens: seated,
      slots,
      weights,
      ...Object.fromEntries(plan.metrics),
      auxiliary_loss: auxiliaryLoss,
    };
    for (const [part, value] of Object.entries(named)) outputs.push([`${block}/${part}`, value]);
  }
  const [loss, ...losses] = [...plans.values()].map((plan) => plan.auxiliaryLoss);
  if (loss) outputs.push(["auxiliary_loss", [loss, ...losses].reduce((a, b) => ops.add(a, b))]);

  const blocks = [...plans].map(([block, plan]): SparseBlock => {
    const [groups = 1, experts = 1, capacity = 1] = plan.tokens.type.shape;
    const index = Number(block.split("_")[1]);
    return { name: block, index, experts, groups, groupSize, members, capacity };
  });
  const { encoder, hidden_size, num_classes } = parsed;
  return {
    graph: new Graph(name, inputs, outputs),
    ...(combined && { prediction: combined.name }),
    parameters: parameters.all,
    flops: flopsOf(parsed, tokens, blocks, parameters.all, (block) =>
      block.name in capacities
        ? (block.capacity * block.experts) / block.groupSize
        : (router?.load(block.groupSize, block.experts) ?? 0),
    ),
    grid,
    blocks,
    router,
    ...(live &&
      moe &&
      router && {
        limits: (knobs: Knobs, block: string) =>
          router.limits(knobs, groupSize, moe.num_experts, capacities[block]),
      }),
    fullBatch: moe ? wholeGroups(moe.group_size, tokens * members) : 1,
    facts: {
      blocks: encoder.num_layers,
      hiddenSize: hidden_size,
      mlpDim: encoder.mlp_dim,
      heads: encoder.num_heads,
      classes: num_classes ?? 0,
      ...(members > 1 && { members }),
    },
  };
}

function checkOptions(
  { patch_size }: ModelConfig,
  batch: number,
  imageSize: readonly [number, number],
): void {
  if (!Number.isSafeInteger(batch) || batch < 1) {
    throw new CompileError("M6", "batch", `must be an integer of at least 1; got ${batch}`);
  }
  for (const [i, size] of imageSize.entries()) {
    const patch = patch_size[i] ?? 1;
    if (!Number.isSafeInteger(size) || size < patch) {
      throw new CompileError(
        "M6",
        "image size",
        `must be an integer of at least one patch (${patch}); got ${size}`,
      );
    }
  }
}

/** Throws M6 for capacities of blocks that are not sparse, and for what is no number of slots. */
function checkCapacities(
  capacities: Readonly<Record<string, number>>,
  { encoder: { moe } }: ModelConfig,
): void {
  for (const [block, slots] of Object.entries(capacities)) {
    if (!moe?.layers.some((index) => block === `encoderblock_${index}`)) {
      throw new CompileError("M6", "capacities", `must name sparse blocks; got ${block}`);
    }
    if (!Number.isSafeInteger(slots) || slots < 1) {
      throw new CompileError("M6", `capacity of ${block}`, `must be an integer of at least 1; got ${slots}`);
    }
  }
}

/** See `ModelOptions.groupSize`. */
function chooseGroupSize(
  configured: number,
  tokens: number,
  batch: number,
  asked: number | undefined,
): number {
  const total = tokens * batch;
  if (asked !== undefined) {
    if (Number.isSafeInteger(asked) && asked >= 1 && total % asked === 0) return asked;
    const message = `must divide the ${total} tokens of ${batch} images of ${tokens}; got ${asked}`;
    throw new CompileError("M6", "group size", message);
  }
  if (total % configured === 0) return configured;
  let images = Math.min(batch, Math.max(1, Math.floor(configured / tokens)));
  while (batch % images !== 0) images--;
  return images * tokens;
}

/** More images than this are not taken just to fill a group. */
const mostImages = 1024;

/** The fewest images whose tokens fill whole groups; 1 where that would be too many. */
function wholeGroups(groupSize: number, tokens: number): number {
  let images = 1;
  while (images <= mostImages && (images * tokens) % groupSize !== 0) images++;
  return images > mostImages ? 1 : images;
}

/** Operations of a matrix product, two for each multiplication and addition. */
const product = (rows: number, inner: number, columns: number): number => 2 * rows * inner * columns;

/**
 * Floating-point operations of one image, by every member of an ensemble, two for each multiplication and addition of a
 * matrix product: patch embedding, attention, MLPs, head; a sparse block's MLP counts its `load`, rows of an expert MLP
 * per token, plus its router's products and its shared experts. Biases, norms and softmax are not counted.
 */
function flopsOf(
  config: ModelConfig,
  T: number,
  blocks: readonly SparseBlock[],
  parameters: readonly Parameter[],
  load: (block: SparseBlock) => number,
): number {
  const {
    hidden_size: D,
    representation_size: features,
    num_classes,
    patch_size,
    encoder,
    classifier,
  } = config;
  const patches = T - (classifier === "token" ? 1 : 0);
  const members = encoder.moe?.ensemble_size ?? 1;
  const once = Math.min(encoder.num_layers, ...blocks.map(({ index }) => index));
  const eachBlock = once + members * (encoder.num_layers - once);
  const mlp = 2 * product(T, D, encoder.mlp_dim);
  const attention = 4 * product(T, D, D) + 2 * product(T, D, T);
  const shared = encoder.moe?.num_shared_experts ?? 0;
  const sparse = blocks.map((block) => members * (load(block) + shared) * mlp);
  const routing = parameters
    .filter(({ name, shape, trained }) => trained && name.includes("/Moe/Router/") && shape.length > 1)
    .map(({ shape }) => product(T, sizeOf(shape), 1));
  return (
    product(patches, 3 * patch_size[0] * patch_size[1], D) +
    eachBlock * attention +
    (eachBlock - members * blocks.length) * mlp +
    [...sparse, ...routing].reduce((a, b) => a + b, 0) +
    members * (product(1, D, features ?? 0) + product(1, features ?? D, num_classes ?? 0))
  );
}
