/** TensorFlow.js on WebGPU: the dense Vision Transformer as its users write it, and dense products. */
import * as tf from "@tensorflow/tfjs-core";

import { asInBrowsers } from "../backends/webgpu/dawn.ts";
import { readWeight, type Shape, type Tensor } from "../ir/index.ts";
import { type Json, parseConfig } from "../models/index.ts";
import type { Measured } from "./programs.ts";

/** A program on TensorFlow.js. */
export interface TfjsProgram {
  /** The numbers of its one output. */
  run(): Promise<Float32Array>;
}

/** Opens TensorFlow.js on Dawn's adapter of choice. Throws where there is none. */
export async function openTfjs(): Promise<void> {
  await asInBrowsers();
  await import("@tensorflow/tfjs-backend-webgpu");
  if (!(await tf.setBackend("webgpu"))) throw new Error("tfjs-backend-webgpu cannot be used here");
}

/** Frees all that TensorFlow.js holds. */
export const closeTfjs = (): void => tf.disposeVariables();

const held = ({ type, data }: Tensor, shape: readonly number[] = type.shape): tf.Tensor =>
  tf.tensor(data, [...shape]);

const program = (build: () => tf.Tensor): TfjsProgram => ({
  async run() {
    const y = tf.tidy(build);
    const numbers = await y.data();
    y.dispose();
    return numbers as Float32Array;
  },
});

/** The sums of a dense product's rows. */
export async function tfjsProduct({ graph, weights, inputs }: Measured): Promise<TfjsProgram> {
  const [weight] = graph.weights;
  const w = held(await readWeight(weights, weight as NonNullable<typeof weight>)) as tf.Tensor2D;
  const x = inputs.get("x") as Tensor;
  return program(() => {
    const product = tf.matMul(held(x), w);
    return tf.sum(product, -1);
  });
}

/** GELU in its tanh form. */
function gelu(x: tf.Tensor): tf.Tensor {
  const inner = tf.mul(Math.sqrt(2 / Math.PI), tf.add(x, tf.mul(0.044715, tf.mul(x, tf.mul(x, x)))));
  return tf.mul(tf.mul(0.5, x), tf.add(1, tf.tanh(inner)));
}

/** The shape of a weight where heads are no axis of the stored kernels and biases of attention. */
function withoutHeads(name: string, shape: Shape): Shape {
  const [first = 1, second = 1, third = 1] = shape;
  if (/(query|key|value)\/kernel$/.test(name)) return [first, second * third];
  if (name.endsWith("out/kernel")) return [first * second, third];
  return /(query|key|value)\/bias$/.test(name) ? [first * second] : shape;
}

/** The logits of a dense Vision Transformer with a class token, of a measured model of `config`. */
export async function tfjsVit(
  config: Json,
  { graph, weights: source, inputs }: Measured,
): Promise<TfjsProgram> {
  const { encoder, hidden_size: D, patch_size: patch } = parseConfig(config);
  const { num_heads: H, num_layers: layers } = encoder;
  const image = inputs.get("image") as Tensor;
  const [B = 1] = image.type.shape;
  const weights = new Map<string, tf.Tensor>();
  for (const weight of graph.weights) {
    const name = weight.leaf?.name ?? "";
    weights.set(name, held(await readWeight(source, weight), withoutHeads(name, weight.type.shape)));
  }
  const w = (name: string): tf.Tensor => weights.get(name) as tf.Tensor;

  /** `x` [..., N] through an affine map. */
  const dense = (name: string, x: tf.Tensor): tf.Tensor => {
    const rows = tf.reshape<tf.Rank.R2>(x, [-1, x.shape.at(-1) ?? 1]);
    const y = tf.fused.matMul({
      a: rows,
      b: w(`${name}/kernel`),
      bias: w(`${name}/bias`),
    });
    return tf.reshape(y, [...x.shape.slice(0, -1), y.shape[1] ?? 1]);
  };
  const norm = (name: string, x: tf.Tensor): tf.Tensor => {
    const { mean, variance } = tf.moments(x, -1, true);
    const scaled = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-6)));
    return tf.add(tf.mul(scaled, w(`${name}/scale`)), w(`${name}/bias`));
  };
  const heads = (x: tf.Tensor): tf.Tensor =>
    tf.transpose(tf.reshape(x, [B, x.shape[1] ?? 1, H, D / H]), [0, 2, 1, 3]);
  const attention = (name: string, x: tf.Tensor): tf.Tensor => {
    const [q, k, v] = ["query", "key", "value"].map((part) => heads(dense(`${name}/${part}`, x))) as [
      tf.Tensor,
      tf.Tensor,
      tf.Tensor,
    ];
    const scores = tf.softmax(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(D / H)));
    const mixed = tf.transpose(tf.matMul(scores, v), [0, 2, 1, 3]);
    return dense(`${name}/out`, tf.reshape(mixed, x.shape));
  };

  return program(() => {
    const patches = tf.conv2d(
      held(image) as tf.Tensor4D,
      w("embedding/kernel") as tf.Tensor4D,
      patch as [number, number],
      "valid",
    );
    const tokens = tf.reshape(tf.add(patches, w("embedding/bias")), [B, -1, D]);
    let x = tf.concat([tf.tile(w("cls"), [B, 1, 1]), tokens], 1);
    x = tf.add(x, w("Encoder/posembed_input/pos_embedding"));
    for (let block = 0; block < layers; block++) {
      const name = `Encoder/encoderblock_${block}`;
      x = tf.add(x, attention(`${name}/SelfAttention`, norm(`${name}/LayerNorm_0`, x)));
      const hidden = gelu(dense(`${name}/Mlp/Dense_0`, norm(`${name}/LayerNorm_1`, x)));
      x = tf.add(x, dense(`${name}/Mlp/Dense_1`, hidden));
    }
    const token = tf.reshape(tf.slice(norm("Encoder/encoder_norm", x), [0, 0, 0], [B, 1, D]), [B, D]);
    return dense("head", tf.tanh(dense("pre_logits", token)));
  });
}
