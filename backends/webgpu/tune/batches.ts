/** Batches of works whose kernels are built before the first of them is timed, so that the device does not idle in between. */
import type { Bench, Work } from "./bench.ts";

/** Milliseconds of building between two batches, at most; less where there is less time. */
const longestMs = 2000;

/** The part of the time that is left in which a batch is built, so that most of it can be timed. */
const share = 1 / 2;

/** What is built first, to see how long it takes. */
const first = 4;

/** Something to be timed. */
interface Timeable {
  readonly works: readonly Work[];
}

/** Makes batches: of all there is where the driver builds kernels fast, else of as many as are worth waiting for. */
export class Batches {
  readonly #bench: Bench;
  readonly #now: () => number;
  /** Milliseconds that the last ones took, each. */
  #each = Infinity;

  constructor(bench: Bench, now: () => number) {
    this.#bench = bench;
    this.#now = now;
  }

  /** `items` in batches, built when they are asked for, while `left` says that there are milliseconds left. */
  async *of<T extends Timeable>(items: Iterable<T>, left: () => number): AsyncGenerator<readonly T[]> {
    const waiting = items[Symbol.iterator]();
    for (let remaining = left(); remaining > 0; remaining = left()) {
      const batch = await this.#next(waiting, Math.min(longestMs, share * remaining));
      if (batch.length === 0) return;
      yield batch;
    }
  }

  /** As many of the next ones as can be built in `ms`, one at least where there is one. */
  async #next<T extends Timeable>(waiting: Iterator<T>, ms: number): Promise<readonly T[]> {
    const batch: T[] = [];
    const started = this.#now();
    const fitting = (): number => Math.floor((ms - (this.#now() - started)) / this.#each);
    for (let size = Math.max(1, Math.min(first, fitting())); size >= 1; size = fitting()) {
      const before = this.#now();
      const some = take(waiting, size);
      if (some.length === 0) break;
      await this.#bench.build(some.flatMap(({ works }) => works.flat()));
      this.#each = (this.#now() - before) / some.length;
      batch.push(...some);
    }
    return batch;
  }
}

/** The next `count`, or as many as there are. */
function take<T>(waiting: Iterator<T>, count: number): readonly T[] {
  const taken: T[] = [];
  while (taken.length < count) {
    const { done, value } = waiting.next();
    if (done) break;
    taken.push(value);
  }
  return taken;
}
