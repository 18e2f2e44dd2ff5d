/** Configurations of the paper's models and of the released ones, by name. */
import type { Json } from "./config.ts";

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

/** The head count is the paper's word for it; it cannot be told from the parameter count. */
const size15b: Size = { patch: 14, layers: 48, hidden: 1408, mlp: 6400, heads: 16 };

const jftClasses = 18_291;
const resolution = 224;
const imagesPerGroup = 8;

interface Head {
  readonly classes: number;
  readonly representation: boolean;
  readonly bias: number;
}

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

function sparse(size: Size, head: Head, { experts, layers, bfloat16 }: Experts): Json {
  const base = dense(size, head);
  const tokens = Math.floor(resolution / size.patch) ** 2 + 1;
  return {
    ...base,
    encoder: {
      ...(base["encoder"] as Json),
      moe: {
        num_experts: experts,
        layers,
        dropout_rate: 0,
        split_rngs: false,
        group_size: imagesPerGroup * tokens,
        router: {
          num_selected_experts: 2,
          noise_std: 1,
          importance_loss_weight: 0.005,
          load_loss_weight: 0.005,
          dispatcher: { name: "einsum", bfloat16, capacity_factor: 1.05, batch_priority: false },
        },
      },
    },
  };
}

/** The odd blocks; "last n" are the last n of them. */
const oddBlocks = ({ layers }: Size): number[] =>
  Array.from({ length: Math.floor(layers / 2) }, (_, i) => 2 * i + 1);

const placements: Readonly<Record<string, (odd: readonly number[]) => readonly number[] | undefined>> = {
  last2: (odd) => odd.slice(-2),
  last5: (odd) => (odd.length < 5 ? undefined : odd.slice(-5)),
  every2: (odd) => odd,
};

function paperModels(): [string, Json][] {
  return Object.entries(sizes).flatMap(([name, size]): [string, Json][] =>
    Object.entries(placements).flatMap(([placement, choose]): [string, Json][] => {
      const layers = choose(oddBlocks(size));
      const experts = { experts: 32, layers: layers ?? [], bfloat16: true };
      return layers ? [[`vmoe-${name}-${placement}`, sparse(size, jftHead, experts)]] : [];
    }),
  );
}

/** Model configurations by name, in the form that a user of the original writes them. */
export const presets: ReadonlyMap<string, Json> = new Map<string, Json>([
  ...Object.entries(sizes).map(([name, size]): [string, Json] => [`vit-${name}`, dense(size, jftHead)]),
  ...paperModels(),
  [
    "vmoe-15b",
    sparse(
      size15b,
      { classes: 29_593, representation: false, bias: -Math.log(29_593) },
      { experts: 32, layers: oddBlocks(size15b), bfloat16: true },
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
      { experts: 8, layers: oddBlocks(sizes["b16"] as Size), bfloat16: true },
    ),
  ],
]);
