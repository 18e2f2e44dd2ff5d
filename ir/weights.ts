/** Where the tensors behind a program's weight leaves come from. */
import type { Value } from "./op.ts";
import { Tensor } from "./tensor.ts";
import type { TensorType } from "./type.ts";

/** Named tensors, read one at a time so that no more than is used is ever held. */
export interface WeightSource {
  /** What there is, by name. */
  readonly tensors: ReadonlyMap<string, TensorType>;
  /** The tensor `name`, or its entries `rows[0] .. rows[1] - 1` along the first axis, without reading the rest. */
  read(name: string, rows?: readonly [start: number, stop: number]): Promise<Tensor>;
  /** Releases what reading holds open. */
  close(): Promise<void>;
}

/** The tensor behind a weight of a program, or those rows of it, rounded to the dtype that the program wants. */
export async function readWeight(
  source: WeightSource,
  { leaf, type }: Value,
  rows?: readonly [start: number, stop: number],
): Promise<Tensor> {
  const tensor = await source.read(leaf?.name ?? "", rows);
  if (tensor.type.dtype === type.dtype) return tensor;
  return Tensor.from({ ...tensor.type, dtype: type.dtype }, tensor.numbers());
}
