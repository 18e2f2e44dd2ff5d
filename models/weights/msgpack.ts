/** A walk over a msgpack file that never reads the payloads it passes over; files may be gigabytes. */
import { type ByteSource, fileError, readExactly } from "../../files/bytes.ts";

/** What stands at one place of a file: a container with its number of entries, or a payload with its bytes. */
export interface Item {
  readonly kind: "map" | "array" | "string" | "binary" | "extension" | "scalar";
  /** Pairs of a map, entries of an array, or bytes of a payload. */
  readonly length: number;
  /** Where entries or payload begin. */
  readonly start: number;
  /** The application's type of an extension. */
  readonly extension: number;
}

const windowBytes = 4096;
const longestHeader = 9;

/** Heads by their first byte, for those that a table describes: kind and bytes of the length that follows. */
const sized: ReadonlyMap<number, readonly [Item["kind"], number]> = new Map([
  [0xc4, ["binary", 1]],
  [0xc5, ["binary", 2]],
  [0xc6, ["binary", 4]],
  [0xc7, ["extension", 1]],
  [0xc8, ["extension", 2]],
  [0xc9, ["extension", 4]],
  [0xd9, ["string", 1]],
  [0xda, ["string", 2]],
  [0xdb, ["string", 4]],
  [0xdc, ["array", 2]],
  [0xdd, ["array", 4]],
  [0xde, ["map", 2]],
  [0xdf, ["map", 4]],
]);

/** Payload bytes of scalars by first byte: nil and booleans, floats, unsigned and signed integers. */
const scalars: ReadonlyMap<number, number> = new Map([
  [0xc0, 0],
  [0xc2, 0],
  [0xc3, 0],
  [0xca, 4],
  [0xcb, 8],
  [0xcc, 1],
  [0xcd, 2],
  [0xce, 4],
  [0xcf, 8],
  [0xd0, 1],
  [0xd1, 2],
  [0xd2, 4],
  [0xd3, 8],
]);

/** Containers within containers at most; what people save has about ten. */
export const deepest = 64;

