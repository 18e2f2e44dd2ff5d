/** Tensors as the device stores them: four bytes an element. */
import { sizeOf, Tensor, type TensorType } from "../../ir/index.ts";
import type { HostArray } from "../../runtime/program.ts";

/** Every dtype takes four bytes an element on the device. */
export const deviceBytes = ({ shape }: TensorType): number => 4 * sizeOf(shape);

/** The elements of `tensor` as the device stores them. */
export function deviceData(tensor: Tensor): HostArray {
  const { data } = tensor;
  if (data instanceof Uint8Array) return Uint32Array.from(data);
  return data instanceof Uint16Array ? (tensor.numbers() as Float32Array) : data;
}

/** The tensor of `type` whose elements the device has stored as `data`. */
export const fromDevice = (type: TensorType, data: HostArray): Tensor =>
  type.dtype === "f32" || type.dtype === "i32" || type.dtype === "u32"
    ? new Tensor(type, data)
    : Tensor.from(type, data);
