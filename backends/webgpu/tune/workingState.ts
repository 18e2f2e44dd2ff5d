/** The working state of a device: a GPU lowers its clocks, several times, when it is idle, and raises them under load. */

/** Milliseconds without work after which clocks may have fallen. */
const idleMs = 20;

/** Milliseconds of load in which a GPU raises its clocks: 100 to 300 on those that were measured. */
const raisingMs = 200;

/** What keeps account of how long a device has been busy. */
export class WorkingState {
  readonly #raisingMs: number;
  readonly #now: () => number;
  /** When the load that ended last began, and when it ended. */
  #began = -Infinity;
  #ended = -Infinity;

  /**
   * Of a device that needs `raising` milliseconds of load; 0 for one that computes on the CPU, which the host keeps busy.
   * `now` is the time in milliseconds.
   */
  constructor(raising: number = raisingMs, now: () => number = () => performance.now()) {
    this.#raisingMs = raising;
    this.#now = now;
  }

  /**
   * What `run` gives, in the working state: after as many runs of `load` as it takes, none where the device has been busy
   * long enough. Both must keep the device busy until they end.
   */
  async in<T>(load: () => Promise<unknown>, run: () => Promise<T>): Promise<T> {
    while (!this.#isReached()) await this.#busy(load);
    return this.#busy(run);
  }

  #isReached(): boolean {
    if (this.#raisingMs === 0) return true;
    return this.#now() - this.#ended <= idleMs && this.#ended - this.#began >= this.#raisingMs;
  }

  async #busy<T>(run: () => Promise<T>): Promise<T> {
    const began = this.#now();
    if (began - this.#ended > idleMs) this.#began = began;
    const given = await run();
    this.#ended = this.#now();
    return given;
  }
}