/** Reads heads at any place of a file through a small window. Throws W1 where the bytes are not msgpack. */
export class MsgpackWalker {
  readonly #source: ByteSource;
  #window = new Uint8Array();
  #windowStart = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  /** The item whose head is at `offset`. */
  async item(offset: number): Promise<Item> {
    const bytes = await this.bytes(offset, Math.min(longestHeader, this.#source.size - offset), "a value");
    return itemAt(this.#source.name, this.#source.size, offset, bytes);
  }

  /** The offset after `item` and all that it contains. */
  async after(item: Item): Promise<number> {
    let [last, pending] = [item, 1];
    for (;;) {
      const offset = last.start + (isContainer(last) ? 0 : last.length);
      pending += entriesOf(last) - 1;
      if (pending === 0) return offset;
      last = await this.item(offset);
    }
  }

  /** The text of a string. */
  async text({ start, length }: Item): Promise<string> {
    return new TextDecoder().decode(await this.bytes(start, length, "a name"));
  }

  /** A packed array `[shape, dtype, bytes]` without its elements; undefined where `item` is none. */
  async array(item: Item): Promise<PackedArray | undefined> {
    const fields = await this.item(item.start);
    if (fields.kind !== "array" || fields.length !== 3) return undefined;
    const sizes = await this.item(fields.start);
    if (sizes.kind !== "array" || sizes.length > deepest) return undefined;
    const shape: number[] = [];
    let offset = sizes.start;
    for (let axis = 0; axis < sizes.length; axis++) {
      const size = await this.item(offset);
      const value = await this.count(size, offset);
      if (value === undefined) return undefined;
      shape.push(value);
      offset = size.start + size.length;
    }
    const dtype = await this.item(offset);
    if (dtype.kind !== "string" && dtype.kind !== "binary") return undefined;
    const payload = await this.item(dtype.start + dtype.length);
    if (payload.kind !== "binary") return undefined;
    return { shape, dtype: await this.text(dtype), piece: { start: payload.start, length: payload.length } };
  }

  /** The integer of at least 0 whose head is at `head`; undefined where `item` is none. */
  async count(item: Item, head: number): Promise<number | undefined> {
    if (item.kind !== "scalar") return undefined;
    const [first = 0] = await this.bytes(head, 1, "a number");
    if (first < 0x80) return first;
    if (first < 0xcc || first > 0xcf) return undefined;
    const bytes = await this.bytes(item.start, item.length, "a number");
    return bytes.reduce((n, byte) => n * 256 + byte, 0);
  }

  /** Some bytes of the file; small ranges come from the window. */
  async bytes(offset: number, length: number, what: string): Promise<Uint8Array> {
    const inside = offset - this.#windowStart;
    if (inside < 0 || inside + length > this.#window.length) {
      const want = Math.max(length, Math.min(windowBytes, this.#source.size - offset));
      this.#window = new Uint8Array(await readExactly(this.#source, offset, want, what));
      this.#windowStart = offset;
    }
    const start = offset - this.#windowStart;
    return this.#window.subarray(start, start + length);
  }
}

const isContainer = ({ kind }: Item): boolean => kind === "map" || kind === "array";

/** Items in a container; 0 of a payload. */
const entriesOf = ({ kind, length }: Item): number =>
  kind === "map" ? 2 * length : kind === "array" ? length : 0;

/** The item at `offset` of a file of `size` bytes, whose head is in `bytes`. */
function itemAt(name: string, size: number, offset: number, bytes: Uint8Array): Item {
  const [head = 0xc1] = bytes;
  const at = (kind: Item["kind"], length: number, header = 1, extension = 0): Item => {
    const start = offset + header;
    const item: Item = { kind, length, start, extension };
    // An entry of a container has a byte at least.
    if (start + (isContainer(item) ? entriesOf(item) : length) > size) {
      throw fileError(name, `ends inside the ${kind} of ${length} at byte ${offset}`);
    }
    return item;
  };
  if (head < 0x80 || head >= 0xe0) return at("scalar", 0);
  if (head < 0x90) return at("map", head & 0x0f);
  if (head < 0xa0) return at("array", head & 0x0f);
  if (head < 0xc0) return at("string", head & 0x1f);
  const scalar = scalars.get(head);
  if (scalar !== undefined) return at("scalar", scalar);
  if (head >= 0xd4 && head <= 0xd8) return at("extension", 2 ** (head - 0xd4), 2, bytes[1]);
  const [kind, width] = sized.get(head) ?? [];
  if (!kind || !width) throw fileError(name, `is not msgpack at byte ${offset}`);
  const length = bytes.subarray(1, 1 + width).reduce((n, byte) => n * 256 + byte, 0);
  return kind === "extension" ? at(kind, length, 2 + width, bytes[1 + width]) : at(kind, length, 1 + width);
}

/**
 * Throws W1 naming `name` where `bytes` are not one msgpack value whose containers hold no more than there is and lie no
 * deeper than `deepest`, so that decoding it takes memory of their own size.
 */
export function checkMsgpack(name: string, bytes: Uint8Array): void {
  // Items that are still to come in each container that is open.
  const open: number[] = [1];
  let pending = 1;
  let offset = 0;
  while (open.length > 0) {
    const left = open.pop() ?? 0;
    if (left === 0) continue;
    open.push(left - 1);
    const item = itemAt(name, bytes.length, offset, bytes.subarray(offset, offset + longestHeader));
    const entries = entriesOf(item);
    pending += entries - 1;
    offset = item.start + (isContainer(item) ? 0 : item.length);
    if (entries > 0) open.push(entries);
    if (open.length > deepest) throw fileError(name, `has more than ${deepest} containers within each other`);
    if (pending > bytes.length - offset) throw fileError(name, "ends inside a container");
  }
  if (offset !== bytes.length) throw fileError(name, `must end at byte ${offset}; it has ${bytes.length}`);
}

/** A range of a file. */
export interface Piece {
  readonly start: number;
  readonly length: number;
}

/** An array as Flax and V-MoE pack it. */
export interface PackedArray {
  readonly shape: readonly number[];
  readonly dtype: string;
  /** Where its elements lie. */
  readonly piece: Piece;
}

/** Bytes `first .. first + length - 1` of the concatenation of `pieces`. */
export async function readPieces(
  file: ByteSource,
  pieces: readonly Piece[],
  first: number,
  length: number,
): Promise<Uint8Array> {
  const whole = pieces.length === 1 && pieces[0];
  if (whole) return readExactly(file, whole.start + first, length, "an array");
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    const start = Math.max(first - at, 0);
    const stop = Math.min(first + length - at, piece.length);
    if (start < stop)
      bytes.set(await readExactly(file, piece.start + start, stop - start, "an array"), at + start - first);
    at += piece.length;
  }
  return bytes;
}
