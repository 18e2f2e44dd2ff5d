/** Weights in another float type, converted as they are read. */
import { CompileError, type DType, Tensor, type TensorType, type WeightSource } from "../../ir/index.ts";
import { lostIn } from "../../ir/weights.ts";

const floats: readonly DType[] = ["f32", "f16", "bf16"];

/** What floats may become. */
export type FloatType = "f32" | "f16" | "bf16";

/**
 * `source`, which errors call `name`, with its floats rounded to `dtype`, to the nearest and to even between two.
 * Reading throws W3 for a number that is too large for it.
 */
export function castTo(source: WeightSource, dtype: FloatType, name: string): WeightSource {
  const cast = (type: TensorType): TensorType => (floats.includes(type.dtype) ? { ...type, dtype } : type);
  return {
    tensors: new Map([...source.tensors].map(([tensor, type]) => [tensor, cast(type)])),
    async read(tensor, rows) {
      const read = await source.read(tensor, rows);
      const type = cast(read.type);
      if (type.dtype === read.type.dtype) return read;
      const numbers = read.numbers();
      const rounded = Tensor.from(type, numbers);
      const lost = lostIn(rounded, numbers);
      if (lost === undefined) return rounded;
      throw new CompileError("W3", name, `tensor ${tensor} has ${lost}, too large for ${dtype}`);
    },
    close: () => source.close(),
  };
}
