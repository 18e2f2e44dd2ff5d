/** What the command line prints on: readers that leave, files without room, and terminals. */
import { execFile } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { expect, test } from "vitest";

import type { Outcome } from "./support/cli.ts";
import { root, temporaryFolder } from "./support/folder.ts";
import { tinyVmoe } from "./support/golden.ts";

const folder = temporaryFolder("output");
const config = join(folder, "tiny.json");
writeFileSync(config, JSON.stringify(tinyVmoe().cases.get("bpr_C0.4")!.config));
const dist = join(root, "dist", "cli");

const main = join(dist, "main.js");
const shell = (script: string, ...args: readonly string[]): Promise<Outcome> =>
  new Promise((resolve) => {
    execFile("sh", ["-c", script, process.execPath, ...args], (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    );
  });

test.skipIf(process.platform === "win32")("a reader may have enough before the end", async () => {
  const pictures = ["coffee.png", "chelsea.png", "rocket.jpg"].map((name) =>
    join(root, "test", "fixtures", name),
  );
  const args = ["run", config, "--backend", "reference", "--csv", "--batch", "1", "--size", "12", "--image"];
  const ended = await shell('"$0" "$@" | true', main, ...args, ...pictures);
  expect(ended).toEqual({ code: 0, stdout: "", stderr: "" });
});

test.skipIf(!existsSync("/dev/full"))("a file must have room", async () => {
  const ended = await shell('"$0" "$@" > /dev/full', main, "models", "--json");
  expect(ended).toEqual({
    code: 2,
    stdout: "",
    stderr: "error: the output: cannot be written (ENOSPC)\n",
  });
});

test.skipIf(process.platform === "win32")("a terminal has its cursor again after Ctrl-C", async () => {
  const bar = JSON.stringify(pathToFileURL(join(dist, "progress.js")));
  const script = `
      process.stderr.isTTY = true;
      const { show } = (await import(${bar})).progressBar(false);
      setTimeout(() => { show(0.5, "working"); process.kill(process.pid, "SIGINT"); }, 400);
      setTimeout(() => undefined, 10_000);`;
  const ended = await shell('"$0" "$@"; test $? = 130', "--input-type=module", "-e", script);
  expect(ended).toMatchObject({ code: 0, stdout: "" });
  const [hidden, shown] = ["\u001B[?25l", "\u001B[?25h"].map((code) => ended.stderr.lastIndexOf(code));
  expect(hidden).toBeGreaterThanOrEqual(0);
  expect(shown).toBeGreaterThan(hidden!);
});
