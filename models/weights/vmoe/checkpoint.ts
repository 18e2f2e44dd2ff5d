/**
 * The original's sharded checkpoints: `<prefix>.index` and `<prefix>.data-00000-of-00002` ...
 * Source: google-research/vmoe, vmoe/checkpoints.
 */
import { type ByteSource, fileError } from "../../../files/bytes.ts";
import { byteLength, bytesOf, Tensor, type TensorType, type WeightSource } from "../../../ir/index.ts";
import { readPieces } from "../msgpack.ts";
import { type Leaf, parseIndex } from "./index.ts";
import { copyRegion, elementsOf, overlap, type Region } from "./region.ts";
import { type Chunk, scanShard, type Shard } from "./shard.ts";

/** Opens a file of the checkpoint by what its name has after the prefix. */
export type OpenPart = (suffix: string) => Promise<ByteSource>;

/**
 * The parameters of a checkpoint, of the old or the new version, read slice by slice when asked for.
 * A training checkpoint's optimizer state is passed over. Throws W1 naming the file.
 */
export async function readVmoeCheckpoint(open: OpenPart): Promise<WeightSource> {
  const file = await open(".index");
  const { leaves, shardCount } = parseIndex(file, await file.read(0, file.size));
  const shards = new Map<number, Promise<Shard>>();
  const shard = (i: number): Promise<Shard> => {
    const known = shards.get(i) ?? open(`.data-${pad(i)}-of-${pad(shardCount)}`).then(scanShard);
    shards.set(i, known);
    return known;
  };
  return {
    tensors: new Map([...leaves].map(([name, { type }]) => [name, type])),
    async read(name, rows) {
      const leaf = leaves.get(name);
      if (!leaf) throw fileError(file.name, `has no tensor ${name}`);
      return readLeaf(name, leaf, rows, shard);
    },
    async close() {
      await file.close();
      for (const opened of shards.values()) await (await opened).file.close();
    },
  };
}

const pad = (i: number): string => String(i).padStart(5, "0");

async function readLeaf(
  name: string,
  { number, type, parts }: Leaf,
  rows: readonly [number, number] | undefined,
  shard: (i: number) => Promise<Shard>,
): Promise<Tensor> {
  const { dtype, shape } = type;
  const window: Region = shape.map((size, axis) => (axis === 0 && rows ? rows : [0, size]));
  const cut: TensorType = { dtype, shape: window.map(([start, stop]) => stop - start) };
  const needed = new Set(parts.filter(({ region }) => overlap(region, window)).map((part) => part.shard));
  const found: Found[] = [];
  for (const i of needed) {
    const { file, chunks } = await shard(i);
    for (const chunk of chunks.get(number) ?? []) {
      const common = overlap(chunk.region, window);
      if (common) found.push({ file, chunk, common });
    }
  }
  // Nothing is allocated for data that is not there.
  const elements = found.reduce((sum, { common }) => sum + elementsOf(common), 0);
  const twice = found.some(({ common }, i) =>
    found.slice(i + 1).some((other) => overlap(common, other.common)),
  );
  if (twice || elements !== elementsOf(window)) {
    const message = `tensor ${name} is not covered once by its slices: they have ${elements} of ${elementsOf(window)} elements`;
    throw fileError(found[0]?.file.name ?? "checkpoint", message);
  }
  for (const { file, chunk } of found) checkStored(file, name, chunk, bytesOf[dtype]);
  const bytes = new Uint8Array(byteLength(cut));
  for (const { file, chunk, common } of found) {
    await copyChunk(file, chunk, common, window, bytesOf[dtype], bytes);
  }
  return Tensor.fromBytes(cut, bytes);
}

/** A chunk that has a part of what is read. */
interface Found {
  readonly file: ByteSource;
  readonly chunk: Chunk;
  readonly common: Region;
}

/** Throws W1 for a chunk that has not the bytes of its region. */
function checkStored(file: ByteSource, name: string, { region, pieces }: Chunk, itemBytes: number): void {
  const stored = pieces.reduce((sum, piece) => sum + piece.length, 0);
  if (stored !== elementsOf(region) * itemBytes) {
    throw fileError(
      file.name,
      `tensor ${name}: a slice of ${elementsOf(region)} elements has ${stored} bytes`,
    );
  }
}

/** Copies the part `common` of a chunk into `target`, which holds `window`. */
async function copyChunk(
  file: ByteSource,
  { region, pieces }: Chunk,
  common: Region,
  window: Region,
  itemBytes: number,
  target: Uint8Array,
): Promise<void> {
  // Rows along the first axis are contiguous: only those in common are read.
  const rowBytes = elementsOf(region.slice(1)) * itemBytes;
  const first = common[0] ? (common[0][0] - (region[0]?.[0] ?? 0)) * rowBytes : 0;
  const length = common[0] ? (common[0][1] - common[0][0]) * rowBytes : itemBytes;
  const source = await readPieces(file, pieces, first, length);
  const held: Region = region.map((range, axis) => (axis === 0 ? (common[0] ?? range) : range));
  copyRegion(source, held, target, window, common, itemBytes);
}
