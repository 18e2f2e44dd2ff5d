/** The safetensors format: a JSON header of names, types and byte ranges, then the tensors' bytes. */
import { type ByteSink, type ByteSource, fileError, readExactly } from "../../files/bytes.ts";
import {
  byteLength,
  type DType,
  type Shape,
  Tensor,
  type TensorType,
  type WeightSource,
} from "../../ir/index.ts";

const codes: Readonly<Record<string, DType>> = {
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
  I32: "i32",
  U32: "u32",
  BOOL: "bool",
};
const codeOf = new Map(Object.entries(codes).map(([code, dtype]) => [dtype, code]));

/** The format's own limit on headers. */
const maxHeaderBytes = 100_000_000;
const lengthBytes = 8;

interface Entry {
  readonly type: TensorType;
  /** Offset in the file. */
  readonly start: number;
}

/** The tensors of a safetensors file; each is read when asked for. Throws W1 naming the file and the tensor. */
export async function readSafetensors(source: ByteSource): Promise<WeightSource> {
  const prefix = await readExactly(source, 0, lengthBytes, "the header's length");
  const headerBytes = Number(new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true));
  if (headerBytes > maxHeaderBytes)
    throw fileError(source.name, "is not a safetensors file: its header has no sane length");
  const header = await readExactly(source, lengthBytes, headerBytes, "the end of its header");
  const entries = parseHeader(source, header, lengthBytes + headerBytes);
  return {
    tensors: new Map([...entries].map(([name, { type }]) => [name, type])),
    async read(name, rows) {
      const entry = entries.get(name);
      if (!entry) throw fileError(source.name, `has no tensor ${name}`);
      const { type, start } = entry;
      const cut = rows ? { ...type, shape: [rows[1] - rows[0], ...type.shape.slice(1)] } : type;
      const skip = rows ? rows[0] * (byteLength(type) / (type.shape[0] ?? 1)) : 0;
      const bytes = await source.read(start + skip, byteLength(cut));
      return Tensor.fromBytes(cut, bytes);
    },
    close: () => source.close(),
  };
}

function parseHeader(source: ByteSource, bytes: Uint8Array, dataStart: number): Map<string, Entry> {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw fileError(source.name, "is not a safetensors file: its header is not JSON");
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) {
    throw fileError(source.name, "is not a safetensors file: its header is not an object");
  }
  const entries = new Map<string, Entry>();
  for (const [name, value] of Object.entries(header as Record<string, unknown>)) {
    if (name !== "__metadata__") entries.set(name, parseEntry(source, name, value, dataStart));
  }
  checkLayout(source, entries, dataStart);
  return entries;
}

/** The tensors must fill the file after the header, without holes or overlaps. */
function checkLayout(source: ByteSource, entries: ReadonlyMap<string, Entry>, dataStart: number): void {
  // A tensor without elements starts where the next one does, and names come in no order.
  const inOrder = [...entries].toSorted(
    ([, a], [, b]) => a.start - b.start || byteLength(a.type) - byteLength(b.type),
  );
  let end = dataStart;
  for (const [name, { type, start }] of inOrder) {
    if (start !== end)
      throw fileError(source.name, `tensor ${name} must start at byte ${end}; it starts at ${start}`);
    end += byteLength(type);
    if (end > source.size) {
      throw fileError(source.name, `ends before tensor ${name}: needs ${end} bytes, has ${source.size}`);
    }
  }
  if (end !== source.size) throw fileError(source.name, `must end at byte ${end}; it has ${source.size}`);
}

function parseEntry(source: ByteSource, name: string, value: unknown, dataStart: number): Entry {
  const { dtype: code, shape, data_offsets: range } = (value ?? {}) as Record<string, unknown>;
  if (!isSizes(shape) || !isSizes(range) || range.length !== 2) {
    throw fileError(source.name, `tensor ${name} has no shape and data_offsets`);
  }
  const dtype = codes[String(code)];
  if (!dtype)
    throw fileError(
      source.name,
      `tensor ${name} has dtype ${String(code)}; there is ${Object.keys(codes).join(", ")}`,
    );
  const [start = 0, stop = 0] = range;
  const type = { dtype, shape };
  if (stop - start !== byteLength(type)) {
    throw fileError(
      source.name,
      `tensor ${name} of ${byteLength(type)} bytes has data_offsets of ${stop - start}`,
    );
  }
  return { type, start: dataStart + start };
}

const isSizes = (value: unknown): value is Shape =>
  Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);

/** Writes all tensors of `source`, one at a time, in order of name; `onTensor` is told of each. */
export async function writeSafetensors(
  source: WeightSource,
  sink: ByteSink,
  onTensor: (name: string) => void = () => undefined,
): Promise<void> {
  const names = [...source.tensors.keys()].toSorted();
  let offset = 0;
  const header = names.map((name) => {
    const { dtype, shape } = source.tensors.get(name) as TensorType;
    const start = offset;
    offset += byteLength({ dtype, shape });
    return [name, { dtype: codeOf.get(dtype), shape, data_offsets: [start, offset] }];
  });
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  // Readers map the file and want the data aligned; the format allows trailing spaces.
  const padded = new Uint8Array(Math.ceil(json.length / 8) * 8).fill(0x20);
  padded.set(json);
  const prefix = new Uint8Array(lengthBytes);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(padded.length), true);
  await sink(prefix);
  await sink(padded);
  for (const name of names) {
    onTensor(name);
    await sink((await source.read(name)).bytes);
  }
}
