/** Tensors between host and device memory. */
import {
  byteLength,
  sizeOf,
  Tensor,
  type TensorType,
  type Value,
  type WeightSource,
} from "../../ir/index.ts";
import type { Device } from "./device.ts";
import type { Shard } from "./kernel.ts";
import type { Memory, Place } from "./memory.ts";

/** Every dtype takes four bytes an element on the device. */
export const deviceBytes = ({ shape }: TensorType): number => 4 * sizeOf(shape);

/** How much of a weight is in host memory at once. */
const uploadBytes = 32 * 2 ** 20;

/** The elements of `tensor` as the device stores them. */
function deviceData(tensor: Tensor): Float32Array | Int32Array | Uint32Array {
  const { data } = tensor;
  if (data instanceof Uint8Array) return Uint32Array.from(data);
  return data instanceof Uint16Array ? (tensor.numbers() as Float32Array) : data;
}

/** Writes `tensor` at element `offset` of `place`. */
export function upload(device: Device, { buffer }: Place, tensor: Tensor, offset = 0): void {
  const data = deviceData(tensor);
  device.gpu.queue.writeBuffer(buffer, 4 * offset, data.buffer, data.byteOffset, data.byteLength);
}

/** The tensor of `type` in device bytes. */
export function fromDevice(type: TensorType, bytes: ArrayBuffer): Tensor {
  if (type.dtype === "f32") return new Tensor(type, new Float32Array(bytes));
  if (type.dtype === "i32") return new Tensor(type, new Int32Array(bytes));
  if (type.dtype === "u32") return new Tensor(type, new Uint32Array(bytes));
  return Tensor.from(type, type.dtype === "bool" ? new Uint32Array(bytes) : new Float32Array(bytes));
}

/** How a weight is cut along its first axis so that each part can be bound. */
export function shardsOf(weight: Value, bindingBytes: number): Shard[] {
  const [entries = 1] = weight.type.shape;
  const entryBytes = deviceBytes(weight.type) / entries;
  const most = Math.max(1, Math.floor(bindingBytes / entryBytes));
  return Array.from({ length: Math.ceil(entries / most) }, (_, index) => ({
    weight,
    index,
    start: index * most,
    stop: Math.min(entries, (index + 1) * most),
  }));
}

/** Uploads one shard, part by part, so that little of it is ever in host memory. */
export async function uploadShard(
  device: Device,
  memory: Memory,
  source: WeightSource,
  shard: Shard,
): Promise<Place> {
  const { weight, start, stop } = shard;
  const name = weight.leaf?.name ?? "";
  const { shape } = weight.type;
  if (shape.length === 0) {
    const scalar = await memory.take(name, deviceBytes(weight.type));
    upload(device, scalar, await source.read(name));
    return scalar;
  }
  const entry = sizeOf(shape.slice(1));
  const place = await memory.take(name, 4 * entry * (stop - start));
  const step = Math.max(
    1,
    Math.floor(uploadBytes / Math.max(1, byteLength({ ...weight.type, shape: shape.slice(1) }))),
  );
  for (let at = start; at < stop; at += step) {
    const tensor = await source.read(name, [at, Math.min(at + step, stop)]);
    upload(device, place, tensor, (at - start) * entry);
    // The queue keeps a copy until the device has taken it.
    if (tensor.data.byteLength >= uploadBytes / 2) await device.gpu.queue.onSubmittedWorkDone();
  }
  return place;
}
