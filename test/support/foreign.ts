/** Weights of ours as other sources name and lay them out, and files of them in the formats that others write. */
import { deflateRawSync } from "node:zlib";

import { encode, ExtData } from "@msgpack/msgpack";

import { type Shape, sizeOf, stridesOf, Tensor, type WeightSource } from "../../ir/index.ts";
import { npyHeader } from "../../models/weights/npy.ts";
import type { Source } from "../../models/weights/sources/source.ts";

type Tensors = ReadonlyMap<string, Tensor>;

/** Which of our axes each of theirs is. */
const layouts = { "[out, in]": [1, 0], "[out, channels, y, x]": [3, 2, 0, 1] } as const;

function transposed({ type, data }: Tensor, axes: readonly number[]): Tensor {
  const shape = axes.map((axis) => type.shape[axis]!);
  const [ours, theirs] = [stridesOf(type.shape), stridesOf(shape)];
  const turned = data.slice();
  for (let flat = 0; flat < turned.length; flat++) {
    const from = axes.map((axis, i) => (Math.floor(flat / theirs[i]!) % shape[i]!) * ours[axis]!);
    turned[flat] = data[from.reduce((a, b) => a + b)]!;
  }
  return new Tensor({ ...type, shape }, turned);
}

/** Heads and their width as one axis, as everyone but Flax has them. */
function joined(name: string, { type: { dtype, shape }, data }: Tensor): Tensor {
  if (!name.includes("SelfAttention") || shape.length === 1) return new Tensor({ dtype, shape }, data);
  const at = shape.length === 2 || name.includes("/out/") ? 0 : 1;
  return new Tensor({ dtype, shape: shape.toSpliced(at, 2, shape[at]! * shape[at + 1]!) }, data);
}

/** The tensors of a file of `source`'s that holds `weights`. */
export async function savedBy({ rows }: Source, weights: WeightSource): Promise<Map<string, Tensor>> {
  const parts = new Map<string, Tensor[]>();
  for (const name of weights.tensors.keys()) {
    const tensor = await weights.read(name);
    const found = rows.flatMap(([theirs, ours, layout]) => {
      const alternatives = /\{(.*)\}/.exec(ours)?.[1]?.split(",") ?? [];
      for (const [i, part] of [...alternatives.entries(), [0, ""] as const].slice(
        0,
        Math.max(1, alternatives.length),
      )) {
        const pattern = ours
          .replace(/\{.*\}/, part)
          .replace("*", "(\\d+)")
          .replace(/\.\.\.$/, "(.+)");
        const kept = new RegExp(`^${pattern}$`).exec(name)?.slice(1);
        if (!kept) continue;
        const first = theirs.replace(/\{([^,}]*)[^}]*\}/g, "$1");
        return [{ i, layout, called: first.replace(/\*|\.\.\.$/g, () => kept.shift()!) }];
      }
      return [];
    })[0];
    if (!found) {
      parts.set(name, [tensor]);
      continue;
    }
    const { i, layout, called } = found;
    const list = parts.get(called) ?? [];
    const joins = rows.some(([, , other]) => other !== undefined);
    const flat = joins ? joined(name, tensor) : tensor;
    list[i] = layout ? transposed(flat, layouts[layout]) : flat;
    parts.set(called, list);
  }
  return new Map([...parts].map(([name, list]) => [name, concatenated(list)]));
}

function concatenated(tensors: readonly Tensor[]): Tensor {
  const [first] = tensors;
  if (tensors.length === 1) return first!;
  const { dtype, shape } = first!.type;
  const whole = { dtype, shape: [shape[0]! * tensors.length, ...shape.slice(1)] };
  return Tensor.fromBytes(whole, new Uint8Array(Buffer.concat(tensors.map(({ bytes }) => bytes))));
}

/** `tensors` as a source of weights. */
export const sourceOf = (tensors: Tensors): WeightSource => ({
  tensors: new Map([...tensors].map(([name, { type }]) => [name, type])),
  read: (name, rows) => {
    const { type, data } = tensors.get(name)!;
    if (!rows) return Promise.resolve(tensors.get(name)!);
    const size = sizeOf(type.shape.slice(1));
    const cut = { ...type, shape: [rows[1] - rows[0], ...type.shape.slice(1)] };
    return Promise.resolve(new Tensor(cut, data.slice(rows[0] * size, rows[1] * size)));
  },
  close: () => Promise.resolve(),
});

/** A member of a zip archive: where it lies is the writer's. */
export interface ZipEntry {
  readonly name: string;
  readonly method: 0 | 8;
  readonly compressed: number;
  readonly size: number;
  readonly offset: number;
}

