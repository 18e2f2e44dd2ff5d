/** The original ViT release, and big_vision, which trains the same model. */
import type { Source } from "./source.ts";

const block = "Transformer/encoderblock_*";

export const jax: Source = {
  name: "vision_transformer",
  summary: "google-research/vision_transformer, of all ages, and google-research/big_vision: `.npz`, msgpack",
  mark: `${block}/...`,
  prefixes: [
    "opt/target/",
    "optimizer/target/",
    "target/",
    "params/",
    "opt/target/params/",
    "target/params/",
  ],
  config: {},
  rows: [
    ["Transformer/posembed_input/pos_embedding", "Encoder/posembed_input/pos_embedding"],
    ["pos_embedding", "Encoder/posembed_input/pos_embedding"],
    // Names before Linen count all layers of a block, later ones those of a kind.
    [`${block}/LayerNorm_0/...`, "Encoder/encoderblock_*/LayerNorm_0/..."],
    [`${block}/LayerNorm_{1,2}/...`, "Encoder/encoderblock_*/LayerNorm_1/..."],
    [`${block}/MultiHeadDotProductAttention_{0,1}/...`, "Encoder/encoderblock_*/SelfAttention/..."],
    [`${block}/MlpBlock_{0,3}/...`, "Encoder/encoderblock_*/Mlp/..."],
    ["Transformer/encoder_norm/...", "Encoder/encoder_norm/..."],
    ["MAPHead_0/probe", "MapHead/probe"],
    ["MAPHead_0/MultiHeadDotProductAttention_0/...", "MapHead/MultiHeadDotProductAttention/..."],
    ["MAPHead_0/LayerNorm_0/...", "MapHead/LayerNorm/..."],
    ["MAPHead_0/MlpBlock_0/...", "MapHead/Mlp/..."],
  ],
};
