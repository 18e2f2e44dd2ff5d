/** Where the tensors behind a program's weight leaves come from. */
import { CompileError } from "./error.ts";
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

/**
 * The tensor behind a weight of a program, or those rows of it, rounded to the dtype that the program wants. Throws W3
 * for a number that is too large for it.
 */
export async function readWeight(
  source: WeightSource,
  { leaf, type }: Value,
  rows?: readonly [start: number, stop: number],
): Promise<Tensor> {
  const tensor = await source.read(leaf?.name ?? "", rows);
  if (tensor.type.dtype === type.dtype) return tensor;
  const numbers = tensor.numbers();
  const rounded = Tensor.from({ ...tensor.type, dtype: type.dtype }, numbers);
  const lost = lostIn(rounded, numbers);
  if (lost === undefined) return rounded;
  throw new CompileError("W3", leaf?.name ?? "", `has ${lost}, too large for ${type.dtype}`);
}

/** The bits of infinity, without the sign, in the types that are held as bits. */
const infinities: Readonly<Record<string, number>> = { f16: 0x7c00, bf16: 0x7f80 };

/** A finite one of `numbers` that is infinite in `rounded`; undefined where there is none. */
export function lostIn({ data, type }: Tensor, numbers: ArrayLike<number>): number | undefined {
  const infinity = infinities[type.dtype];
  if (!(data instanceof Uint16Array) || infinity === undefined) return undefined;
  for (let i = 0; i < data.length; i++) {
    if (((data[i] ?? 0) & 0x7fff) === infinity && Number.isFinite(numbers[i])) return numbers[i];
  }
  return undefined;
}
