/** Dawn's questions: asked seldom where the driver needs the cores, and everybody else's immediates left alone. */
import { promisify } from "node:util";

import { expect, test, vi } from "vitest";

import { webgpuOn } from "../../backends/webgpu/index.ts";
import { pollSparingly } from "../../backends/webgpu/polling.ts";
import { Graph, input, ops, Tensor } from "../../ir/index.ts";
import { adapter, gpu } from "../support/adapter.ts";
import { noWeights } from "../support/engines.ts";

/** Native and without a name, as Dawn's question is. */
const question = Function.prototype as () => void;

function spied(): { readonly asked: [string, unknown[]][]; readonly global: typeof globalThis } {
  const asked: [string, unknown[]][] = [];
  const note =
    (how: string) =>
    (...given: unknown[]): void =>
      void asked.push([how, given]);
  const global = { setImmediate: note("at once"), setTimeout: note("later") } as unknown as typeof globalThis;
  return { asked, global };
}

test("a question waits, and is asked without arguments", () => {
  const { asked, global } = spied();
  pollSparingly(global);
  global.setImmediate(question);
  expect(asked).toEqual([["later", [question, expect.any(Number)]]]);
});

test("what is no question comes at once, with its arguments", () => {
  const { asked, global } = spied();
  pollSparingly(global);
  const others = [vi.fn<() => void>(), question.bind(undefined), Math.max];
  for (const callback of others) global.setImmediate(callback, 1, 2);
  expect(asked).toEqual(others.map((callback) => ["at once", [callback, 1, 2]]));
});

test("the process's own can be cleared, and promised", async () => {
  const never = vi.fn<() => void>();
  clearImmediate(setImmediate(never));
  expect(await promisify(setImmediate)("value")).toBe("value");
  expect(never).not.toHaveBeenCalled();
});

test.runIf(adapter.software)("while a software driver computes, the event loop sleeps", async () => {
  const side = 768;
  const [x, y] = ["x", "y"].map((name) => input(name, { dtype: "f32", shape: [side, side] }));
  const graph = new Graph("product", [x!, y!], [["sum", ops.reduceSum(ops.matmul(x!, y!))]]);
  const engine = await webgpuOn(() => Promise.resolve(gpu)).open();
  const ones = Tensor.of("f32", [side, side], () => 1);
  const inputs = new Map([
    ["x", ones],
    ["y", ones],
  ]);
  const executable = await engine.compile(graph, noWeights);
  await executable.run(inputs);
  const before = performance.eventLoopUtilization();
  for (let run = 0; run < 5; run++) await executable.run(inputs);
  const { utilization } = performance.eventLoopUtilization(before);
  engine.close();
  expect(utilization).toBeLessThan(0.7);
});
