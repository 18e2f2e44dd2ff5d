/** The original's model config dictionary, as JSON: its keys, their defaults, and what is wrong with one. */
import { z } from "zod";

import { CompileError } from "../ir/index.ts";

/** A model configuration, by the original's names, with every default filled in. */
export interface ModelConfig {
  /** The model class; the name may carry a module prefix. */
  readonly name: string;
  /** null or 0: the model returns its features. */
  readonly num_classes: number | null;
  readonly patch_size: readonly [height: number, width: number];
  readonly hidden_size: number;
  readonly encoder: EncoderConfig;
  /** `token` adds a class token and reads it; `0` reads the first patch's token. */
  readonly classifier: "token" | "0" | "gap" | "map";
  /** Width of the tanh layer before the head; null is none. */
  readonly representation_size: number | null;
  readonly head_bias_init: number;
  readonly head_kernel_zero_init: boolean;
}

export interface EncoderConfig {
  readonly num_layers: number;
  readonly mlp_dim: number;
  readonly num_heads: number;
  readonly attention_qk_norm: boolean;
  /** GELU by its approximation with tanh, or exact. */
  readonly gelu: "tanh" | "none";
  /** What LayerNorm adds to variances. */
  readonly layer_norm_epsilon: number;
  readonly position_emb: { readonly name: "learned" | "sincos2d" | "none"; readonly temperature: number };
  /** null: no block is sparse. */
  readonly moe: MoeConfig | null;
}

export interface MoeConfig {
  readonly num_experts: number;
  /** The blocks whose MLP is sparse, from 0. */
  readonly layers: readonly number[];
  /** Tokens that are routed together, the copies of an ensemble's members counted. */
  readonly group_size: number;
  /** Members of an ensemble; null for a model that is none. */
  readonly ensemble_size: number | null;
  /** Which random streams differ between experts: `params` draws every expert's parameters anew. */
  readonly split_rngs: boolean | readonly string[];
  /** Experts that every token has besides the routed ones, as one MLP of so many times `mlp_dim`. */
  readonly num_shared_experts: number;
  /** Whether combine weights are scaled to sum to 1 over the choices of a token that have a slot; see renormalise.ts. */
  readonly renormalise: boolean;
  /** Options of the router's own; see models/routers. */
  readonly router: { readonly name: string } & Json;
}

/** A JSON object. */
export type Json = { readonly [key: string]: unknown };

const count = z.int().min(1);
const rate = z.number().min(0).max(1);
// Keys that concern training alone are checked and have no effect.
const training = { dropout_rate: rate.optional(), deterministic: z.boolean().optional() };

const positionEmbedding = z.strictObject({
  name: z.enum(["learned", "sincos2d", "none"]).default("learned"),
  temperature: z.number().positive().default(10_000),
});

const moe = z.strictObject({
  ...training,
  num_experts: count,
  layers: z.array(z.int().min(0)).default([]),
  group_size: count,
  ensemble_size: count.nullable().default(null),
  split_rngs: z.union([z.boolean(), z.array(z.enum(["params", "dropout"]))]).default(false),
  num_shared_experts: z.int().min(0).default(0),
  renormalise: z.boolean().default(false),
  router: z.looseObject({ name: z.string().default("NoisyTopExpertsPerItemRouter") }).prefault({}),
});

const encoder = z.strictObject({
  ...training,
  attention_dropout_rate: rate.optional(),
  // Far deeper than any ViT, and not so deep that a slip of the hand fills memory.
  num_layers: count.max(1000),
  mlp_dim: count,
  num_heads: count,
  attention_qk_norm: z.boolean().default(false),
  // The original has no keys for these two: they are Flax's defaults there.
  gelu: z.enum(["tanh", "none"]).default("tanh"),
  layer_norm_epsilon: z.number().positive().default(1e-6),
  position_emb: positionEmbedding.nullish().transform((value) => value ?? positionEmbedding.parse({})),
  moe: moe.nullish().transform((value) => (value && value.layers.length > 0 ? value : null)),
});

const model: z.ZodType<ModelConfig> = z.strictObject({
  name: z.string().default("VisionTransformerMoe"),
  deterministic: training.deterministic,
  num_classes: z.int().min(0).nullable(),
  patch_size: z.tuple([count, count]),
  hidden_size: count,
  encoder,
  classifier: z.enum(["token", "0", "gap", "map"]).default("token"),
  representation_size: count.nullable().default(null),
  head_bias_init: z.number().default(0),
  head_kernel_zero_init: z.boolean().default(true),
});

/** The last part of a dotted class name. */
export const className = (name: string): string => name.slice(name.lastIndexOf(".") + 1);

/**
 * `value` as a model configuration. Throws M1 for a key that is unknown, missing or of the wrong type, M3 for keys
 * that contradict each other; the subject is the key's path.
 */
export function parseConfig(value: unknown): ModelConfig {
  const config = parseKeys(model, value, []);
  checkAgreement(config);
  return config;
}

/** `value` as `schema` says, the first problem as an error that names the key below `path`. */
export function parseKeys<S extends z.ZodType>(
  schema: S,
  value: unknown,
  path: readonly string[],
): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = [...path, ...(issue?.path ?? [])];
  if (issue?.code === "unrecognized_keys") {
    throw new CompileError("M1", [...where, issue.keys[0]].join("."), "unknown key");
  }
  const message = issue?.message.replace(/^Invalid input: /, "") ?? "invalid";
  throw new CompileError("M1", where.join(".") || "config", message);
}

const contradiction = (subject: string, message: string): CompileError =>
  new CompileError("M3", subject, message);

function checkAgreement({
  hidden_size,
  encoder: { num_heads, num_layers, position_emb, moe: experts },
}: ModelConfig): void {
  if (hidden_size % num_heads !== 0) {
    throw contradiction("encoder.num_heads", `must divide hidden_size = ${hidden_size}; got ${num_heads}`);
  }
  if (position_emb.name === "sincos2d" && (hidden_size % 4 !== 0 || hidden_size < 8)) {
    throw contradiction(
      "hidden_size",
      `must be a multiple of 4 and at least 8 for sincos2d; got ${hidden_size}`,
    );
  }
  const stray = experts?.layers.find((block) => block >= num_layers);
  if (stray !== undefined) {
    throw contradiction(
      "encoder.moe.layers",
      `must name blocks below num_layers = ${num_layers}; got ${stray}`,
    );
  }
}

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** `base` with `patch` merged in: objects key by key, anything else replaced, null included. */
export function mergeConfig(base: Json, patch: Json): Json {
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(patch)) {
    const old = merged[key];
    merged[key] = isObject(old) && isObject(value) ? mergeConfig(old, value) : value;
  }
  return merged;
}

/** The patch that an override `a.b.c=value` spells; the value is JSON, or else a string. Throws M1. */
export function parseOverride(text: string): Json {
  const [path = "", ...rest] = text.split("=");
  if (rest.length === 0 || path === "") throw new CompileError("M1", text, "must be path=value");
  const value = rest.join("=");
  let parsed: unknown = value;
  try {
    parsed = JSON.parse(value);
  } catch {
    // Not JSON: a plain string.
  }
  return path.split(".").reduceRight<unknown>((inner, key) => ({ [key]: inner }), parsed) as Json;
}
