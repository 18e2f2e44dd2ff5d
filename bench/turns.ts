/** Times of runs that take turns, so that what the machine does beside them falls on all alike. */
import { median } from "../backends/statistics.ts";

/** Something that is run again and again. */
export interface Runner {
  readonly what: string;
  /** The operations of one run. */
  readonly flops: number;
  run(): Promise<unknown>;
}

/** What was measured of a runner. */
export interface Timed {
  readonly what: string;
  readonly flops: number;
  /** Milliseconds of a run, turn by turn: the median of the turn's runs. */
  readonly turns: readonly number[];
  /** Medians over the turns. */
  readonly ms: number;
  readonly gflops: number;
}

/** Milliseconds of each of `repeats` runs. */
export async function timesOf(repeats: number, run: () => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < repeats; i++) {
    const before = performance.now();
    await run();
    times.push(performance.now() - before);
  }
  return times;
}

/** How often runners take turns. */
export interface Turns {
  readonly rounds: number;
  /** Runs of a turn. */
  readonly runs: number;
  /** Called before each round. */
  readonly before?: () => void;
}

/** Gives each of `runners`, already warm, its turn in each round. */
export async function inTurns(
  runners: readonly Runner[],
  { rounds, runs, before = () => undefined }: Turns,
): Promise<Timed[]> {
  const all = runners.map((runner) => ({ runner, turns: [] as number[] }));
  for (let round = 0; round < rounds; round++) {
    before();
    for (const { runner, turns } of all) turns.push(median(await timesOf(runs, () => runner.run())));
  }
  return all.map(({ runner: { what, flops }, turns }) => {
    const ms = median(turns);
    return { what, flops, turns, ms, gflops: flops / ms / 1e6 };
  });
}

/** For each round the rate of `one`, in operations a second, as a share of that of `other` beside it. */
export const shares = (one: Timed, other: Timed): number[] =>
  one.turns.map((ms, round) => (one.flops / ms) * ((other.turns[round] ?? 0) / other.flops));
