/** Files on disk as ranges of bytes, for Node. */
import { existsSync, renameSync, rmSync } from "node:fs";
import { access, constants, mkdir, open, readdir, readFile, realpath, rename, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";

import { type ByteSink, type ByteSource, fileError, parseJson } from "./bytes.ts";
import { beforeEnding } from "./ending.ts";

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

/** Does `work`; where the process is told to end meanwhile, `undo` is called before it does. */
async function undoneAtEnd<T>(undo: () => void, work: () => Promise<T>): Promise<T> {
  const release = beforeEnding(undo);
  try {
    return await work();
  } finally {
    release();
  }
}

/** Throws W1 for what the operating system says against writing to `path`. */
const cannotWrite =
  (path: string) =>
  (error: NodeJS.ErrnoException): never => {
    throw fileError(path, `cannot be written (${error.code})`);
  };

/**
 * Writes a file under a temporary name that becomes `path` only when `write` is done. What is unfinished is removed, also
 * when the process is told to end; one that is killed leaves it under the temporary name. A link stays, and what it leads
 * to is written; a device or a pipe is written to as it is. Throws W1.
 */
export async function writeFileAtomically(
  path: string,
  write: (sink: ByteSink) => Promise<void>,
): Promise<void> {
  const cannot = cannotWrite(path);
  const there = await stat(path).catch(() => undefined);
  const isFile = there?.isFile() ?? true;
  const whole = there && isFile ? await realpath(path).catch(cannot) : path;
  const temporary = isFile ? `${whole}.${process.pid}.tmp` : path;
  const remove = (): void => (isFile ? rmSync(temporary, { force: true }) : undefined);
  const handle = await open(temporary, "w").catch(cannot);
  await undoneAtEnd(remove, async () => {
    try {
      await write(async (bytes) => {
        for (let at = 0; at < bytes.length;) {
          const want = Math.min(readLimit, bytes.length - at);
          const { bytesWritten } = await handle.write(bytes, at, want).catch(cannot);
          at += bytesWritten;
        }
      });
      await handle.close();
      if (isFile) await rename(temporary, whole).catch(cannot);
    } catch (error) {
      await handle.close().catch(() => undefined);
      remove();
      throw error;
    }
  });
}

/** Throws W1 when a file cannot be made at `path`, before any work is done. */
export async function checkWritable(path: string): Promise<void> {
  const there = await stat(path).catch(() => undefined);
  if (there?.isDirectory()) throw fileError(path, "is a folder; a file was expected");
  await access(dirname(resolve(path)), constants.W_OK).catch(cannotWrite(path));
}

/** Adds a file to a folder that is being written. */
export type AddFile = (
  path: string,
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
) => Promise<void>;

/**
 * Writes a folder under a temporary name that becomes `path` only when `write` is done. A folder that is there already
 * stays until then, and is replaced if it is empty or `isReplaceable`. What is unfinished is removed, also when the process
 * is told to end. Throws W1.
 */
export async function writeFolderAtomically(
  path: string,
  isReplaceable: (folder: string) => Promise<boolean>,
  write: (add: AddFile) => Promise<void>,
): Promise<void> {
  const whole = resolve(path);
  await checkReplaceable(whole, isReplaceable);
  const temporary = `${whole}.${process.pid}.tmp`;
  const old = `${whole}.${process.pid}.old`;
  const cannot = cannotWrite(path);
  const remove = (): void => {
    if (existsSync(old) && !existsSync(whole)) renameSync(old, whole);
    for (const folder of [temporary, old]) rmSync(folder, { recursive: true, force: true });
  };
  await mkdir(temporary).catch(cannot);
  await undoneAtEnd(remove, async () => {
    try {
      await write(async (name, bytes) => {
        const file = join(temporary, name);
        await mkdir(dirname(file), { recursive: true }).catch(cannot);
        await writeFileAtomically(file, async (sink) => {
          for await (const part of bytes) await sink(part);
        });
      });
      await rename(whole, old).catch(() => undefined);
      await rename(temporary, whole).catch(cannot);
    } finally {
      remove();
    }
  });
}

/** Throws W1 when `writeFolderAtomically` cannot make a folder at `path`, before any work is done. */
export async function checkReplaceable(
  path: string,
  isReplaceable: (folder: string) => Promise<boolean>,
): Promise<void> {
  await access(dirname(resolve(path)), constants.W_OK).catch(cannotWrite(path));
  const there = await readdir(path).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === "ENOENT") return [];
    throw fileError(path, `cannot be replaced by a folder (${error.code})`);
  });
  if (there.length > 0 && !(await isReplaceable(path))) {
    throw fileError(path, "is there already and is something else; give another name, or remove it");
  }
}
