/** What the paper's configurations say of sparse blocks. */
import type { Json } from "./config.ts";

/** Images that fill a group. */
const imagesPerGroup = 8;

export interface Sparsity {
  readonly experts: number;
  readonly layers: readonly number[];
  /** Tokens of an image. */
  readonly tokens: number;
  /** Whether tokens travel to experts and back as bfloat16. */
  readonly bfloat16: boolean;
}

/** `encoder.moe` of V-MoE. Source: google-research/vmoe, configs/vmoe_paper/common.py. */
export const sparsity = ({ experts, layers, tokens, bfloat16 }: Sparsity): Json => ({
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
});
