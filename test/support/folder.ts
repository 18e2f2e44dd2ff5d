/** Folders of a test file's own, with as much of the package in them as a test needs. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll } from "vitest";

/** The package's own folder. */
export const root: string = join(import.meta.dirname, "..", "..");

/** A new folder that is removed when the file's tests are over. */
export function temporaryFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `moec-${name}-`));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Copies files and folders of the package into `folder`. */
export function copyInto(folder: string, entries: readonly string[]): void {
  for (const entry of entries) cpSync(join(root, entry), join(folder, entry), { recursive: true });
}

/** Gives `folder` all that the package depends on and the commands of it, `.bin`, but for what `without` names. */
export function linkModules(folder: string, without: readonly string[] = []): void {
  const [from, to] = [join(root, "node_modules"), join(folder, "node_modules")];
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from)) {
    const isKept = entry === ".bin" || !entry.startsWith(".");
    if (isKept && !without.includes(entry)) symlinkSync(join(from, entry), join(to, entry));
  }
}
