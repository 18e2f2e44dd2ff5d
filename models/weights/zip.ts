/**
 * Members of a zip archive as ranges of bytes, stored or deflated, of any size. The directory is read here, and the
 * platform inflates, because the packages for Node read no Blob and those for browsers hold whole archives.
 * Source: PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.5.
 */
import { type ByteSource, fileError, readExactly } from "../../files/bytes.ts";

/** A file in an archive. */
export interface Member {
  /** Bytes, inflated. */
  readonly size: number;
  /** Bytes `offset .. offset + length - 1`. Of a deflated member cheap for reads that go forward: others start over. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

const signatures = {
  local: 0x04034b50,
  entry: 0x02014b50,
  end: 0x06054b50,
  end64: 0x06064b50,
  locator64: 0x07064b50,
} as const;
const sizes = { local: 30, entry: 46, end: 22, end64: 56, locator64: 20 } as const;

const longestComment = 0xffff;
/** What a 32-bit field holds whose value stands in a zip64 record. */
const elsewhere = 0xffffffff;
const zip64Tag = 1;
/** No deflated byte stands for more than this many. */
const mostInflation = 1032;
/** Compressed bytes taken at a time. */
const pieceBytes = 2 ** 16;

interface Entry {
  readonly deflated: boolean;
  readonly compressed: number;
  readonly size: number;
  /** Where the local header lies. */
  readonly offset: number;
}

/** The members of an archive by name. Throws W1 for what is no archive, or has members that are packed otherwise. */
export async function readZip(file: ByteSource): Promise<Map<string, Member>> {
  const { offset, length, count } = await directoryOf(file);
  const bytes = await readExactly(file, offset, length, "the end of its directory");
  const view = viewOf(bytes);
  const cursor = new Cursor(file);
  const members = new Map<string, Member>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + sizes.entry > length || view.getUint32(at, true) !== signatures.entry) {
      throw fileError(file.name, `has a corrupt directory: no entry ${i} of ${count}`);
    }
    const nameBytes = view.getUint16(at + 28, true);
    const extraBytes = view.getUint16(at + 30, true);
    const stop = at + sizes.entry + nameBytes + extraBytes + view.getUint16(at + 32, true);
    if (stop > length) throw fileError(file.name, `has a corrupt directory: entry ${i} ends outside`);
    const name = new TextDecoder().decode(bytes.subarray(at + sizes.entry, at + sizes.entry + nameBytes));
    if (members.has(name)) throw fileError(file.name, `has ${name} twice`);
    members.set(name, memberOf(file, cursor, name, entryOf(file, view, at, name)));
    at = stop;
  }
  return members;
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

interface Directory {
  readonly offset: number;
  readonly length: number;
  readonly count: number;
}

/** Where the directory is, by the record at the archive's end. */
async function directoryOf(file: ByteSource): Promise<Directory> {
  const tail = Math.min(file.size, sizes.end + longestComment);
  const view = viewOf(await file.read(file.size - tail, tail));
  let at = tail - sizes.end;
  while (at >= 0 && view.getUint32(at, true) !== signatures.end) at--;
  if (at < 0) throw fileError(file.name, "is not a zip archive, or ends before its directory");
  const wide = await directory64(file, file.size - tail + at);
  return (
    wide ?? {
      count: view.getUint16(at + 10, true),
      length: view.getUint32(at + 12, true),
      offset: view.getUint32(at + 16, true),
    }
  );
}

/** The same by the zip64 record before the record at `end`; undefined where there is none. */
async function directory64(file: ByteSource, end: number): Promise<Directory | undefined> {
  const at = end - sizes.locator64;
  if (at < 0) return undefined;
  const locator = viewOf(await file.read(at, sizes.locator64));
  if (locator.getUint32(0, true) !== signatures.locator64) return undefined;
  const start = wideNumber(locator, 8);
  const record = viewOf(await readExactly(file, start, sizes.end64, "its zip64 record"));
  if (record.getUint32(0, true) !== signatures.end64) throw fileError(file.name, "has no zip64 record");
  return { count: wideNumber(record, 32), length: wideNumber(record, 40), offset: wideNumber(record, 48) };
}

/** A 64-bit count; one that is too large for a number fails later, as a place outside the file. */
const wideNumber = (view: DataView, at: number): number => Number(view.getBigUint64(at, true));

/** The entry at `at` of the directory, whose name and extra fields lie inside. */
function entryOf(file: ByteSource, view: DataView, at: number, name: string): Entry {
  const flags = view.getUint16(at + 8, true);
  const method = view.getUint16(at + 10, true);
  if (flags & 1 || (method !== 0 && method !== 8)) {
    const how = flags & 1 ? "encrypted" : `packed by method ${method}`;
    throw fileError(file.name, `${name} must be stored or deflated; it is ${how}`);
  }
  const [size, compressed, offset] = widened(view, at, [24, 20, 42]);
  const deflated = method === 8;
  const most = deflated ? mostInflation * (compressed + 1) : compressed;
  if (compressed > file.size || size > most || (!deflated && size !== compressed)) {
    throw fileError(file.name, `${name} of ${size} bytes cannot be in ${compressed} of ${file.size} bytes`);
  }
  return { deflated, compressed, size, offset };
}

