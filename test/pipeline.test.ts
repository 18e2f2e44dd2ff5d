/** Laws of passes on random programs: meaning is kept, programs stay well formed, and the pipeline is idempotent. */
import fc from "fast-check";
import { expect, test } from "vitest";

import { evaluate, Graph, input, ops, opset, parse, print, type Tensor, verify } from "../ir/index.ts";
import { merge, pipeline, prune, runPasses } from "../passes/index.ts";
import { randomProgram } from "./support/arbitrary.ts";
import { expectClose } from "./support/close.ts";

const run = (graph: Graph, inputs: ReadonlyMap<string, Tensor>): Tensor[] => [
  ...evaluate(graph, (value) => inputs.get(value.leaf!.name)).values(),
];

const targets = {
  everything: { supports: () => true },
  "core ops": { supports: (op: { readonly decompose: unknown }) => !op.decompose },
  nothing: { supports: () => false },
};

test.each(["everything", "core ops"] as const)("each pass to a target of %s keeps meaning", (name) => {
  fc.assert(
    fc.property(randomProgram(), ({ graph, inputs }) => {
      fc.pre(run(graph, inputs).every(isModest));
      let current = graph;
      for (const pass of pipeline(targets[name], [...graph.outputs.keys()])) {
        current = pass.run(current, () => undefined);
        verify(current);
        expectClose(run(current, inputs), run(graph, inputs));
      }
      expect(current.nodes.every((node) => targets[name].supports(node.op))).toBe(true);
    }),
  );
});

/** Whether numbers are of a size at which rounding errors of sums stay comparable. */
const isModest = (tensor: Tensor): boolean => Array.from(tensor.numbers()).every((v) => Math.abs(v) < 1e6);

test("the pipeline is idempotent", () => {
  fc.assert(
    fc.property(randomProgram(), ({ graph }) => {
      const passes = pipeline(targets["core ops"], [...graph.outputs.keys()]);
      const once = runPasses(graph, passes, { check: true });
      expect(print(runPasses(once, passes))).toBe(print(once));
    }),
  );
});

test("random programs print, parse and print the same, and mean the same", () => {
  fc.assert(
    fc.property(randomProgram(), ({ graph, inputs }) => {
      const text = print(graph);
      const read = parse(text, opset);
      verify(read);
      expect(print(read)).toBe(text);
      expect(run(read, inputs)).toEqual(run(graph, inputs));
    }),
  );
});

test("merge leaves no two equal applications", () => {
  fc.assert(
    fc.property(randomProgram(), ({ graph }) => {
      const lines = print(merge.run(graph, () => undefined)).split("\n");
      const calls = lines.flatMap((line) =>
        line.includes(" = ") ? [line.split(" = ").slice(1).join(" = ")] : [],
      );
      expect(new Set(calls).size).toBe(calls.length);
    }),
  );
});

test("merge tells all numbers apart", () => {
  const numbers = [0, -0, Infinity, -Infinity, NaN];
  const graph = new Graph(
    "numbers",
    [],
    [...numbers, ...numbers].map((value, i) => [`r${i}`, ops.constant({ value, to: "f32", shape: [1] })]),
  );
  const merged = merge.run(graph, () => undefined);
  expect(merged.nodes).toHaveLength(numbers.length);
  expect(run(merged, new Map())).toEqual(run(graph, new Map()));
});

test("a target without a core op is an error that names the op", () => {
  const x = input("x", { dtype: "f32", shape: [2] });
  const graph = new Graph("sum", [x], [["y", ops.add(x, x)]]);
  expect(() => runPasses(graph, pipeline(targets.nothing, ["y"]))).toThrow(/^add: has no kernel .*\[L1\]$/);
});

test("prune keeps what is asked for, and an unknown output is an error that names it", () => {
  fc.assert(
    fc.property(randomProgram(), ({ graph, inputs }) => {
      const [first = ""] = graph.outputs.keys();
      const pruned = prune([first]).run(graph, () => undefined);
      expect([...pruned.outputs.keys()]).toEqual([first]);
      expect(run(pruned, inputs)).toEqual(run(graph, inputs).slice(0, 1));
      expect(() => prune(["nothing"]).run(graph, () => undefined)).toThrow(/^nothing: must be an output/);
    }),
  );
});
