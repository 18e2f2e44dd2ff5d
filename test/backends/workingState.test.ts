/** The working state of a device: reached by load, lost when idle. */
import { expect, test } from "vitest";

import { WorkingState } from "../../backends/webgpu/tune/workingState.ts";

/** A state, what passes the time without load, and how many loads of `ms` a run takes. */
function watched(): { idle: (ms: number) => void; loadsOf: (ms: number) => Promise<number> } {
  let time = 1e6;
  const state = new WorkingState(200, () => time);
  return {
    idle: (ms) => void (time += ms),
    loadsOf: async (ms) => {
      let loads = 0;
      const load = (): Promise<number> => Promise.resolve((time += ms));
      await state.in(() => load().then(() => loads++), load);
      return loads;
    },
  };
}

test("is reached by load, kept by short pauses, and lost when idle", async () => {
  const { idle, loadsOf } = watched();
  expect(await loadsOf(10)).toBe(20);
  for (let i = 0; i < 100; i++) {
    idle(15);
    expect(await loadsOf(1)).toBe(0);
  }
  idle(30);
  expect(await loadsOf(10)).toBe(20);
});

test("takes one run where that is long, and none where the host computes", async () => {
  expect(await watched().loadsOf(500)).toBe(1);
  let loads = 0;
  const load = (): Promise<number> => Promise.resolve(loads++);
  expect(await new WorkingState(0).in(load, () => Promise.resolve("run"))).toBe("run");
  expect(loads).toBe(0);
});
