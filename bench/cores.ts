/** Where threads run, and how far the cores are from each other: see bench/traps.md. */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { pid, platform } from "node:process";
import { Worker } from "node:worker_threads";

import { median } from "../backends/statistics.ts";

/** Keeps the main thread, and threads that it makes from now on, on the first core; returns whether it is kept. */
export const stayOnFirstCore = (): boolean =>
  platform === "linux" && spawnSync("taskset", ["-cp", "0", String(pid)]).status === 0;

/** What the other thread does: while the second number is 1, it clears the first. */
const answer = `
const { workerData: numbers } = require("node:worker_threads");
for (;;) {
  Atomics.wait(numbers, 1, 0);
  while (Atomics.load(numbers, 1) === 1) if (Atomics.load(numbers, 0) === 1) Atomics.store(numbers, 0, 0);
}`;

/** Measures how long a word takes from one core to another and back. */
export class Distance {
  readonly #numbers = new Int32Array(new SharedArrayBuffer(8));
  readonly #other = new Worker(answer, { eval: true, workerData: this.#numbers });

  private constructor() {}

  /** To be opened before the main thread is bound to a core: the other thread would be bound to it, too. */
  static async open(): Promise<Distance> {
    const distance = new Distance();
    await once(distance.#other, "online");
    return distance;
  }

  /** Nanoseconds there and back: about 100 where cores share a cache, several times as many where they do not. */
  measure(): number {
    const numbers = this.#numbers;
    const trip = (): void => {
      Atomics.store(numbers, 0, 1);
      while (Atomics.load(numbers, 0) === 1);
    };
    Atomics.store(numbers, 1, 1);
    Atomics.notify(numbers, 1);
    trip();
    const trips = 2000;
    const times = Array.from({ length: 9 }, () => {
      const before = performance.now();
      for (let i = 0; i < trips; i++) trip();
      return ((performance.now() - before) * 1e6) / trips;
    });
    Atomics.store(numbers, 1, 0);
    return median(times);
  }

  async close(): Promise<void> {
    await this.#other.terminate();
  }
}
