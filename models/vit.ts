/** The Vision Transformer, dense or with sparse blocks: image to logits. */
import { input, ops, scoped, type Shape, type Value } from "../ir/index.ts";
import type { EncoderConfig, ModelConfig } from "./config.ts";
import { constant, gaussian, lecunNormal, xavierUniform } from "./init.ts";
import { attention, dense, layerNorm, mlp } from "./layers.ts";
import { type MoeContext, moeMlp } from "./moe.ts";
import type { Parameters } from "./parameters.ts";
import type { RoutingPlan } from "./routers/plan.ts";
import { copied, repeated, scaled } from "./shorthand.ts";

/** What the model computes, and the plan of each sparse block by the block's name. */
export interface VitOutputs {
  readonly logits: Value;
  readonly plans: ReadonlyMap<string, RoutingPlan>;
}

/** Everything that building needs beyond the configuration; `moe` is what every sparse block gets. */
export interface VitContext {
  readonly parameters: Parameters;
  readonly moe: ((block: string) => Omit<MoeContext, "parameters">) | undefined;
}

/**
 * Logits [B, classes], of an ensemble of M members [B * M, classes], of `image` [B, Y, X, 3] in [-1, 1]; features [B, D] when the model has no classes.
 * Source: Dosovitskiy et al. 2021, arXiv 2010.11929; google-research/vmoe, vmoe/nn/vit_moe.py.
 */
export function vit(image: Value, config: ModelConfig, context: VitContext): VitOutputs {
  const { parameters } = context;
  const patches = embed(image, config, parameters);
  const tokens = config.classifier === "token" ? withClassToken(patches, parameters) : patches;
  const { x, plans } = scoped("Encoder", () => encode(tokens, grid(image, config), config.encoder, context));
  const pooled = pool(x, config, parameters);
  const { representation_size: width, num_classes: classes } = config;
  const features = width === null ? pooled : ops.tanh(dense("pre_logits", pooled, width, parameters));
  if (!classes) return { logits: features, plans };
  const head = { bias: config.head_bias_init, zero: config.head_kernel_zero_init };
  return { logits: dense("head", features, classes, parameters, head), plans };
}

/** Patches down and across. */
function grid(image: Value, { patch_size: [height, width] }: ModelConfig): readonly [number, number] {
  const [, Y = 1, X = 1] = image.type.shape;
  return [Math.floor(Y / height), Math.floor(X / width)];
}

function embed(
  image: Value,
  { patch_size: [height, width], hidden_size: D }: ModelConfig,
  parameters: Parameters,
): Value {
  return scoped("embedding", () => {
    const channels = image.type.shape[3] ?? 1;
    const L = height * width * channels;
    const kernel = parameters.weight("kernel", [height, width, channels, D], lecunNormal(L));
    const bias = parameters.weight("bias", [D], constant(0));
    return ops.linear(ops.patchify(image, { height, width }), ops.reshape(kernel, { shape: [L, D] }), bias);
  });
}

function withClassToken(patches: Value, parameters: Parameters): Value {
  const [B = 1, , D = 1] = patches.type.shape;
  const cls = parameters.weight("cls", [1, 1, D], constant(0));
  return ops.concat(repeated(cls, B), patches, { axis: 1 });
}

/** What the layers of all blocks have in common. */
const settingsOf = (config: EncoderConfig) => {
  const epsilon = config.layer_norm_epsilon;
  return {
    epsilon,
    attend: { heads: config.num_heads, norm: config.attention_qk_norm, epsilon },
    hidden: { width: config.mlp_dim, gelu: config.gelu },
  };
};

