/** The safetensors format: a JSON header of names, types and byte ranges, then the tensors' bytes. */
import { type ByteSink, type ByteSource, fileError, readExactly } from "../../files/bytes.ts";
import { byteLength, type TensorType, type WeightSource } from "../../ir/index.ts";
import { partsOf } from "./parts.ts";
import { type Encoding, encodings, isSizes, type Stored, storedBytes, storedSource } from "./stored.ts";

/** The format's codes of element types: those that parameters have, by NumPy's name, and the bytes of the others. */
const codes: Readonly<Record<string, string | number>> = {
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
  F64: "float64",
  I32: "int32",
  U32: "uint32",
  BOOL: "bool",
  I64: 8,
  U64: 8,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
};
const codeOf = new Map(
  Object.entries(codes).flatMap(([code, name]) => {
    const encoding = encodings[name];
    return encoding && code !== "F64" ? [[encoding.dtype, code]] : [];
  }),
);

/** The format's own limit on headers. */
const maxHeaderBytes = 100_000_000;
const lengthBytes = 8;

interface Entry {
  readonly name: string;
  readonly shape: readonly number[];
  /** Of elements that parameters have. */
  readonly encoding: Encoding | undefined;
  /** Byte range in the file. */
  readonly start: number;
  readonly stop: number;
}

/** What a writer notes beside the tensors, by name. */
export type Metadata = Readonly<Record<string, string>>;

export interface SafetensorsFile extends WeightSource {
  readonly metadata: Metadata;
}

/**
 * The tensors of a safetensors file; each is read when asked for, one of a type that no parameter has is passed over.
 * Throws W1 naming the file and the tensor.
 */
export async function readSafetensors(source: ByteSource): Promise<SafetensorsFile> {
  const prefix = await readExactly(source, 0, lengthBytes, "the header's length");
  const headerBytes = Number(new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true));
  if (headerBytes > maxHeaderBytes)
    throw fileError(source.name, "is not a safetensors file: its header has no sane length");
  const header = await readExactly(source, lengthBytes, headerBytes, "the end of its header");
  const { entries, metadata } = parseHeader(source, header, lengthBytes + headerBytes);
  const stored = entries.flatMap(({ name, shape, encoding, start }): [string, Stored][] =>
    encoding
      ? [[name, { shape, encoding, read: (first, length) => source.read(start + first, length) }]]
      : [],
  );
  return { ...storedSource(source, new Map(stored)), metadata };
}

interface Header {
  readonly entries: readonly Entry[];
  readonly metadata: Metadata;
}

function parseHeader(source: ByteSource, bytes: Uint8Array, dataStart: number): Header {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw fileError(source.name, "is not a safetensors file: its header is not JSON");
  }
  if (!isObject(header)) {
    throw fileError(source.name, "is not a safetensors file: its header is not an object");
  }
  const { __metadata__: metadata, ...tensors } = header;
  const entries = Object.entries(tensors).map(([name, value]) => parseEntry(source, name, value, dataStart));
  checkLayout(source, entries, dataStart);
  const notes = Object.entries(isObject(metadata) ? metadata : {});
  const texts = notes.filter((note): note is [string, string] => typeof note[1] === "string");
  return { entries, metadata: Object.fromEntries(texts) };
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The tensors must fill the file after the header, without holes or overlaps. */
function checkLayout(source: ByteSource, entries: readonly Entry[], dataStart: number): void {
  // A tensor without elements starts where the next one does, and names come in no order.
  const inOrder = entries.toSorted((a, b) => a.start - b.start || a.stop - b.stop);
  let end = dataStart;
  for (const { name, start, stop } of inOrder) {
    if (start !== end)
      throw fileError(source.name, `tensor ${name} must start at byte ${end}; it starts at ${start}`);
    end = stop;
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
  const element = Object.hasOwn(codes, String(code)) ? codes[String(code)] : undefined;
  if (element === undefined)
    throw fileError(
      source.name,
      `tensor ${name} has dtype ${String(code)}; there is ${Object.keys(codes).join(", ")}`,
    );
  const encoding = typeof element === "string" ? encodings[element] : undefined;
  const bytes = storedBytes(shape, encoding?.bytes ?? Number(element));
  const [start = 0, stop = 0] = range;
  if (stop - start !== bytes) {
    throw fileError(
      source.name,
      `tensor ${name} of ${bytes ?? "countless"} bytes has data_offsets of ${stop - start}`,
    );
  }
  return { name, shape, encoding, start: dataStart + start, stop: dataStart + stop };
}

/** How `writeSafetensors` writes. */
export interface WriteOptions {
  readonly metadata?: Metadata;
  /** Told of the share that is written, and of the tensor that is next. */
  readonly onProgress?: (done: number, name: string) => void;
}

/** Writes all tensors of `source`, a part of one at a time, in order of name. */
export async function writeSafetensors(
  source: WeightSource,
  sink: ByteSink,
  { metadata, onProgress }: WriteOptions = {},
): Promise<void> {
  const names = [...source.tensors.keys()].toSorted();
  let offset = 0;
  const header = names.map((name) => {
    const { dtype, shape } = source.tensors.get(name) as TensorType;
    const start = offset;
    offset += byteLength({ dtype, shape });
    return [name, { dtype: codeOf.get(dtype), shape, data_offsets: [start, offset] }];
  });
  const notes = metadata && Object.keys(metadata).length > 0 ? [["__metadata__", metadata]] : [];
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries([...notes, ...header])));
  // Readers map the file and want the data aligned; the format allows trailing spaces.
  const padded = new Uint8Array(Math.ceil(json.length / 8) * 8).fill(0x20);
  padded.set(json);
  const prefix = new Uint8Array(lengthBytes);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(padded.length), true);
  await sink(prefix);
  await sink(padded);
  let written = 0;
  for (const name of names) {
    for (const rows of partsOf(source.tensors.get(name) as TensorType)) {
      onProgress?.(written / offset, name);
      const { bytes } = await source.read(name, rows);
      await sink(bytes);
      written += bytes.length;
    }
  }
}
