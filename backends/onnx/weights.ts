/** The tensors that a program's weights become in a file, read and written part by part. */
import { byteLength, type Shape, sizeOf, Tensor, type Value, type WeightSource } from "../../ir/index.ts";
import { outsideOf } from "./operator.ts";
import { type Element, elementBytes } from "./proto.ts";

/** A tensor of the file that is made of a weight when the file is written. */
export interface WeightTensor {
  readonly name: string;
  readonly element: Element;
  readonly shape: Shape;
  readonly bytes: number;
  /** Its bytes in order, read part by part. */
  parts(source: WeightSource): AsyncIterable<Uint8Array>;
}

/** At most this many bytes of a weight are held at once, where its first axis can be cut. */
const partBytes = 2 ** 24;

/** The tensor of a weight, under the weight's name. */
export function weightTensor({ leaf, type }: Value): WeightTensor {
  const name = leaf?.name ?? "";
  const { dtype, shape } = type;
  const element = outsideOf[dtype];
  return {
    name,
    element,
    shape,
    bytes: sizeOf(shape) * elementBytes[element],
    async *parts(source) {
      for (const rows of cuts(shape, byteLength(type))) {
        const tensor = await source.read(name, rows);
        // A bfloat16 weight is held as the float32 that it stands for.
        yield dtype === "bf16"
          ? Tensor.from({ ...tensor.type, dtype: "f32" }, tensor.numbers()).bytes
          : tensor.bytes;
      }
    },
  };
}

/** Ranges of the first axis, of about `partBytes` each; one of everything where there is no axis. */
function cuts(shape: Shape, bytes: number): ([number, number] | undefined)[] {
  const [entries] = shape;
  if (entries === undefined || bytes <= partBytes) return [undefined];
  const step = Math.max(1, Math.floor((partBytes * entries) / bytes));
  return Array.from({ length: Math.ceil(entries / step) }, (_, i) => [
    i * step,
    Math.min(entries, (i + 1) * step),
  ]);
}