function encode(
  tokens: Value,
  patches: readonly [number, number],
  config: EncoderConfig,
  { parameters, moe }: VitContext,
): { readonly x: Value; readonly plans: ReadonlyMap<string, RoutingPlan> } {
  const plans = new Map<string, RoutingPlan>();
  let x = withPositions(tokens, patches, config, parameters);
  const { attend, hidden, epsilon } = settingsOf(config);
  const [members, parting] = [config.moe?.ensemble_size ?? 1, Math.min(...(config.moe?.layers ?? []))];
  for (let block = 0; block < config.num_layers; block++) {
    const name = `encoderblock_${block}`;
    // The members of an ensemble are alike until the first block in which they have experts of their own.
    if (block === parting && members > 1) x = copied(x, members);
    x = scoped(name, () => {
      const normal = layerNorm("LayerNorm_0", x, epsilon, parameters);
      const mixed = ops.add(
        scoped("SelfAttention", () => attention(normal, normal, attend, parameters)),
        x,
      );
      const y = layerNorm("LayerNorm_1", mixed, epsilon, parameters);
      if (!moe || !config.moe?.layers.includes(block)) {
        return ops.add(
          mixed,
          scoped("Mlp", () => mlp(y, hidden, parameters)),
        );
      }
      const sparse = scoped("Moe", () => moeMlp(y, { ...moe(name), parameters }));
      plans.set(name, sparse.plan);
      return ops.add(mixed, sparse.y);
    });
  }
  return { x: layerNorm("encoder_norm", x, epsilon, parameters), plans };
}

function withPositions(
  tokens: Value,
  [rows, columns]: readonly [number, number],
  { position_emb: { name, temperature } }: EncoderConfig,
  parameters: Parameters,
): Value {
  const [B = 1, T = 1, D = 1] = tokens.type.shape;
  if (name === "none") return tokens;
  // The class token, where there is one, has no place in the picture.
  const N = rows * columns;
  const classToken = N < T;
  if (name === "learned") {
    const table = scoped("posembed_input", () =>
      parameters.weight("pos_embedding", [1, T, D], gaussian(0.02), { grid: { rows, columns, classToken } }),
    );
    return ops.add(tokens, repeated(table, B));
  }
  const table = parameters.table("sincos2d", [1, N, D], { kind: "sincos2d", columns, temperature });
  const placed = (x: Value): Value => ops.add(x, repeated(table, B));
  if (!classToken) return placed(tokens);
  const part = (start: number, limit: number): Value =>
    ops.slice(tokens, { start: [0, start, 0], limit: [B, limit, D] });
  return ops.concat(part(0, 1), placed(part(1, T)), { axis: 1 });
}

function pool(x: Value, { classifier, encoder }: ModelConfig, parameters: Parameters): Value {
  const [B = 1, T = 1, D = 1] = x.type.shape;
  if (classifier === "map") return mapHead(x, encoder, parameters);
  if (classifier === "gap") {
    const columns = ops.transpose(x, { perm: [0, 2, 1] });
    return scaled(ops.reshape(ops.reduceSum(columns), { shape: [B, D] }), 1 / T);
  }
  return ops.reshape(ops.slice(x, { start: [0, 0, 0], limit: [B, 1, D] }), { shape: [B, D] });
}

/** Attention pooling: one learned query over all tokens, then a residual MLP. */
function mapHead(x: Value, encoder: EncoderConfig, parameters: Parameters): Value {
  const [B = 1, , D = 1] = x.type.shape;
  return scoped("MapHead", () => {
    const probe = repeated(parameters.weight("probe", [1, 1, D], xavierUniform(1, D)), B);
    const { attend, hidden, epsilon } = settingsOf(encoder);
    const y = scoped("MultiHeadDotProductAttention", () => attention(probe, x, attend, parameters));
    const normal = layerNorm("LayerNorm", y, epsilon, parameters);
    const z = scoped("Mlp", () => mlp(normal, hidden, parameters));
    return ops.reshape(ops.add(y, z), { shape: [B, D] });
  });
}

/** The model's image input. */
export const imageInput = (shape: Shape): Value => input("image", { dtype: "f32", shape });
