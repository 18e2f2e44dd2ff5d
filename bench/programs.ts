/** The programs that are measured. */
import { Graph, input, ops, sizeOf, Tensor, type Value, weight, type WeightSource } from "../ir/index.ts";
import { createModel, type Json, parseConfig, probing, randomWeights, routerOf } from "../models/index.ts";
import { dense, layerNorm, mlp } from "../models/layers.ts";
import { moeMlp } from "../models/moe.ts";
import { Parameters } from "../models/parameters.ts";
import { normalDraws } from "../models/random.ts";

/** A program with its weights and inputs, and the operations of one run. */
export interface Measured {
  readonly graph: Graph;
  readonly weights: WeightSource;
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly flops: number;
}

/** The logits of `batch` images of 224 pixels, by a model whose random weights are all of effect. */
export function imageModel(config: Json, batch: number): Measured {
  const { graph, parameters, flops } = createModel(config, { batch });
  return {
    graph: graph.select(["logits"]),
    weights: randomWeights(probing(parameters), 0),
    inputs: new Map([["image", pictures(batch)]]),
    flops: batch * flops,
  };
}

/** Tokens of an image of 224 pixels. */
export function tokensOf(config: Json): number {
  const [height, width] = parseConfig(config).patch_size;
  return Math.floor(224 / height) * Math.floor(224 / width) + 1;
}

/**
 * One MoE layer of a model's configuration as its blocks have it, between LayerNorm and residual, on the tokens of `batch`
 * images of 224 pixels as one group: its result, and `slots`, -1 for what is dropped.
 */
export function moeLayer(config: Json, batch: number): Measured {
  const { encoder, hidden_size: D } = parseConfig(config);
  const { moe, layer_norm_epsilon: epsilon } = encoder;
  if (!moe) throw new RangeError("an MoE layer is measured of a sparse configuration");
  const T = tokensOf(config);
  const parameters = new Parameters();
  const x = input("x", { dtype: "f32", shape: [batch, T, D] });
  const router = routerOf(moe.router.name).bind(moe.router, moe.num_experts, 1);
  const groupSize = batch * T;
  const hidden = { width: encoder.mlp_dim, gelu: encoder.gelu };
  const asConfigured = { capacity: undefined, noise: undefined, limits: undefined };
  const context = { config: moe, router, hidden, groupSize, parameters, ...asConfigured };
  const { y, plan } = moeMlp(layerNorm("LayerNorm_1", x, epsilon, parameters), context);
  const [G = 1, E = 1, capacity = 1] = plan.tokens.type.shape;
  const outputs: [string, Value][] = [
    ["y", ops.add(x, y)],
    ["slots", plan.slots],
  ];
  return {
    graph: new Graph("moe", [x], outputs),
    ...given([x], parameters),
    flops: 4 * G * E * capacity * D * encoder.mlp_dim,
  };
}

/** The dense MLP of a model's configuration as its blocks have it, between LayerNorm and residual, on `rows` tokens. */
export function denseMlp(config: Json, rows: number): Measured {
  const { encoder, hidden_size: D } = parseConfig(config);
  const parameters = new Parameters();
  const x = input("x", { dtype: "f32", shape: [1, rows, D] });
  const normal = layerNorm("LayerNorm_1", x, encoder.layer_norm_epsilon, parameters);
  const y = mlp(normal, { width: encoder.mlp_dim, gelu: encoder.gelu }, parameters);
  return {
    graph: new Graph("mlp", [x], [["y", ops.add(x, y)]]),
    ...given([x], parameters),
    flops: 4 * rows * D * encoder.mlp_dim,
  };
}

/**
 * Dense products of as many operations and as many weights as `experts` MLPs of a model's configuration have on `rows` tokens
 * in all, where each has as many: all their first layers on the same tokens, side by side, and all their second ones.
 */
export function wideProducts(config: Json, rows: number, experts: number): Measured {
  const { encoder, hidden_size: D } = parseConfig(config);
  const { mlp_dim: F, gelu: approximate } = encoder;
  const parameters = new Parameters();
  const each = Math.ceil(rows / experts);
  const x = input("x", { dtype: "f32", shape: [1, each, D] });
  const hidden = input("hidden", { dtype: "f32", shape: [1, each, F] });
  const outputs: [string, Value][] = [
    ["hidden layers", ops.gelu(dense("first", x, experts * F, parameters), { approximate })],
    ["outputs", dense("second", hidden, experts * D, parameters)],
  ];
  return {
    graph: new Graph("wide", [x, hidden], outputs),
    ...given([x, hidden], parameters),
    flops: 4 * each * experts * D * F,
  };
}

/** Random weights, all of effect, and random inputs. */
const given = (inputs: readonly Value[], { all }: Parameters): Pick<Measured, "weights" | "inputs"> => ({
  weights: randomWeights(probing(all), 0),
  inputs: new Map(
    inputs.map(({ leaf, type }) => {
      const name = leaf?.name ?? "";
      return [name, new Tensor(type, normalDraws(0, name, sizeOf(type.shape)))];
    }),
  ),
});

/** The dense product of two square matrices, whose sums alone come back: what an engine's matrix kernels can do. */
export function denseProduct(side: number): Measured {
  const type = { dtype: "f32", shape: [side, side] } as const;
  const [x, w] = [input("x", type), weight("w", type)];
  const graph = new Graph("product", [x], [["y", ops.reduceSum(ops.matmul(x, w))]]);
  const tensor = Tensor.of("f32", [side, side], (i, j) => ((i * 31 + j * 17) % 101) / 101);
  const weights: WeightSource = {
    tensors: new Map([["w", type]]),
    read(_, rows) {
      const [start, stop] = rows ?? [0, side];
      const part = { dtype: "f32", shape: [stop - start, side] } as const;
      return Promise.resolve(new Tensor(part, tensor.data.slice(start * side, stop * side)));
    },
    close: () => Promise.resolve(),
  };
  return { graph, weights, inputs: new Map([["x", tensor]]), flops: 2 * side ** 3 };
}

/** An image batch of 224 pixels that is nowhere flat. */
export const pictures = (batch: number): Tensor =>
  Tensor.of("f32", [batch, 224, 224, 3], (b, y, x, c) => Math.sin(b + y / 9 + x / 7 + c));