const littleEndian = (...fields: readonly (readonly [bytes: number, value: number])[]): Buffer =>
  Buffer.concat(
    fields.map(([bytes, value]) => {
      const buffer = Buffer.alloc(8);
      buffer.writeBigUInt64LE(BigInt(value));
      return buffer.subarray(0, bytes);
    }),
  );

/** What stands before a member. */
export const zipLocal = ({ name, method, compressed, size }: ZipEntry): Buffer =>
  Buffer.concat([
    littleEndian([4, 0x04034b50], [2, 45], [2, 0], [2, method], [4, 0x21 * 65536], [4, 0]),
    littleEndian(
      [4, Math.min(compressed, 2 ** 32 - 1)],
      [4, Math.min(size, 2 ** 32 - 1)],
      [2, name.length],
      [2, 0],
    ),
    Buffer.from(name),
  ]);

/** The directory of an archive that has `before` bytes already, with zip64 records throughout. */
export function zipDirectory(entries: readonly ZipEntry[], before: number): Buffer {
  const all = Buffer.concat(
    entries.map(({ name, method, compressed, size, offset }) =>
      Buffer.concat([
        littleEndian([4, 0x02014b50], [2, 45], [2, 45], [2, 0], [2, method], [4, 0x21 * 65536], [4, 0]),
        littleEndian(
          [4, 2 ** 32 - 1],
          [4, 2 ** 32 - 1],
          [2, name.length],
          [2, 28],
          [2, 0],
          [4, 0],
          [4, 0],
          [4, 2 ** 32 - 1],
        ),
        Buffer.from(name),
        littleEndian([2, 1], [2, 24], [8, size], [8, compressed], [8, offset]),
      ]),
    ),
  );
  const end = before + all.length;
  return Buffer.concat([
    all,
    littleEndian([4, 0x06064b50], [8, 44], [2, 45], [2, 45], [4, 0], [4, 0]),
    littleEndian([8, entries.length], [8, entries.length], [8, all.length], [8, before]),
    littleEndian([4, 0x07064b50], [4, 0], [8, end], [4, 1]),
    littleEndian(
      [4, 0x06054b50],
      [4, 0],
      [2, 0xffff],
      [2, 0xffff],
      [4, 2 ** 32 - 1],
      [4, 2 ** 32 - 1],
      [2, 0],
    ),
  ]);
}

/** An .npz of float32 tensors. */
export function npz(tensors: Tensors, deflated: boolean): Uint8Array {
  const parts: Buffer[] = [];
  const entries: ZipEntry[] = [];
  let offset = 0;
  for (const [name, { type, bytes }] of tensors) {
    const plain = Buffer.concat([npyHeader(type.shape), bytes]);
    const data = deflated ? deflateRawSync(plain, { level: 1 }) : plain;
    const sizes = { compressed: data.length, size: plain.length };
    const entry = { name: `${name}.npy`, method: deflated ? 8 : 0, ...sizes, offset } as const;
    const local = zipLocal(entry);
    parts.push(local, data);
    entries.push(entry);
    offset += local.length + data.length;
  }
  return new Uint8Array(Buffer.concat([...parts, zipDirectory(entries, offset)]));
}

const packed = (shape: Shape, bytes: Uint8Array): ExtData =>
  new ExtData(1, encode([shape, "float32", bytes]));

const numbered = (values: readonly unknown[]): Record<string, unknown> =>
  Object.fromEntries(values.entries());

/** An array in pieces of `chunk` elements. */
const inPieces = ({ type, bytes }: Tensor, chunk: number): Record<string, unknown> => ({
  __msgpack_chunked_array__: true,
  shape: numbered(type.shape),
  chunks: numbered(
    Array.from({ length: Math.ceil(sizeOf(type.shape) / chunk) }, (_, i) => {
      const part = bytes.subarray(4 * chunk * i, 4 * chunk * (i + 1));
      return packed([part.length / 4], part);
    }),
  ),
});

/** Flax's msgpack of float32 tensors, those of more than `chunk` elements in pieces. */
export function flax(tensors: Tensors, chunk: number = 2 ** 28): Uint8Array {
  const tree: Record<string, unknown> = {};
  for (const [name, tensor] of tensors) {
    const path = name.split("/");
    let node = tree;
    for (const key of path.slice(0, -1)) node = (node[key] ??= {}) as Record<string, unknown>;
    const { type, bytes } = tensor;
    node[path.at(-1)!] = sizeOf(type.shape) > chunk ? inPieces(tensor, chunk) : packed(type.shape, bytes);
  }
  return encode(tree);
}
