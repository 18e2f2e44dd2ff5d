/** Weights held in memory. */
import { sizeOf, Tensor, type WeightSource } from "../../ir/index.ts";

/** Entries `rows` of a tensor along its first axis. */
export function cut(tensor: Tensor, rows: readonly [number, number] | undefined): Tensor {
  if (!rows) return tensor;
  const { dtype, shape } = tensor.type;
  const size = sizeOf(shape.slice(1));
  const type = { dtype, shape: [rows[1] - rows[0], ...shape.slice(1)] };
  return new Tensor(type, tensor.data.slice(rows[0] * size, rows[1] * size));
}

/** The tensors as a source of weights. */
export const memoryWeights = (tensors: ReadonlyMap<string, Tensor>): WeightSource => ({
  tensors: new Map([...tensors].map(([name, tensor]) => [name, tensor.type])),
  read: (name, rows) => Promise.resolve(cut(tensors.get(name)!, rows)),
  close: () => Promise.resolve(),
});
