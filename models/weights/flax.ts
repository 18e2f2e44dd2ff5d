/** Flax's msgpack files: a tree of arrays. Source: google/flax, flax/serialization.py. */
import { type ByteSource, fileError } from "../../files/bytes.ts";
import { sizeOf, type WeightSource } from "../../ir/index.ts";
import { deepest, type Item, MsgpackWalker, type PackedArray, type Piece, readPieces } from "./msgpack.ts";
import { encodings, type Stored, storedBytes, storedSource } from "./stored.ts";

/** Flax's extension types that are arrays: of any rank, and of a NumPy scalar. */
const arrayExtensions = [1, 3];

/** Marks a map that holds the pieces of an array of more than 2^30 bytes. */
const chunkedMark = "__msgpack_chunked_array__";

/**
 * The arrays of a tree by the `/`-joined keys that lead to them, each read when asked for. What is no array, or of a
 * type that no parameter has, is passed over. Throws W1.
 */
export async function readFlax(file: ByteSource): Promise<WeightSource> {
  const walker = new MsgpackWalker(file);
  const root = await walker.item(0);
  if (root.kind !== "map") throw fileError(file.name, "is not a Flax tree: it is no map");
  const tensors = new Map<string, Stored>();
  await new TreeReader(file, walker, tensors).map(root, []);
  return storedSource(file, tensors);
}

/** Finds the arrays of a tree, in the order in which they lie. */
class TreeReader {
  readonly #file: ByteSource;
  readonly #walker: MsgpackWalker;
  readonly #tensors: Map<string, Stored>;

  constructor(file: ByteSource, walker: MsgpackWalker, tensors: Map<string, Stored>) {
    this.#file = file;
    this.#walker = walker;
    this.#tensors = tensors;
  }

  /** Notes what is in a map; the offset after it. */
  async map(map: Item, path: readonly string[]): Promise<number> {
    if (path.length > deepest)
      throw fileError(this.#file.name, `has more than ${deepest} maps within each other`);
    let offset = map.start;
    for (let i = 0; i < map.length; i++) {
      const key = await this.#walker.item(offset);
      if (key.kind !== "string")
        throw fileError(this.#file.name, `has a key that is no name at byte ${offset}`);
      const name = await this.#walker.text(key);
      if (name === chunkedMark) return this.#chunked(map, path.join("/"));
      offset = await this.#value(key.start + key.length, [...path, name]);
    }
    return offset;
  }

  async #value(offset: number, path: readonly string[]): Promise<number> {
    const item = await this.#walker.item(offset);
    if (item.kind === "map") return this.map(item, path);
    if (item.kind === "extension" && arrayExtensions.includes(item.extension)) {
      const name = path.join("/");
      const { shape, dtype, piece } = await this.#array(item, name);
      this.#note(name, shape, dtype, [piece]);
    }
    return this.#walker.after(item);
  }

  async #array(item: Item, name: string): Promise<PackedArray> {
    const array = await this.#walker.array(item);
    if (array) return array;
    throw fileError(this.#file.name, `${name} is corrupt: it has no shape, dtype and bytes`);
  }

  /** Notes an array in pieces, `{mark: true, shape: {"0": 2, ...}, chunks: {"0": array, ...}}`; the offset after it. */
  async #chunked(map: Item, name: string): Promise<number> {
    const walker = this.#walker;
    const broken = (what: string): never => {
      throw fileError(this.#file.name, `${name} is corrupt: its pieces have no ${what}`);
    };
    const shape: number[] = [];
    const arrays: PackedArray[] = [];
    let offset = map.start;
    for (let i = 0; i < map.length; i++) {
      const key = await walker.item(offset);
      const field = key.kind === "string" ? await walker.text(key) : broken("names");
      const value = await walker.item(key.start + key.length);
      offset = await walker.after(value);
      if (field !== "shape" && field !== "chunks") continue;
      if (value.kind !== "map") broken(field);
      let at = value.start;
      for (let entry = 0; entry < value.length; entry++) {
        const index = await walker.item(at);
        const place = index.kind === "string" ? Number(await walker.text(index)) : -1;
        if (!Number.isInteger(place) || place < 0 || place >= value.length) broken(`${field} by number`);
        at = index.start + index.length;
        const item = await walker.item(at);
        if (field === "shape") shape[place] = (await walker.count(item, at)) ?? broken(field);
        else arrays[place] = await this.#array(item, name);
        at = await walker.after(item);
      }
    }
    const [first] = arrays;
    // A number that came twice has left a hole.
    if (Object.keys(shape).length < shape.length || Object.keys(arrays).length < arrays.length)
      broken("number");
    if (!first || arrays.some(({ dtype }) => dtype !== first.dtype)) broken("one dtype");
    this.#note(
      name,
      shape,
      first?.dtype ?? "",
      arrays.map(({ piece }) => piece),
    );
    return offset;
  }

  #note(name: string, shape: readonly number[], dtype: string, pieces: readonly Piece[]): void {
    const file = this.#file;
    const encoding = Object.hasOwn(encodings, dtype) ? encodings[dtype] : undefined;
    if (!encoding) return;
    const held = pieces.reduce((sum, { length }) => sum + length, 0);
    if (held !== storedBytes(shape, encoding.bytes)) {
      const message = `${name} of [${shape.join(", ")}] ${dtype} has ${held} bytes, not ${sizeOf(shape) * encoding.bytes}`;
      throw fileError(file.name, message);
    }
    if (this.#tensors.has(name)) throw fileError(file.name, `has ${name} twice`);
    this.#tensors.set(name, {
      shape,
      encoding,
      read: (start, length) => readPieces(file, pieces, start, length),
    });
  }
}
