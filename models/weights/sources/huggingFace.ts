/** Hugging Face's ViT. Source: huggingface/transformers, models/vit/modeling_vit.py; state dictionaries of version 5, too. */
import type { Source } from "./source.ts";

const layer = "{vit.,}{encoder.layer,layers}.*";
const block = "Encoder/encoderblock_*";

export const huggingFace: Source = {
  name: "hugging-face",
  summary: "Hugging Face's ViTModel and ViTForImageClassification: safetensors",
  mark: `${layer}.layernorm_before.weight`,
  prefixes: ["module.", "model."],
  config: { encoder: { gelu: "none", layer_norm_epsilon: 1e-12 } },
  rows: [
    ["{vit.,}embeddings.cls_token", "cls"],
    ["{vit.,}embeddings.position_embeddings", "Encoder/posembed_input/pos_embedding"],
    ["{vit.,}embeddings.patch_embeddings.projection.weight", "embedding/kernel", "[out, channels, y, x]"],
    ["{vit.,}embeddings.patch_embeddings.projection.bias", "embedding/bias"],
    [`${layer}.layernorm_before.weight`, `${block}/LayerNorm_0/scale`],
    [`${layer}.layernorm_before.bias`, `${block}/LayerNorm_0/bias`],
    [
      `${layer}.attention.{attention.query,q_proj}.weight`,
      `${block}/SelfAttention/query/kernel`,
      "[out, in]",
    ],
    [`${layer}.attention.{attention.query,q_proj}.bias`, `${block}/SelfAttention/query/bias`],
    [`${layer}.attention.{attention.key,k_proj}.weight`, `${block}/SelfAttention/key/kernel`, "[out, in]"],
    [`${layer}.attention.{attention.key,k_proj}.bias`, `${block}/SelfAttention/key/bias`],
    [
      `${layer}.attention.{attention.value,v_proj}.weight`,
      `${block}/SelfAttention/value/kernel`,
      "[out, in]",
    ],
    [`${layer}.attention.{attention.value,v_proj}.bias`, `${block}/SelfAttention/value/bias`],
    [`${layer}.attention.{output.dense,o_proj}.weight`, `${block}/SelfAttention/out/kernel`, "[out, in]"],
    [`${layer}.attention.{output.dense,o_proj}.bias`, `${block}/SelfAttention/out/bias`],
    [`${layer}.layernorm_after.weight`, `${block}/LayerNorm_1/scale`],
    [`${layer}.layernorm_after.bias`, `${block}/LayerNorm_1/bias`],
    [`${layer}.{intermediate.dense,mlp.fc1}.weight`, `${block}/Mlp/Dense_0/kernel`, "[out, in]"],
    [`${layer}.{intermediate.dense,mlp.fc1}.bias`, `${block}/Mlp/Dense_0/bias`],
    [`${layer}.{output.dense,mlp.fc2}.weight`, `${block}/Mlp/Dense_1/kernel`, "[out, in]"],
    [`${layer}.{output.dense,mlp.fc2}.bias`, `${block}/Mlp/Dense_1/bias`],
    ["{vit.,}layernorm.weight", "Encoder/encoder_norm/scale"],
    ["{vit.,}layernorm.bias", "Encoder/encoder_norm/bias"],
    ["{vit.,}pooler.dense.weight", "pre_logits/kernel", "[out, in]"],
    ["{vit.,}pooler.dense.bias", "pre_logits/bias"],
    ["classifier.weight", "head/kernel", "[out, in]"],
    ["classifier.bias", "head/bias"],
  ],
};
