/** Turns by a clock of their own: warm before anything counts, many short runs a turn, and slow runs no oftener than asked. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { takeTurns, warmUp } from "../../backends/turns.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance"] }));
afterEach(() => void vi.useRealTimers());

/** A runner that takes `ms`, and gives how many runs came before, of itself. */
function runner(name: string, ms: number, log: string[]): () => Promise<number> {
  let before = 0;
  return () => {
    log.push(name);
    vi.advanceTimersByTime(ms);
    return Promise.resolve(before++);
  };
}

/** What ran, as names with how often each ran in a row. */
const inRows = (log: readonly string[]): string =>
  log
    .join("")
    .replaceAll(/(.)\1*/g, (row) => `${row[0]}${row.length} `)
    .trim();

test("short runs: each is warm for half a second before the first turn, and a turn is a slice of time", async () => {
  const log: string[] = [];
  const taken = await takeTurns([runner("a", 10, log), runner("b", 2, log)], { rounds: 2 });
  expect(inRows(log)).toBe("a50 b250 a5 b25 a5 b25");
  expect(taken[0]).toEqual([
    [50, 51, 52, 53, 54],
    [55, 56, 57, 58, 59],
  ]);
  expect(taken[1]?.map((turn) => turn.length)).toEqual([25, 25]);
});

test("long runs: one to be warm, and as many a turn as are asked for", async () => {
  const log: string[] = [];
  await takeTurns([runner("a", 2000, log), runner("b", 700, log)], { rounds: 2 });
  expect(inRows(log)).toBe("a1 b1 a1 b1 a1 b1");
  log.length = 0;
  await takeTurns([runner("a", 2000, log), runner("b", 700, log)], { rounds: 1, runs: 3 });
  expect(inRows(log)).toBe("a1 b1 a3 b3");
});

test("no round but the first begins after the limit", async () => {
  const log: string[] = [];
  const run = runner("a", 600, log);
  expect(await takeTurns([run], { rounds: 9, limitMs: 1000 })).toEqual([[[1], [2]]]);
  expect(await takeTurns([run], { rounds: 9, limitMs: 0 })).toEqual([[[4]]]);
});

test("what is called before a round is called when all are warm", async () => {
  const log: string[] = [];
  const before = (): void => void log.push("|");
  await takeTurns([runner("a", 600, log), runner("b", 600, log)], { rounds: 2, before });
  expect(log.join("")).toBe("ab|ab|ab");
  log.length = 0;
  await warmUp(runner("a", 100, log));
  expect(log.join("")).toBe("aaaaa");
});
