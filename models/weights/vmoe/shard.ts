/** A data file of a V-MoE checkpoint: where the bytes of each slice of each tensor lie. */
import { type ByteSource, fileError, readExactly } from "../../../files/bytes.ts";
import { type Item, MsgpackWalker } from "../msgpack.ts";
import { parseRegion } from "./index.ts";
import type { Region } from "./region.ts";

const chunkMark = "__msgpack_array_chunk_a87ca2__";
const extension = { array: 1, slices: 6 } as const;

/** A slice of a tensor as it lies in a data file. */
export interface Chunk {
  readonly region: Region;
  /** Byte ranges whose concatenation is the slice, row-major. */
  readonly pieces: readonly { readonly start: number; readonly length: number }[];
}

/** The chunks of one data file by leaf number. */
export interface Shard {
  readonly file: ByteSource;
  readonly chunks: ReadonlyMap<number, readonly Chunk[]>;
}

/** Finds where each chunk of a data file lies, without reading any. */
export async function scanShard(file: ByteSource): Promise<Shard> {
  const walker = new MsgpackWalker(file);
  const chunks = new Map<number, Chunk[]>();
  const broken = (what: string): never => {
    throw fileError(file.name, `is not a V-MoE checkpoint's data: expected ${what}`);
  };
  const list = async (offset: number, what: string): Promise<Item> => {
    const item = await walker.item(offset);
    return item.kind === "array" ? item : broken(what);
  };

  const root = await walker.item(0);
  if (root.kind !== "map") broken("a map");
  let offset = root.start;
  for (let i = 0; i < root.length; i++) {
    const key = await walker.item(offset);
    if (key.kind !== "string") broken("a name");
    const name = new TextDecoder().decode(await walker.bytes(key.start, key.length, "a name"));
    offset = key.start + key.length;
    if (name === chunkMark) {
      offset = await walker.after(await walker.item(offset));
      continue;
    }
    const entries = await list(offset, `the chunks of leaf ${name}`);
    const found: Chunk[] = [];
    offset = entries.start;
    for (let c = 0; c < entries.length; c++) {
      const pair = await list(offset, "a chunk");
      const parts = await list(pair.start, "a chunk's pieces");
      const pieces: Chunk["pieces"][number][] = [];
      offset = parts.start;
      for (let p = 0; p < parts.length; p++) {
        const piece = await walker.item(offset);
        if (piece.kind !== "extension" || piece.extension !== extension.array) broken("an array");
        pieces.push(await payloadOf(walker, piece, broken));
        offset = piece.start + piece.length;
      }
      const slices = await walker.item(offset);
      if (slices.kind !== "extension" || slices.extension !== extension.slices) broken("a chunk's slices");
      const payload = await walker.bytes(slices.start, slices.length, "a chunk's slices");
      found.push({ region: parseRegion(file, payload) ?? broken("slices"), pieces });
      offset = slices.start + slices.length;
    }
    chunks.set(Number(name), found);
  }
  return { file, chunks };
}

/** The bytes of a packed array `[shape, dtype, bytes]`. */
async function payloadOf(
  walker: MsgpackWalker,
  array: Item,
  broken: (what: string) => never,
): Promise<Chunk["pieces"][number]> {
  const fields = await walker.item(array.start);
  if (fields.kind !== "array" || fields.length !== 3) broken("an array's shape, dtype and bytes");
  const dtype = await walker.after(await walker.item(fields.start));
  const bytes = await walker.item(await walker.after(await walker.item(dtype)));
  if (bytes.kind !== "binary") broken("an array's bytes");
  return { start: bytes.start, length: bytes.length };
}

/** Bytes `first .. first + length - 1` of the concatenation of `pieces`. */
export async function readPieces(
  file: ByteSource,
  pieces: Chunk["pieces"],
  first: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    const start = Math.max(first - at, 0);
    const stop = Math.min(first + length - at, piece.length);
    if (start < stop)
      bytes.set(await readExactly(file, piece.start + start, stop - start, "a slice"), at + start - first);
    at += piece.length;
  }
  return bytes;
}
