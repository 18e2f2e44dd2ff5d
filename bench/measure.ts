/** What benchmarks share: their options, one case after the other, and an end with what there is, whatever ends them. */
import { accessSync, constants as access, renameSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { dirname } from "node:path";

import { Command, InvalidArgumentError, Option } from "commander";

/** What `--json`, `--out`, `--full`, `--only` and `--budget` say. */
interface Options {
  readonly json?: boolean;
  readonly out?: string;
  readonly full?: boolean;
  readonly only: string;
  readonly budget: number;
}

const options = new Command("bench")
  .option("--json", "print one line of JSON in place of a table")
  .option("--out <file>", "write that line to a file, too", writable)
  .option("--full", "with what only a GPU can measure, the most telling first")
  .option("--only <text>", "only what has the text in its name", "")
  .addOption(
    new Option("--budget <seconds>", "begin nothing more after so many")
      .argParser(seconds)
      .default(Number.POSITIVE_INFINITY, "none"),
  )
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
  .parse()
  .opts<Options>();

function writable(file: string): string {
  try {
    accessSync(dirname(file), access.W_OK);
  } catch {
    throw new InvalidArgumentError("its folder must be there, and writable");
  }
  return file;
}

function seconds(text: string): number {
  const number = Number(text);
  if (!(number > 0)) throw new InvalidArgumentError("must be a number of seconds");
  return number;
}

/** `--full`: what only a GPU can measure, where a benchmark has such cases. */
export const isFull: boolean = options.full === true;

/** Milliseconds until `--budget <seconds>` of this process are over; 0 from then on. */
export const msLeft = (): number => Math.max(0, 1000 * options.budget - performance.now());

/** What a benchmark found. */
export interface Findings {
  /** The device, and how it was measured. */
  readonly device: string;
  readonly how: string;
  /** For other programs, beside the device and the date. */
  readonly numbers: object;
  /** For people. */
  readonly text: string;
}

/** Prints the text, or with `--json` one line of numbers, which `--out <file>` writes to a file, too. */
export function tell({ device, how, numbers, text }: Findings): void {
  const date = new Date().toISOString().slice(0, 10);
  const line = JSON.stringify({ date, device, ...numbers });
  console.log(options.json ? line : `${device}, ${date}, ${how}\n\n${text}`);
  const { out } = options;
  if (out === undefined) return;
  // At once, since a process that is told to end waits for nothing.
  writeFileSync(`${out}.part`, `${line}\n`);
  renameSync(`${out}.part`, out);
}

/** One thing that a benchmark measures. */
export interface Case<R> {
  readonly what: string;
  readonly measure: () => Promise<R>;
}

/**
 * Measures those of `cases` whose names contain the text of `--only`, in order, and has `report` print what was
 * measured: when all were, when the budget is over, after which no case is begun, or when the process is told to end.
 * Each row is told as a line on the standard error as soon as it is there. A case that fails is told, and left out.
 */
export async function measureAll<R>(
  cases: readonly Case<R>[],
  line: (row: R) => string,
  report: (rows: readonly R[]) => void,
): Promise<void> {
  const rows: R[] = [];
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      report(rows);
      process.exit(128 + constants.signals[signal]);
    });
  }
  for (const { what, measure } of cases.filter((each) => each.what.includes(options.only))) {
    if (msLeft() === 0) break;
    try {
      const row = await measure();
      rows.push(row);
      console.error(`${what}: ${line(row)}`);
    } catch (error) {
      console.error(`${what}: ${error instanceof Error ? error.message : String(error)}`);
      process.exitCode = 1;
    }
  }
  report(rows);
}
