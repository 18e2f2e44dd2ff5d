/** The configuration of a dense model, as the names and shapes of its weights spell it. */
import { CompileError, type Shape, type WeightSource } from "../ir/index.ts";
import type { Json } from "./config.ts";

/** Numbers of a head, in every Vision Transformer that was published without saying so. */
const usualHead = 64;

/**
 * The configuration of weights under the original's names: a class token or attention pooling where there are its
 * parameters, else the mean of all tokens; learned positions where there are some, else none; heads of
 * 64 where a file has them joined. Throws W2 for weights that
 * are of no Vision Transformer, and for those of a sparse one: no file says what its routers choose.
 */
export function configOf({ tensors }: WeightSource, name: string): Json {
  const refuse = (message: string): never => {
    throw new CompileError("W2", name, message);
  };
  const shape = (parameter: string): Shape | undefined => tensors.get(parameter)?.shape;
  const sparse = [...tensors.keys()].find((parameter) => parameter.includes("/Moe/"));
  if (sparse !== undefined)
    refuse(`does not say how its routers choose (${sparse}): its configuration must be given`);
  const [high, wide, , width] = shape("embedding/kernel") ?? [];
  const [, mlpDim] = shape("Encoder/encoderblock_0/Mlp/Dense_0/kernel") ?? [];
  const [, heads = 0, ...more] = shape("Encoder/encoderblock_0/SelfAttention/query/kernel") ?? [];
  if (!high || !wide || !width || !mlpDim || !heads)
    refuse("is no Vision Transformer by its names: its configuration must be given");
  let layers = 1;
  while (tensors.has(`Encoder/encoderblock_${layers}/LayerNorm_0/scale`)) layers++;
  const classifier = tensors.has("cls") ? "token" : tensors.has("MapHead/probe") ? "map" : "gap";
  const positions = tensors.has("Encoder/posembed_input/pos_embedding");
  return {
    name: "VisionTransformerMoe",
    num_classes: shape("head/kernel")?.[1] ?? null,
    patch_size: [high, wide],
    hidden_size: width,
    classifier,
    representation_size: shape("pre_logits/kernel")?.[1] ?? null,
    encoder: {
      num_layers: layers,
      mlp_dim: mlpDim,
      num_heads: more.length > 0 ? heads : Math.max(1, Math.floor(heads / usualHead)),
      ...(tensors.has("Encoder/encoderblock_0/SelfAttention/query_ln/scale") && { attention_qk_norm: true }),
      ...(!positions && { position_emb: { name: "none" } }),
    },
  };
}
