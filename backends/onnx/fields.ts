/** Small integers in bytes, each in a field of a few bits, the first in the lowest bits of the first byte. */

/** How the fields of some entries lie, and how they shall. */
export interface Repacking {
  readonly bits: number;
  readonly entries: number;
  /** Fields of an entry. */
  readonly size: number;
  /** Fields from where an entry starts to where the next one does, at least `size`: before, and after. */
  readonly pitch: readonly [before: number, after: number];
  /** Fields before the first entry; 0 by default. */
  readonly skip?: number;
  /** Whether the highest bit of each is turned: from integers offset by 2^(bits - 1) to two's complement, or back. */
  readonly turned: boolean;
}

/** The entries of `bytes` as they shall lie, from the first byte on; bits between entries are 0. O(fields). */
export function repacked(bytes: Uint8Array, fields: Repacking): Uint8Array {
  const { bits, entries, size, pitch, skip = 0, turned } = fields;
  const to = new Uint8Array(Math.ceil((entries * pitch[1] * bits) / 8));
  const isWhole = [size, skip, ...pitch].every((count) => (count * bits) % 8 === 0);
  const move = isWhole ? moveBytes : moveNibbles;
  const [unit, flip] = isWhole ? [bits / 8, bits === 8 ? 0x80 : 0x88] : [1, 8];
  for (let e = 0; e < entries; e++) {
    const [from, at] = [(skip + e * pitch[0]) * unit, e * pitch[1] * unit];
    move({ bytes, from }, { bytes: to, from: at }, size * unit, turned ? flip : 0);
  }
  return to;
}

/** Where something begins, in units of what is moved. */
interface Place {
  readonly bytes: Uint8Array;
  readonly from: number;
}

function moveBytes({ bytes, from }: Place, to: Place, count: number, flip: number): void {
  for (let i = 0; i < count; i++) to.bytes[to.from + i] = (bytes[from + i] as number) ^ flip;
}

/** Onto zeros. */
function moveNibbles({ bytes, from }: Place, to: Place, count: number, flip: number): void {
  for (let i = 0; i < count; i++) {
    const [source, target] = [from + i, to.from + i];
    const nibble = (((bytes[source >>> 1] as number) >> (4 * (source & 1))) & 15) ^ flip;
    to.bytes[target >>> 1] = (to.bytes[target >>> 1] as number) | (nibble << (4 * (target & 1)));
  }
}

/** The first `count` integers of `bytes`; in two's complement where they are `signed`. */
export function integersIn(bytes: Uint8Array, bits: number, count: number, signed: boolean): number[] {
  const [each, range] = [8 / bits, 2 ** bits];
  return Array.from({ length: count }, (_, i) => {
    const field = ((bytes[Math.floor(i / each)] as number) >> (bits * (i % each))) & (range - 1);
    return signed && field >= range / 2 ? field - range : field;
  });
}
