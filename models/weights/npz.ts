/** NumPy's .npz archives: a zip with one .npy array a member, as the original ViT release is published. */
import { type ByteSource, fileError } from "../../files/bytes.ts";
import type { WeightSource } from "../../ir/index.ts";
import { npyHeaderRange, npyPrefixBytes, parseNpyHeader } from "./npy.ts";
import { rearranged } from "./rearranged.ts";
import { type Encoding, encodings, isSizes, type Stored, storedBytes, storedSource } from "./stored.ts";
import { type Member, readZip } from "./zip.ts";

/** NumPy's codes of element types; bfloat16, which NumPy does not know, is saved as two bytes of anything. */
const codes: Readonly<Record<string, Encoding | undefined>> = {
  "<f4": encodings["float32"],
  "<f2": encodings["float16"],
  "<f8": encodings["float64"],
  "|V2": encodings["bfloat16"],
  "<V2": encodings["bfloat16"],
  "<i4": encodings["int32"],
  "<u4": encodings["uint32"],
  "|b1": encodings["bool"],
};

/** Read at once, since most headers are shorter. */
const usualHeader = 128;
/** NumPy itself takes less. */
const longestHeader = 2 ** 16;

/**
 * The arrays of an archive, each read when asked for; a deflated one is inflated as a stream. What is no array, or of a
 * type that no parameter has, is passed over. Throws W1 naming the file and the member.
 */
export async function readNpz(file: ByteSource): Promise<WeightSource> {
  const tensors = new Map<string, Stored>();
  const columns = new Map<string, readonly number[]>();
  for (const [path, member] of await readZip(file)) {
    if (!path.endsWith(".npy")) continue;
    const array = await arrayOf(`${file.name}/${path}`, member);
    if (!array) continue;
    const name = path.slice(0, -".npy".length);
    tensors.set(name, array.stored);
    if (array.fortranOrder) columns.set(name, [...array.stored.shape.keys()].toReversed());
  }
  const source = storedSource(file, tensors);
  const views = [...tensors.keys()].map((name): [string, { from: string; axes?: readonly number[] }] => {
    const axes = columns.get(name);
    return [name, { from: name, ...(axes && { axes }) }];
  });
  return columns.size === 0 ? source : rearranged(file.name, source, new Map(views));
}

/** An array as it lies in memory: one in Fortran order has its axes reversed. */
async function arrayOf(
  name: string,
  member: Member,
): Promise<{ readonly stored: Stored; readonly fortranOrder: boolean } | undefined> {
  const begin = await member.read(0, Math.min(usualHeader, member.size));
  const [start, stop] = npyHeaderRange(name, begin.subarray(0, npyPrefixBytes));
  if (stop > member.size) throw fileError(name, "ends inside its header");
  if (stop > longestHeader)
    throw fileError(name, `must have a header of at most ${longestHeader} bytes; it has ${stop}`);
  const text = stop <= begin.length ? begin.subarray(start, stop) : await member.read(start, stop - start);
  const { descr, fortranOrder, shape } = parseNpyHeader(name, text);
  const encoding = codes[descr];
  if (!encoding) return undefined;
  const bytes = storedBytes(shape, encoding.bytes);
  if (!isSizes(shape) || bytes !== member.size - stop) {
    throw fileError(name, `of [${shape.join(", ")}] ${descr} has ${member.size - stop} bytes of elements`);
  }
  const stored: Stored = {
    shape: fortranOrder ? shape.toReversed() : shape,
    encoding,
    read: (first, length) => member.read(stop + first, length),
  };
  return { stored, fortranOrder };
}
