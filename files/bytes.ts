/** Files as ranges of bytes, read on demand. */
import { CompileError } from "../ir/index.ts";

/** Something of known size that can be read in parts: a file, a Blob, a buffer. */
export interface ByteSource {
  /** What errors call it. */
  readonly name: string;
  readonly size: number;
  /** Bytes `offset .. offset + length - 1`; the range lies inside. */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Takes bytes in order, as a file being written does. */
export type ByteSink = (bytes: Uint8Array) => Promise<void>;

/** A problem with a file: subject and message become one line for the user. */
export const fileError = (name: string, message: string): CompileError =>
  new CompileError("W1", name, message);

/** What the text of the file `name` is as JSON. Throws W1 where it is none. */
export function parseJson(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw fileError(name, `is not JSON: ${(error as Error).message}`);
  }
}

/** Bytes of `source`, after checking that they are there: a file may be shorter than it says. */
export function readExactly(
  source: ByteSource,
  offset: number,
  length: number,
  what: string,
): Promise<Uint8Array> {
  if (offset < 0 || length < 0 || offset + length > source.size) {
    throw fileError(source.name, `ends before ${what}: needs ${offset + length} bytes, has ${source.size}`);
  }
  return source.read(offset, length);
}

/** Bytes in memory. */
export const memorySource = (name: string, bytes: Uint8Array): ByteSource => ({
  name,
  size: bytes.length,
  read: (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)),
  close: () => Promise.resolve(),
});

/** A Blob, such as a file that a user of a web page chose. */
export const blobSource = (name: string, blob: Blob): ByteSource => ({
  name,
  size: blob.size,
  read: async (offset, length) => new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer()),
  close: () => Promise.resolve(),
});