/** The 32-bit fields of the entry at `at`, those that are too small for their values from its zip64 field, in its order. */
function widened(
  view: DataView,
  at: number,
  fields: readonly [number, number, number],
): [number, number, number] {
  const values: [number, number, number] = [
    view.getUint32(at + fields[0], true),
    view.getUint32(at + fields[1], true),
    view.getUint32(at + fields[2], true),
  ];
  const first = at + sizes.entry + view.getUint16(at + 28, true);
  const stop = first + view.getUint16(at + 30, true);
  for (let extra = first; extra + 4 <= stop; extra += 4 + view.getUint16(extra + 2, true)) {
    if (view.getUint16(extra, true) !== zip64Tag) continue;
    const end = Math.min(stop, extra + 4 + view.getUint16(extra + 2, true));
    let from = extra + 4;
    for (const [i, value] of values.entries()) {
      if (value !== elsewhere || from + 8 > end) continue;
      values[i] = wideNumber(view, from);
      from += 8;
    }
  }
  return values;
}

function memberOf(file: ByteSource, cursor: Cursor, name: string, entry: Entry): Member {
  let start: Promise<number> | undefined;
  const { size, compressed, deflated } = entry;
  return {
    size,
    async read(offset, length) {
      if (offset + length > size) {
        throw fileError(file.name, `${name} ends at byte ${size}; ${offset + length} are needed`);
      }
      const at = await (start ??= dataStart(file, name, entry));
      return deflated
        ? cursor.read({ name, start: at, compressed }, offset, length)
        : readExactly(file, at + offset, length, `the end of ${name}`);
    },
  };
}

/** Where a member's bytes begin, after the local header, whose length the directory does not say. */
async function dataStart(file: ByteSource, name: string, { offset, compressed }: Entry): Promise<number> {
  const view = viewOf(await readExactly(file, offset, sizes.local, `the header of ${name}`));
  if (view.getUint32(0, true) !== signatures.local) {
    throw fileError(file.name, `has no member at byte ${offset}, where ${name} must be`);
  }
  const start = offset + sizes.local + view.getUint16(26, true) + view.getUint16(28, true);
  if (start + compressed > file.size) throw fileError(file.name, `ends before the end of ${name}`);
  return start;
}

/** The deflated bytes of a member. */
interface Deflated {
  readonly name: string;
  readonly start: number;
  readonly compressed: number;
}

/** A place in one deflated member, from which reading goes on; one at a time, so that memory stays bounded. */
class Cursor {
  readonly #file: ByteSource;
  #member = -1;
  #at = 0;
  #stream: ReadableStreamDefaultReader<Uint8Array> | undefined;
  /** Inflated bytes from `#at` on that are not taken yet. */
  #rest: Uint8Array = new Uint8Array();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(file: ByteSource) {
    this.#file = file;
  }

  /** Inflated bytes of `member`. Reads take turns. */
  read(member: Deflated, offset: number, length: number): Promise<Uint8Array> {
    const result = this.#turn.then(() => this.#read(member, offset, length));
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #read(member: Deflated, offset: number, length: number): Promise<Uint8Array> {
    if (this.#member !== member.start || this.#at > offset) await this.#restart(member);
    while (this.#at < offset) this.#take(await this.#some(member), offset - this.#at);
    // Nothing is allocated for bytes that are not there.
    const pieces: Uint8Array[] = [];
    for (let got = 0; got < length;) {
      const piece = this.#take(await this.#some(member), length - got);
      pieces.push(piece);
      got += piece.length;
    }
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  /** Inflated bytes from here on, at least one. */
  async #some({ name }: Deflated): Promise<Uint8Array> {
    if (this.#rest.length > 0) return this.#rest;
    const broken = (why: string): never => {
      this.#member = -1;
      throw fileError(this.#file.name, `${name} is corrupt: ${why}`);
    };
    const next = await this.#stream?.read().catch((error: Error) => broken(error.message));
    this.#rest = next?.value ?? broken("it ends too soon");
    return this.#rest;
  }

  /** The first bytes of what is there, at most so many. */
  #take(bytes: Uint8Array, most: number): Uint8Array {
    const taken = bytes.subarray(0, most);
    this.#rest = bytes.subarray(taken.length);
    this.#at += taken.length;
    return taken;
  }

  async #restart({ start, compressed }: Deflated): Promise<void> {
    await this.#stream?.cancel().catch(() => undefined);
    const file = this.#file;
    let at = 0;
    const packed = new ReadableStream<Uint8Array<ArrayBuffer>>({
      async pull(controller) {
        const length = Math.min(pieceBytes, compressed - at);
        if (length === 0) return controller.close();
        controller.enqueue((await file.read(start + at, length)) as Uint8Array<ArrayBuffer>);
        at += length;
      },
    });
    this.#stream = packed.pipeThrough(new DecompressionStream("deflate-raw")).getReader();
    this.#member = start;
    this.#at = 0;
    this.#rest = new Uint8Array();
  }
}
