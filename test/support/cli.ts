/** The command line as it is shipped, in processes of its own. */
import { execFile } from "node:child_process";
import { join } from "node:path";

import { expect } from "vitest";

const root = join(import.meta.dirname, "..", "..");

/** What a command did. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export const moec = (...args: readonly string[]): Promise<Outcome> => moecIn(process.env, args);

/** The same with the variables of `env`, by the program `main`. */
export const moecIn = (
  env: NodeJS.ProcessEnv,
  args: readonly string[],
  main: string = join(root, "dist", "cli", "main.js"),
): Promise<Outcome> =>
  new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { maxBuffer: 2 ** 26, env }, (error, stdout, stderr) =>
      resolve({ code: typeof error?.code === "number" ? error.code : error ? -1 : 0, stdout, stderr }),
    );
  });

/** Parsed JSON of whatever shape. */
export interface Facts {
  readonly [key: string]: Facts;
  readonly [index: number]: Facts;
}

/** What a command that succeeds prints with `--json`. */
export const json = async (...args: readonly string[]): Promise<Facts> => {
  const { code, stdout, stderr } = await moec(...args, "--json");
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as Facts;
};
