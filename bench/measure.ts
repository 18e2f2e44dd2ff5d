/** Times of repeated runs, and the programs that are measured. */
import { Graph, input, ops, Tensor, weight, type WeightSource } from "../ir/index.ts";

/** The middle of some numbers. */
export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

/** Milliseconds of each of `repeats` runs. */
export async function timesOf(repeats: number, run: () => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < repeats; i++) {
    const before = performance.now();
    await run();
    times.push(performance.now() - before);
  }
  return times;
}

/** A program with its weights and inputs, and the operations of one run. */
export interface Measured {
  readonly graph: Graph;
  readonly weights: WeightSource;
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly flops: number;
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
export const pictures = (batch: number): Tensor =>
  Tensor.of("f32", [batch, 224, 224, 3], (b, y, x, c) => Math.sin(b + y / 9 + x / 7 + c));
