/** Tensors between host and device memory. */
import {
  byteLength,
  CompileError,
  readWeight,
  sameType,
  showType,
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

/** Uploads one shard, part by part, so that little of it is ever in host memory. Throws W4 for a misread tensor. */
export async function uploadShard(
  device: Device,
  memory: Memory,
  source: WeightSource,
  { weight, start, stop }: Shard,
): Promise<Place> {
  const name = weight.leaf?.name ?? "";
  const { dtype, shape } = weight.type;
  const [, ...rest] = shape;
  const entry = sizeOf(rest);
  const place = await memory.take(name, 4 * entry * (stop - start));
  const step = Math.max(1, Math.floor(uploadBytes / Math.max(1, byteLength({ dtype, shape: rest }))));
  for (let at = start; at < stop; at += step) {
    const end = Math.min(at + step, stop);
    const tensor = await readWeight(source, weight, shape.length === 0 ? undefined : [at, end]);
    const want: TensorType = shape.length === 0 ? weight.type : { dtype, shape: [end - at, ...rest] };
    if (!sameType(tensor.type, want)) {
      throw new CompileError("W4", name, `must read as ${showType(want)}; got ${showType(tensor.type)}`);
    }
    upload(device, place, tensor, (at - start) * entry);
    // The queue keeps a copy until the device has taken it.
    if (tensor.data.byteLength >= uploadBytes / 2) await device.gpu.queue.onSubmittedWorkDone();
  }
  return place;
}
