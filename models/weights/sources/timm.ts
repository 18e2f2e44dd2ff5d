/** PyTorch Image Models' VisionTransformer. Source: huggingface/pytorch-image-models, timm/models/vision_transformer.py. */
import type { Source } from "./source.ts";

const block = "Encoder/encoderblock_*";

export const timm: Source = {
  name: "timm",
  summary: "PyTorch Image Models, and DeiT without distillation: safetensors",
  mark: "blocks.*.attn.qkv.weight",
  prefixes: ["module.", "model.", "state_dict."],
  config: { encoder: { gelu: "none", layer_norm_epsilon: 1e-6 } },
  rows: [
    ["cls_token", "cls"],
    ["pos_embed", "Encoder/posembed_input/pos_embedding"],
    ["patch_embed.proj.weight", "embedding/kernel", "[out, channels, y, x]"],
    ["patch_embed.proj.bias", "embedding/bias"],
    ["blocks.*.norm1.weight", `${block}/LayerNorm_0/scale`],
    ["blocks.*.norm1.bias", `${block}/LayerNorm_0/bias`],
    ["blocks.*.attn.qkv.weight", `${block}/SelfAttention/{query,key,value}/kernel`, "[out, in]"],
    ["blocks.*.attn.qkv.bias", `${block}/SelfAttention/{query,key,value}/bias`],
    ["blocks.*.attn.proj.weight", `${block}/SelfAttention/out/kernel`, "[out, in]"],
    ["blocks.*.attn.proj.bias", `${block}/SelfAttention/out/bias`],
    ["blocks.*.norm2.weight", `${block}/LayerNorm_1/scale`],
    ["blocks.*.norm2.bias", `${block}/LayerNorm_1/bias`],
    ["blocks.*.mlp.fc1.weight", `${block}/Mlp/Dense_0/kernel`, "[out, in]"],
    ["blocks.*.mlp.fc1.bias", `${block}/Mlp/Dense_0/bias`],
    ["blocks.*.mlp.fc2.weight", `${block}/Mlp/Dense_1/kernel`, "[out, in]"],
    ["blocks.*.mlp.fc2.bias", `${block}/Mlp/Dense_1/bias`],
    ["norm.weight", "Encoder/encoder_norm/scale"],
    ["norm.bias", "Encoder/encoder_norm/bias"],
    ["pre_logits.fc.weight", "pre_logits/kernel", "[out, in]"],
    ["pre_logits.fc.bias", "pre_logits/bias"],
    ["head.weight", "head/kernel", "[out, in]"],
    ["head.bias", "head/bias"],
  ],
};
