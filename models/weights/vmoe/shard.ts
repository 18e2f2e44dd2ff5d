/** A data file of a V-MoE checkpoint: where the bytes of each slice of each tensor lie. */
import { type ByteSource, fileError } from "../../../files/bytes.ts";
import { type Item, MsgpackWalker, type Piece } from "../msgpack.ts";
import { parseRegion } from "./index.ts";
import type { Region } from "./region.ts";

const chunkMark = "__msgpack_array_chunk_a87ca2__";
const extension = { array: 1, slices: 6 } as const;

/** A slice of a tensor as it lies in a data file. */
export interface Chunk {
  readonly region: Region;
  /** Byte ranges whose concatenation is the slice, row-major. */
  readonly pieces: readonly Piece[];
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
    const name = await walker.text(key);
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
      const pieces: Piece[] = [];
      offset = parts.start;
      for (let p = 0; p < parts.length; p++) {
        const piece = await walker.item(offset);
        if (piece.kind !== "extension" || piece.extension !== extension.array) broken("an array");
        const { piece: bytes } = (await walker.array(piece)) ?? broken("an array's shape, dtype and bytes");
        pieces.push(bytes);
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
