/** NumPy's .npy files of float32, as inputs and outputs. Source: NumPy's format specification, numpy.lib.format. */
import { readFile } from "node:fs/promises";

import { fileError } from "../files/bytes.ts";
import { writeFileAtomically } from "../files/disk.ts";
import { sizeOf, Tensor } from "../ir/index.ts";

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

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
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12 || magic.some((byte, i) => bytes[i] !== byte))
    throw fileError(path, "is not a .npy file");
  const wide = (bytes[6] ?? 0) > 1;
  const start = wide ? 12 : 10;
  const headerBytes = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  if (start + headerBytes > bytes.length) throw fileError(path, "ends inside its header");
  const header = new TextDecoder().decode(bytes.subarray(start, start + headerBytes));
  const dtype = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const order = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  const sizes = /'shape':\s*\(([\d,\s]*)\)/.exec(header)?.[1];
  if (dtype === undefined || order === undefined || sizes === undefined)
    throw fileError(path, "has a corrupt header");
  if (dtype !== "<f4") throw fileError(path, `must be float32 (<f4); it is ${dtype}`);
  if (order === "True") throw fileError(path, "must be in C order; it is in Fortran order");
  const shape = (sizes.match(/\d+/g) ?? []).map(Number);
  const data = bytes.subarray(start + headerBytes);
  if (data.length !== 4 * sizeOf(shape)) {
    throw fileError(
      path,
      `must hold [${shape.join(", ")}], ${4 * sizeOf(shape)} bytes; it holds ${data.length}`,
    );
  }
  return Tensor.fromBytes({ dtype: "f32", shape }, data);
}

/** Writes an f32 tensor; nothing is left under the name when writing fails. */
export function writeNpy(path: string, { type, bytes }: Tensor): Promise<void> {
  const shape = type.shape.length === 1 ? `${type.shape[0]},` : type.shape.join(", ");
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape}), }`;
  const prefix = 10;
  // The format wants the data aligned to 64 bytes and the header to end in a line feed.
  const length = Math.ceil((prefix + text.length + 1) / 64) * 64 - prefix;
  const head = new Uint8Array(prefix + length).fill(0x20);
  head.set([...magic, 1, 0, length & 0xff, length >> 8]);
  head.set(new TextEncoder().encode(text), prefix);
  head[head.length - 1] = 0x0a;
  return writeFileAtomically(path, async (sink) => {
    await sink(head);
    await sink(bytes);
  });
}
