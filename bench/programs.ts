/** The programs that are measured. */
import { Graph, input, ops, Tensor, weight, type WeightSource } from "../ir/index.ts";
import { createModel, type Json, randomWeights } from "../models/index.ts";

/** A program with its weights and inputs, and the operations of one run. */
export interface Measured {
  readonly graph: Graph;
  readonly weights: WeightSource;
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly flops: number;
}

/** The logits of `batch` images of 224 pixels, by a model with random weights. */
export function imageModel(config: Json, batch: number): Measured {
  const { graph, parameters, flops } = createModel(config, { batch });
  return {
    graph: graph.select(["logits"]),
    weights: randomWeights(parameters, 0),
    inputs: new Map([["image", pictures(batch)]]),
    flops: batch * flops,
  };
}

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
const pictures = (batch: number): Tensor =>
  Tensor.of("f32", [batch, 224, 224, 3], (b, y, x, c) => Math.sin(b + y / 9 + x / 7 + c));
