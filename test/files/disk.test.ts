/** What is written to disk: whole or not at all, where the path leads, and nothing else. */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { checkWritable, writeFileAtomically, writeFolderAtomically } from "../../files/disk.ts";
import { temporaryFolder } from "../support/folder.ts";

const folder = temporaryFolder("disk");
const bytes = new TextEncoder().encode("whole");
const save = (path: string): Promise<void> => writeFileAtomically(path, (sink) => sink(bytes));

describe("a file", () => {
  test("goes where a link leads, and the link stays", async () => {
    const [file, link] = [join(folder, "file"), join(folder, "link")];
    writeFileSync(file, "before");
    symlinkSync(file, link);
    await save(link);
    expect(readFileSync(file, "utf8")).toBe("whole");
    expect(readdirSync(folder, { withFileTypes: true }).find(({ name }) => name === "link")).toSatisfy(
      (entry: { isSymbolicLink(): boolean }) => entry.isSymbolicLink(),
    );
  });

  test.skipIf(process.platform === "win32")(
    "goes into a pipe, which is no file to replace",
    { timeout: 10_000 },
    async () => {
      const pipe = join(folder, "pipe");
      execFileSync("sh", ["-c", 'mkfifo "$0"', pipe]);
      const read = readFile(pipe, "utf8");
      await save(pipe);
      expect(await read).toBe("whole");
      expect(readdirSync(folder, { withFileTypes: true }).find(({ name }) => name === "pipe")).toSatisfy(
        (entry: { isFIFO(): boolean }) => entry.isFIFO(),
      );
    },
  );

  test("is refused where a folder is, or no name", async () => {
    const there = join(folder, "there");
    mkdirSync(there);
    await expect(checkWritable(there)).rejects.toThrow(/there: is a folder; a file was expected \[W1\]$/);
    await expect(save(there)).rejects.toThrow(/there: cannot be written \(E\w+\) \[W1\]$/);
    await expect(save("")).rejects.toThrow(/: cannot be written \(ENOENT\) \[W1\]$/);
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });
});

describe("a folder", () => {
  test("stays as it was where the new one fails", async () => {
    const path = join(folder, "replaced");
    const write = (text: string, isBroken: boolean): Promise<void> =>
      writeFolderAtomically(
        path,
        () => Promise.resolve(true),
        async (add) => {
          await add("a/b", [new TextEncoder().encode(text)]);
          if (isBroken) throw new Error("disk on fire");
        },
      );
    await write("first", false);
    await expect(write("second", true)).rejects.toThrow("disk on fire");
    expect(readFileSync(join(path, "a", "b"), "utf8")).toBe("first");
    await write("third", false);
    expect(readFileSync(join(path, "a", "b"), "utf8")).toBe("third");
    expect(readdirSync(folder).filter((name) => name.startsWith("replaced"))).toEqual(["replaced"]);
  });

  test.each(["SIGINT", "SIGTERM"] as const)(
    "is gone when the process is told to end by %s",
    async (signal) => {
      const main = join(import.meta.dirname, "..", "..", "dist", "cli", "main.js");
      const output = join(folder, "bundle");
      const args = ["compile", "vmoe-b16-every2-e8", "--target", "minimum", "--no-validate", "-o", output];
      const child = spawn(process.execPath, [main, ...args], { stdio: "ignore" });
      const ended = new Promise((resolve) => child.on("exit", (_, by) => resolve(by)));
      const partial = join(folder, `bundle.${child.pid}.tmp`, "weights");
      while (!existsSync(partial) && child.exitCode === null)
        await new Promise((resolve) => setTimeout(resolve, 2));
      child.kill(signal);
      expect(await ended).toBe(signal);
      expect(readdirSync(folder).filter((name) => name.startsWith("bundle"))).toEqual([]);
    },
  );
});
