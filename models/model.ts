/** From a configuration to a program: what a user of the library starts with. */
import { CompileError, Graph, input, ops, type Shape, type Value } from "../ir/index.ts";
import { type Json, type ModelConfig, parseConfig } from "./config.ts";
import type { Parameter } from "./init.ts";
import type { MoeContext } from "./moe.ts";
import { Parameters } from "./parameters.ts";
import { routerOf } from "./routers/index.ts";
import type { BoundRouter } from "./routers/router.ts";
import { imageInput, vit } from "./vit.ts";

/** What is chosen when a model is compiled rather than in its configuration. */
export interface ModelOptions {
  /** Images of a run; 1 by default. */
  readonly batch?: number;
  /** Pixels down and across; 224 x 224 by default. */
  readonly imageSize?: readonly [height: number, width: number];
  /**
   * Tokens that are routed together. By default the configuration's where it divides the batch's tokens, else the
   * largest number of whole images that holds no more and divides the batch, at least one image.
   */
  readonly groupSize?: number;
  /** Whether routers add noise, which the program then takes as inputs `noise/<block>`. */
  readonly noise?: boolean;
}

/** One sparse block of a model. */
export interface SparseBlock {
  /** Such as `encoderblock_5`; the prefix of the block's outputs. */
  readonly name: string;
  readonly index: number;
  readonly experts: number;
  readonly groups: number;
  readonly groupSize: number;
  /** Slots of an expert, per group. */
  readonly capacity: number;
}

/** A program with what is needed to feed it and to read its outputs. */
export interface Model {
  readonly config: ModelConfig;
  /**
   * Input `image` f32[B, Y, X, 3] in [-1, 1]; outputs `logits` f32[B, classes], per sparse block
   * `<block>/tokens`, `/slots`, `/weights` and the router's metrics, and `auxiliary_loss` f32[G].
   */
  readonly graph: Graph;
  readonly parameters: readonly Parameter[];
  readonly blocks: readonly SparseBlock[];
  /** Tokens of one image, the class token included. */
  readonly tokens: number;
  readonly router: BoundRouter | undefined;
}

/** The model of a configuration, as the original writes it; throws M1 to M5. Allocates no weights. */
export function createModel(config: Json, options: ModelOptions = {}): Model {
  const parsed = parseConfig(config);
  const { batch = 1, imageSize = [224, 224], noise } = options;
  checkOptions(parsed, batch, imageSize);
  const [rows, columns] = imageSize.map((size, i) => Math.floor(size / (parsed.patch_size[i] ?? 1))) as [
    number,
    number,
  ];
  const tokens = rows * columns + (parsed.classifier === "token" ? 1 : 0);
  const { moe } = parsed.encoder;
  const groupSize = moe ? chooseGroupSize(moe.group_size, tokens, batch, options.groupSize) : tokens;
  const router = moe ? routerOf(moe.router.name).bind(moe.router, moe.num_experts) : undefined;

  const parameters = new Parameters();
  const image = imageInput([batch, ...imageSize, 3]);
  const inputs = [image];
  const sparse = (block: string): Omit<MoeContext, "parameters"> => {
    if (!moe || !router) throw new Error(`${block} is not sparse`);
    const draw = (shape: Shape): Value => {
      const value = input(`noise/${block}`, { dtype: "f32", shape });
      inputs.push(value);
      return value;
    };
    const noisy = noise ?? router.noisy;
    return {
      config: moe,
      router,
      hidden: parsed.encoder.mlp_dim,
      groupSize,
      noise: noisy ? draw : undefined,
    };
  };
  const { logits, plans } = vit(image, parsed, { parameters, moe: moe ? sparse : undefined });

  const outputs: [string, Value][] = [["logits", logits]];
  for (const [block, plan] of plans) {
    const { tokens: seated, slots, weights, auxiliaryLoss } = plan;
    const named = {
      tokens: seated,
      slots,
      weights,
      ...Object.fromEntries(plan.metrics),
      auxiliary_loss: auxiliaryLoss,
    };
    for (const [name, value] of Object.entries(named)) outputs.push([`${block}/${name}`, value]);
  }
  const [loss, ...losses] = [...plans.values()].map((plan) => plan.auxiliaryLoss);
  if (loss) outputs.push(["auxiliary_loss", [loss, ...losses].reduce((a, b) => ops.add(a, b))]);

  const blocks = [...plans].map(([name, plan]): SparseBlock => {
    const [groups = 1, experts = 1, capacity = 1] = plan.tokens.type.shape;
    return { name, index: Number(name.split("_")[1]), experts, groups, groupSize, capacity };
  });
  return {
    config: parsed,
    graph: new Graph(parsed.name, inputs, outputs),
    parameters: parameters.all,
    blocks,
    tokens,
    router,
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
