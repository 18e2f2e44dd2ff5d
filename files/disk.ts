/** Files on disk as ranges of bytes, for Node. */
import { rmSync } from "node:fs";
import { access, constants, mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";

import { type ByteSink, type ByteSource, fileError, parseJson } from "./bytes.ts";

/** One read call takes at most this many bytes; the operating systems' limit is 2 GiB. */
const readLimit = 2 ** 30;

/** What stands in the file at `path`, as JSON. Throws W1 when it cannot be read or is none. */
export async function readJson(path: string): Promise<unknown> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw fileError(path, error.code === "ENOENT" ? "no such file" : `cannot be read (${error.code})`);
  });
  return parseJson(path, text);
}

/** The file at `path`, read in parts. Throws W1 when it cannot be opened. */
export async function fileSource(path: string): Promise<ByteSource> {
  const name = basename(path);
  const handle = await open(path).catch((error: NodeJS.ErrnoException) => {
    throw fileError(path, error.code === "ENOENT" ? "no such file" : `cannot be opened (${error.code})`);
  });
  const status = await handle.stat();
  if (!status.isFile()) {
    await handle.close();
    throw fileError(path, "is not a file");
  }
  return {
    name,
    size: status.size,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length;) {
        const want = Math.min(readLimit, length - at);
        const { bytesRead } = await handle.read(bytes, at, want, offset + at);
        if (bytesRead === 0)
          throw fileError(name, `ends at byte ${offset + at}; it had ${status.size} when opened`);
        at += bytesRead;
      }
      return bytes;
    },
    close: () => handle.close(),
  };
}

const endings = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Writes a file under a temporary name that becomes `path` only when `write` is done. What is unfinished is removed, also
 * when the process is told to end; one that is killed leaves it under the temporary name.
 */
export async function writeFileAtomically(
  path: string,
  write: (sink: ByteSink) => Promise<void>,
): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  const handle = await open(temporary, "w").catch((error: NodeJS.ErrnoException) => {
    throw fileError(path, `cannot be written (${error.code})`);
  });
  const abandon = (signal: NodeJS.Signals): void => {
    rmSync(temporary, { force: true });
    // The signal's own effect, now that nobody listens any more.
    for (const ending of endings) process.removeListener(ending, abandon);
    process.kill(process.pid, signal);
  };
  for (const ending of endings) process.on(ending, abandon);
  try {
    await write(async (bytes) => {
      for (let at = 0; at < bytes.length;) {
        const { bytesWritten } = await handle.write(bytes, at, Math.min(readLimit, bytes.length - at));
        at += bytesWritten;
      }
    });
    await handle.close();
    await rename(temporary, path);
  } catch (error) {
    await handle.close().catch(() => undefined);
    await rm(temporary, { force: true });
    throw error;
  } finally {
    for (const ending of endings) process.removeListener(ending, abandon);
  }
}

/** Throws W1 when a file cannot be made at `path`, before any work is done. */
export async function checkWritable(path: string): Promise<void> {
  await access(dirname(resolve(path)), constants.W_OK).catch((error: NodeJS.ErrnoException) => {
    throw fileError(path, `cannot be written (${error.code})`);
  });
}

/** Adds a file to a folder that is being written. */
export type AddFile = (
  path: string,
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
) => Promise<void>;

/**
 * Writes a folder under a temporary name that becomes `path` only when `write` is done. A folder that is there already
 * is replaced if it is empty or has the file `mark`, which the new one gets too. Throws W1.
 */
export async function writeFolderAtomically(
  path: string,
  mark: string,
  write: (add: AddFile) => Promise<void>,
): Promise<void> {
  const whole = resolve(path);
  await checkReplaceable(whole, mark);
  const temporary = `${whole}.${process.pid}.tmp`;
  const old = `${whole}.${process.pid}.old`;
  const cannot = (error: NodeJS.ErrnoException): never => {
    throw fileError(path, `cannot be written (${error.code})`);
  };
  await mkdir(temporary).catch(cannot);
  try {
    await write(async (name, bytes) => {
      const file = join(temporary, name);
      await mkdir(dirname(file), { recursive: true });
      await writeFileAtomically(file, async (sink) => {
        for await (const part of bytes) await sink(part);
      });
    });
    await rename(whole, old).catch(() => undefined);
    await rename(temporary, whole).catch(cannot);
  } catch (error) {
    await rename(old, whole).catch(() => undefined);
    throw error;
  } finally {
    await rm(temporary, { recursive: true, force: true });
    await rm(old, { recursive: true, force: true });
  }
}

/** Throws W1 when a folder of that mark cannot be made at `path`, before any work is done. */
export async function checkReplaceable(path: string, mark: string): Promise<void> {
  await checkWritable(path);
  const there = await readdir(path).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === "ENOENT") return [];
    throw fileError(path, `cannot be replaced by a folder (${error.code})`);
  });
  if (there.length > 0 && !there.includes(mark)) {
    throw fileError(path, `is there already and has no ${mark}; give another name, or remove it`);
  }
}
