/** Rates of programs that take turns. */
import type { Executable, Span } from "../backends/backend.ts";
import { median } from "../backends/statistics.ts";
import { msOf, takeTurns, type Turns } from "../backends/turns.ts";
import type { Tensor } from "../ir/index.ts";

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

/** Times `runners`, each run once before, in turns. */
export async function inTurns(runners: readonly Runner[], turns: Turns): Promise<Timed[]> {
  const taken = await takeTurns(
    runners.map((runner) => () => msOf(() => runner.run())),
    turns,
  );
  return runners.map(({ what, flops }, i) => {
    const times = (taken[i] ?? []).map(median);
    const ms = median(times);
    return { what, flops, turns: times, ms, gflops: flops / ms / 1e6 };
  });
}

/** For each round the time of `one`, as a share of that of `other` beside it: slow phases of the machine fall on both. */
export const timesAs = (one: Timed, other: Timed): number[] =>
  one.turns.map((ms, round) => ms / (other.turns[round] ?? Number.NaN));

/** For each round the rate of `one`, in operations a second, as a share of that of `other` beside it. */
export const shares = (one: Timed, other: Timed): number[] =>
  timesAs(one, other).map((ratio) => one.flops / other.flops / ratio);

/** Milliseconds of launches that are timed at once, so that GPUs are busy for most of a turn, and the most runs that they are. */
const sampleMs = 8;
const mostRuns = 100;

/**
 * Times `spans` of a program's launches by the device's own clock, the first being all of them, as many runs at once as keep a
 * GPU busy: milliseconds of each span, medians of those runs. Undefined where the device times no launches.
 */
export async function spanTimer(
  { time }: Executable,
  inputs: ReadonlyMap<string, Tensor>,
  spans: readonly Span[],
): Promise<(() => Promise<number[]>) | undefined> {
  if (!time) return undefined;
  const take = async (runs: number): Promise<number[]> => {
    const taken = await time(inputs, Array.from({ length: runs }, () => spans).flat());
    return spans.map((_, which) => median(taken.filter((__, i) => i % spans.length === which)));
  };
  const [all = sampleMs] = await take(1);
  const runs = Math.min(mostRuns, Math.max(1, Math.round(sampleMs / all)));
  return () => take(runs);
}
