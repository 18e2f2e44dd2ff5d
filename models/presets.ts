/** Configurations of the paper's models and of the released ones, by name. */
import type { Json } from "./config.ts";
import { everyBlock, lastOddBlocks } from "./placement.ts";
import { sparsity } from "./sparse.ts";

interface Size {
  readonly patch: number;
  readonly layers: number;
  readonly hidden: number;
  readonly mlp: number;
  readonly heads: number;
}

/** Riquelme et al. 2021, arXiv 2106.05974, table 1; google-research/vmoe, configs/vmoe_paper/common.py. */
const sizes: Readonly<Record<string, Size>> = {
  s32: { patch: 32, layers: 8, hidden: 512, mlp: 2048, heads: 8 },
  b32: { patch: 32, layers: 12, hidden: 768, mlp: 3072, heads: 12 },
  b16: { patch: 16, layers: 12, hidden: 768, mlp: 3072, heads: 12 },
  l32: { patch: 32, layers: 24, hidden: 1024, mlp: 4096, heads: 16 },
  l16: { patch: 16, layers: 24, hidden: 1024, mlp: 4096, heads: 16 },
  h14: { patch: 14, layers: 32, hidden: 1280, mlp: 5120, heads: 16 },
};

/** DeiT's and the ViT release's sizes below the paper's. Touvron et al. 2021, arXiv 2012.12877, table 1. */
const smallSizes: Readonly<Record<string, Size>> = {
  ti16: { patch: 16, layers: 12, hidden: 192, mlp: 768, heads: 3 },
  s16: { patch: 16, layers: 12, hidden: 384, mlp: 1536, heads: 6 },
};

/** The head count is the paper's word for it; it cannot be told from the parameter count. */
const size15b: Size = { patch: 14, layers: 48, hidden: 1408, mlp: 6400, heads: 16 };

const jftClasses = 18_291;
const resolution = 224;

interface Head {
  readonly classes: number;
  readonly representation: boolean;
  readonly bias: number;
}

const imagenetHead: Head = { classes: 1000, representation: false, bias: -Math.log(1000) };
const jftHead: Head = { classes: jftClasses, representation: true, bias: -Math.log(jftClasses) };

function dense({ patch, layers, hidden, mlp, heads }: Size, { classes, representation, bias }: Head): Json {
  return {
    name: "VisionTransformerMoe",
    num_classes: classes,
    patch_size: [patch, patch],
    hidden_size: hidden,
    classifier: "token",
    representation_size: representation ? hidden : null,
    head_bias_init: bias,
    encoder: {
      num_layers: layers,
      mlp_dim: mlp,
      num_heads: heads,
      dropout_rate: 0,
      attention_dropout_rate: 0,
    },
  };
}

interface Experts {
  readonly experts: number;
  readonly layers: readonly number[];
  readonly bfloat16: boolean;
}

function sparse(size: Size, head: Head, experts: Experts): Json {
  const base = dense(size, head);
  const tokens = Math.floor(resolution / size.patch) ** 2 + 1;
  return { ...base, encoder: { ...(base["encoder"] as Json), moe: sparsity({ ...experts, tokens }) } };
}

const placements: Readonly<Record<string, (layers: number) => readonly number[]>> = {
  last2: (layers) => lastOddBlocks(2, layers),
  last5: (layers) => lastOddBlocks(5, layers),
  every2: (layers) => everyBlock(2, layers),
};

/** S has but four odd blocks: its "last 5" would be its "every 2". */
const isPlaced = (placement: string, blocks: readonly number[]): boolean =>
  placement !== "last5" || blocks.length === 5;

function paperModels(): [string, Json][] {
  return Object.entries(sizes).flatMap(([name, size]): [string, Json][] =>
    Object.entries(placements).flatMap(([placement, choose]): [string, Json][] => {
      const layers = choose(size.layers);
      const experts = { experts: 32, layers, bfloat16: true };
      return isPlaced(placement, layers)
        ? [[`vmoe-${name}-${placement}`, sparse(size, jftHead, experts)]]
        : [];
    }),
  );
}

/** Model configurations by name, in the form that a user of the original writes them. */
export const presets: ReadonlyMap<string, Json> = new Map<string, Json>([
  ...Object.entries(smallSizes).map(([name, size]): [string, Json] => [
    `vit-${name}`,
    dense(size, imagenetHead),
  ]),
  ...Object.entries(sizes).map(([name, size]): [string, Json] => [`vit-${name}`, dense(size, jftHead)]),
  ...paperModels(),
  [
    "vmoe-15b",
    sparse(
      size15b,
      { classes: 29_593, representation: false, bias: -Math.log(29_593) },
      { experts: 32, layers: everyBlock(2, size15b.layers), bfloat16: true },
    ),
  ],
  [
    "vmoe-s32-last2-e8",
    sparse(
      sizes["s32"] as Size,
      { classes: 1000, representation: true, bias: -Math.log(1000) },
      { experts: 8, layers: [5, 7], bfloat16: true },
    ),
  ],
  [
    "vmoe-b16-every2-e8",
    sparse(
      sizes["b16"] as Size,
      { classes: 21_843, representation: false, bias: -10 },
      { experts: 8, layers: everyBlock(2, 12), bfloat16: true },
    ),
  ],
]);
