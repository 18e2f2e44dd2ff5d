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
    const [head = 0xc1] = bytes;
    const at = (kind: Item["kind"], length: number, header = 1, extension = 0): Item => {
      const start = offset + header;
      if (kind !== "map" && kind !== "array" && start + length > this.#source.size) {
        throw fileError(this.#source.name, `ends inside a ${kind} of ${length} bytes at byte ${offset}`);
      }
      return { kind, length, start, extension };
    };
    if (head < 0x80 || head >= 0xe0) return at("scalar", 0);
    if (head < 0x90) return at("map", head & 0x0f);
    if (head < 0xa0) return at("array", head & 0x0f);
    if (head < 0xc0) return at("string", head & 0x1f);
    const scalar = scalars.get(head);
    if (scalar !== undefined) return at("scalar", scalar);
    if (head >= 0xd4 && head <= 0xd8) return at("extension", 2 ** (head - 0xd4), 2, bytes[1]);
    const [kind, width] = sized.get(head) ?? [];
    if (!kind || !width) throw fileError(this.#source.name, `is not msgpack at byte ${offset}`);
    const length = bytes.subarray(1, 1 + width).reduce((n, byte) => n * 256 + byte, 0);
    return kind === "extension" ? at(kind, length, 2 + width, bytes[1 + width]) : at(kind, length, 1 + width);
  }

  /** The offset after `item` and all that it contains. */
  async after(item: Item): Promise<number> {
    if (item.kind !== "map" && item.kind !== "array") return item.start + item.length;
    let offset = item.start;
    const entries = item.kind === "map" ? 2 * item.length : item.length;
    for (let i = 0; i < entries; i++) offset = await this.after(await this.item(offset));
    return offset;
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
