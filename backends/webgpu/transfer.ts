/** Tensors as the device stores them: four bytes an element, or two elements in four bytes. */
import { sizeOf, Tensor, type TensorType, type Value } from "../../ir/index.ts";
import type { HostArray } from "../../runtime/program.ts";

/** Every dtype takes four bytes an element on the device, but for what is packed. */
export const deviceBytes = ({ shape }: TensorType): number => 4 * sizeOf(shape);

/** Whether elements lie packed, two in a word, the first in its lower half: those of a float16 weight. */
export const isPacked = ({ leaf, type }: Value): boolean => leaf?.kind === "weight" && type.dtype === "f16";

/** Bytes of `elements` elements of a weight of `dtype`, in whole words. */
export const weightBytesOf = (dtype: TensorType["dtype"], elements: number): number =>
  4 * (dtype === "f16" ? Math.ceil(elements / 2) : elements);

/** The elements of `tensor`, an input, as the device stores them. */
export function deviceData(tensor: Tensor): HostArray {
  const { data } = tensor;
  if (data instanceof Uint8Array) return Uint32Array.from(data);
  return data instanceof Uint16Array ? (tensor.numbers() as Float32Array) : data;
}

/** The elements of `tensor`, entries of a weight, as the device stores them, in whole words. */
export function weightData(tensor: Tensor): HostArray | Uint16Array {
  const { data, type } = tensor;
  if (type.dtype !== "f16" || !(data instanceof Uint16Array)) return deviceData(tensor);
  if (data.length % 2 === 0) return data;
  const padded = new Uint16Array(data.length + 1);
  padded.set(data);
  return padded;
}

/** The tensor of `type` whose elements the device has stored as `data`. */
export const fromDevice = (type: TensorType, data: HostArray): Tensor =>
  type.dtype === "f32" || type.dtype === "i32" || type.dtype === "u32"
    ? new Tensor(type, data)
    : Tensor.from(type, data);
