/** E3, the efficient ensemble: a Vision Transformer whose members share all but experts of their own. */
import { CompileError, ops } from "../ir/index.ts";
import { className, mergeConfig, type ModelConfig, parseConfig } from "./config.ts";
import type { ModelClass } from "./model.ts";
import { noisyTopExpertsEnsemble } from "./routers/noisyTopExpertsEnsemble.ts";
import { filled, logSumExp } from "./shorthand.ts";
import { type Prediction, visionTransformerMoe, vitModel } from "./visionTransformerMoe.ts";

export const visionTransformerMoeEnsemble: ModelClass = {
  name: "VisionTransformerMoeEnsemble",
  summary:
    "An ensemble in one Vision Transformer: from the first sparse block on, each member has a copy of the tokens and experts of its own.",
  source: "Allingham et al. 2022, arXiv 2110.03360; google-research/vmoe, vmoe/nn/vit_moe_ensemble.py",
  build(config, options) {
    const router = { name: noisyTopExpertsEnsemble.name };
    const parsed = parseConfig(mergeConfig({ encoder: { moe: { router } } }, config));
    checkEnsemble(parsed);
    return vitModel(visionTransformerMoeEnsemble.name, parsed, options, logMeanProbabilities);
  },
  imageSizeOf: (config, shape) => visionTransformerMoe.imageSizeOf(config, shape),
};

const refuse = (subject: string, message: string): never => {
  throw new CompileError("M3", subject, message);
};

function checkEnsemble({ encoder: { moe, position_emb, attention_qk_norm } }: ModelConfig): void {
  // The original takes these keys and does without; weights made with them are for another model.
  if (position_emb.name !== "learned")
    refuse("encoder.position_emb.name", `must be learned in an ensemble; got ${position_emb.name}`);
  if (attention_qk_norm) refuse("encoder.attention_qk_norm", "must be false in an ensemble; got true");
  if (!moe) return;
  const { ensemble_size: M, num_experts, group_size, router } = moe;
  if (M === null) return refuse("encoder.moe.ensemble_size", "must be given");
  for (const [key, size] of Object.entries({ num_experts, group_size })) {
    if (size % M !== 0)
      refuse(`encoder.moe.${key}`, `must be a multiple of ensemble_size = ${M}; got ${size}`);
  }
  const { name } = noisyTopExpertsEnsemble;
  if (className(router.name) !== name)
    refuse("encoder.moe.router.name", `must be ${name} in an ensemble; got ${router.name}`);
}

/** The logarithm of the mean over the members of their softmax, [B * M, classes] to [B, classes]. */
const logMeanProbabilities: Prediction = {
  name: "ensemble_log_probs",
  combine(logits, M) {
    const [rows = 1, classes = 1] = logits.type.shape;
    const { shape } = logits.type;
    const own = ops.subtract(logits, ops.broadcast(logSumExp(logits), { shape }));
    const byClass = ops.transpose(ops.reshape(own, { shape: [rows / M, M, classes] }), { perm: [0, 2, 1] });
    const total = ops.reshape(logSumExp(byClass), { shape: [rows / M, classes] });
    return ops.subtract(total, filled(Math.log(M), total));
  },
};
