/** NumPy's .npy files of float32, as inputs and outputs. */
import { readFile } from "node:fs/promises";

import { fileError } from "../files/bytes.ts";
import { writeFileAtomically } from "../files/disk.ts";
import { sizeOf, Tensor } from "../ir/index.ts";
import { npyHeader, npyHeaderRange, parseNpyHeader } from "../models/weights/npy.ts";

/** The array in the file at `path`. Throws W1 for what is not a C-ordered float32 array of finite numbers. */
export async function readNpy(path: string): Promise<Tensor> {
  const file = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw fileError(path, error.code === "ENOENT" ? "no such file" : `cannot be read (${error.code})`);
  });
  const tensor = parseNpy(path, new Uint8Array(file));
  if (!tensor.numbers().every(Number.isFinite)) throw fileError(path, "has a NaN or an infinity");
  return tensor;
}

function parseNpy(path: string, bytes: Uint8Array): Tensor {
  const [start, stop] = npyHeaderRange(path, bytes);
  if (stop > bytes.length) throw fileError(path, "ends inside its header");
  const { descr, fortranOrder, shape } = parseNpyHeader(path, bytes.subarray(start, stop));
  if (descr !== "<f4") throw fileError(path, `must be float32 (<f4); it is ${descr}`);
  if (fortranOrder) throw fileError(path, "must be in C order; it is in Fortran order");
  const data = bytes.subarray(stop);
  if (data.length !== 4 * sizeOf(shape)) {
    throw fileError(
      path,
      `must hold [${shape.join(", ")}], ${4 * sizeOf(shape)} bytes; it holds ${data.length}`,
    );
  }
  return Tensor.fromBytes({ dtype: "f32", shape }, data);
}

/** Writes an f32 tensor; nothing is left under the name when writing fails. */
export const writeNpy = (path: string, { type, bytes }: Tensor): Promise<void> =>
  writeFileAtomically(path, async (sink) => {
    await sink(npyHeader(type.shape));
    await sink(bytes);
  });
