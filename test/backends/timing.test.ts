/** Launches timed in spans: each span finds what the launches before it leave, and nobody's inputs are lost. */
import { expect, test } from "vitest";
import { globals } from "webgpu";

import { dawn } from "../../backends/webgpu/dawn.ts";
import { Graph, input, ops, Tensor } from "../../ir/index.ts";
import { noWeights } from "../support/engines.ts";

/** What is recorded at the API: passes with their launches, and copies that no pass contains. */
function recorded(): { readonly log: string[]; readonly restore: () => void } {
  const log: string[] = [];
  const restores: (() => void)[] = [];
  const spy = (type: string, name: string, note: () => void): void => {
    const { prototype } = (globals as unknown as Record<string, { prototype: Record<string, unknown> }>)[
      type
    ]!;
    const original = prototype[name] as (...args: unknown[]) => unknown;
    prototype[name] = function noted(this: unknown, ...args: unknown[]): unknown {
      note();
      return original.apply(this, args);
    };
    restores.push(() => (prototype[name] = original));
  };
  spy("GPUCommandEncoder", "beginComputePass", () => void log.push("pass "));
  spy("GPUCommandEncoder", "copyBufferToBuffer", () => void log.push("copy"));
  spy("GPUComputePassEncoder", "dispatchWorkgroups", () => void (log[log.length - 1] += "*"));
  return { log, restore: () => restores.forEach((undo) => undo()) };
}

test("what lies between spans is launched, from the inputs on where a span begins anew", async () => {
  const [x, w] = [input("x", { dtype: "f32", shape: [4, 8] }), input("w", { dtype: "f32", shape: [8, 8] })];
  const y = ops.softmax(ops.matmul(ops.softmax(ops.matmul(x, w)), w));
  const engine = await dawn.open();
  try {
    const executable = await engine.compile(new Graph("four", [x, w], [["y", y]]), noWeights);
    const inputs = new Map(
      [x, w].map(({ leaf, type }) => [
        leaf!.name,
        Tensor.of("f32", type.shape, (i, j) => Math.sin(3 * i + j)),
      ]),
    );
    const before = await executable.run(inputs);
    expect(executable.report.launches).toBe(4);
    const { log, restore } = recorded();
    const times = await executable.time!(inputs, [
      [1, 2],
      [3, 4],
      [0, 4],
      [2, 4],
    ]);
    restore();
    expect(times).toHaveLength(4);
    expect(times.every((ms) => ms >= 0)).toBe(true);
    // Two inputs are copied before each first launch; last the timestamps.
    expect(log.join(", ")).toBe(
      "copy, copy, pass *, pass *, pass *, pass *, " +
        "copy, copy, pass ****, " +
        "copy, copy, pass **, pass **, copy",
    );
    expect((await executable.run(inputs)).get("y")!.data).toEqual(before.get("y")!.data);
    expect(await executable.profile!(inputs)).toHaveLength(4);
  } finally {
    engine.close();
  }
});
