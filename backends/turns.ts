/**
 * Measurements of runs that take turns, so that what the machine does beside them falls on all alike, on a device in its
 * working state: a GPU lowers its clocks within milliseconds of idleness, and needs a few hundred of load to raise them.
 */

/** Milliseconds that each runner is busy before it is measured, and that its turns last. */
const warmUpMs = 500;
const turnMs = 50;

/** How often runners take turns. */
export interface Turns {
  readonly rounds: number;
  /** The fewest runs of a turn; 1 by default. */
  readonly runs?: number;
  /** No round but the first begins once they took this many milliseconds. */
  readonly limitMs?: number;
  /** Called before each round. */
  readonly before?: () => void;
}

/**
 * Gives each of `runners` its turn in each round, once all are warm: as many runs as there is time for in a turn. Returns
 * of each, turn by turn, what its runs gave. What the first run alone has to do is to be done before.
 */
export async function takeTurns<T>(
  runners: readonly (() => Promise<T>)[],
  { rounds, runs = 1, limitMs = Infinity, before }: Turns,
): Promise<T[][][]> {
  for (const run of runners) await warmUp(run);
  const turns = runners.map((): T[][] => []);
  const started = performance.now();
  for (let round = 0; round < rounds; round++) {
    if (round > 0 && performance.now() - started >= limitMs) break;
    before?.();
    for (const [i, run] of runners.entries()) turns[i]?.push(await runFor(turnMs, runs, run));
  }
  return turns;
}

/** Keeps the device busy until it is in its working state: with one run at least, half a second of them where they are short. */
export async function warmUp(run: () => Promise<unknown>): Promise<void> {
  await runFor(warmUpMs, 1, run);
}

/** What runs give, one after the other, until they took `ms` milliseconds; of at least `least` runs. */
async function runFor<T>(ms: number, least: number, run: () => Promise<T>): Promise<T[]> {
  const given: T[] = [];
  const started = performance.now();
  while (given.length < least || performance.now() - started < ms) given.push(await run());
  return given;
}

/** Milliseconds of a run, by the host's clock. */
export async function msOf(run: () => Promise<unknown>): Promise<number> {
  const before = performance.now();
  await run();
  return performance.now() - before;
}
