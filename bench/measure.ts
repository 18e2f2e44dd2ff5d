/** What benchmarks share: their options, one case after the other, and an end with what there is, whatever ends them. */
import { constants } from "node:os";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    full: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    budget: { type: "string", default: "Infinity" },
  },
});

/** `--json`: one line, for bench/results. */
export const isJson: boolean = values.json;

/** `--full`: what only a GPU can measure, where a benchmark has such cases. */
export const isFull: boolean = values.full;

/** Milliseconds until `--budget <seconds>` of this process are over; 0 from then on. */
export const msLeft = (): number => Math.max(0, 1000 * budget - performance.now());

const budget = Number(values.budget);
if (!(budget > 0)) {
  console.error(`--budget: must be a number of seconds; got ${values.budget}`);
  process.exit(2);
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
  for (const { what, measure } of cases.filter((each) => each.what.includes(values.only))) {
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
