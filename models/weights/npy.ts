/** The header of NumPy's .npy format. Source: NumPy's format specification, numpy.lib.format. */
import { fileError } from "../../files/bytes.ts";
import type { Shape } from "../../ir/index.ts";

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

/** The bytes that tell how long a header is. */
export const npyPrefixBytes = 12;

/** What stands before the elements of an array. */
export interface NpyHeader {
  /** NumPy's code of the element type, such as `<f4`. */
  readonly descr: string;
  /** Whether the first axis is the innermost in memory. */
  readonly fortranOrder: boolean;
  readonly shape: Shape;
}

/** Where the text of a header lies, from the array's first bytes; throws W1 naming `file` where they are none. */
export function npyHeaderRange(file: string, bytes: Uint8Array): readonly [start: number, stop: number] {
  if (bytes.length < npyPrefixBytes || magic.some((byte, i) => bytes[i] !== byte)) {
    throw fileError(file, "is not a .npy file");
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wide = (bytes[6] ?? 0) > 1;
  const start = wide ? 12 : 10;
  return [start, start + (wide ? view.getUint32(8, true) : view.getUint16(8, true))];
}

/** The header that `text` spells; throws W1 naming `file`. */
export function parseNpyHeader(file: string, text: Uint8Array): NpyHeader {
  const header = new TextDecoder().decode(text);
  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const order = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  const sizes = /'shape':\s*\(([\d,\s]*)\)/.exec(header)?.[1];
  if (descr === undefined || order === undefined || sizes === undefined)
    throw fileError(file, "has a corrupt header");
  return { descr, fortranOrder: order === "True", shape: (sizes.match(/\d+/g) ?? []).map(Number) };
}

/** A header as its writer has it, elements aligned to 64 bytes: C-ordered float32 of `shape`. */
export function npyHeader(shape: Shape): Uint8Array {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${sizes}), }`;
  const prefix = 10;
  // The format wants the header to end in a line feed.
  const length = Math.ceil((prefix + text.length + 1) / 64) * 64 - prefix;
  const head = new Uint8Array(prefix + length).fill(0x20);
  head.set([...magic, 1, 0, length & 0xff, length >> 8]);
  head.set(new TextEncoder().encode(text), prefix);
  head[head.length - 1] = 0x0a;
  return head;
}
