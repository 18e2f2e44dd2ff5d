/** Laws of passes on random programs: meaning is kept, programs stay well formed, and the pipeline is idempotent. */
import fc from "fast-check";
import { expect, test } from "vitest";

import {
  evaluate,
  Graph,
  input,
  type Node,
  ops,
  opset,
  parse,
  print,
  type Tensor,
  type Value,
  verify,
} from "../ir/index.ts";
import { merge, pipeline, prune, runPasses, type Target } from "../passes/index.ts";
import { randomProgram } from "./support/arbitrary.ts";

const run = (graph: Graph, inputs: ReadonlyMap<string, Tensor>): Tensor[] => [
  ...evaluate(graph, (value) => inputs.get(value.leaf!.name)).values(),
];

const targets = {
  everything: { supports: () => true },
  "core ops": { supports: (op) => !op.decompose },
  nothing: { supports: () => false },
} satisfies Record<string, Target>;

/** The outputs of `graph` where each op that `target` lacks is computed by its decomposition, there and then. */
function runOn(target: Target, graph: Graph, inputs: ReadonlyMap<string, Tensor>): Tensor[] {
  const tensors = new Map<Value, Tensor>();
  const tensorOf = (value: Value): Tensor => tensors.get(value) ?? inputs.get(value.leaf!.name)!;
  for (const node of graph.nodes) {
    const results = applyOn(target, node, node.operands.map(tensorOf));
    for (const [i, result] of node.results.entries()) tensors.set(result, results[i]!);
  }
  return [...graph.outputs.values()].map(tensorOf);
}

function applyOn(target: Target, { op, sizes }: Node, operands: readonly Tensor[]): readonly Tensor[] {
  if (target.supports(op)) return op.evaluate(operands, sizes);
  const params = operands.map((tensor, i) => input(`p${i}`, tensor.type));
  const parts = op.decompose!(params, sizes).map((value, i): [string, Value] => [`r${i}`, value]);
  const inputs = new Map(operands.map((tensor, i) => [`p${i}`, tensor]));
  return runOn(target, new Graph(op.name, params, parts), inputs);
}

test.each(["everything", "core ops"] as const)("each pass to a target of %s keeps every bit", (name) => {
  // A decomposition rounds otherwise than the meaning; test/ops.test.ts holds the two together. A tolerance for
  // one op is none for a program, whose later ops may magnify the difference or decide by it: a cast to integers
  // at a whole number, a normalisation of nearly equal entries. So both sides decompose the same ops here.
  const target = targets[name];
  fc.assert(
    fc.property(randomProgram(), ({ graph, inputs }) => {
      const want = runOn(target, graph, inputs);
      let current = graph;
      for (const pass of pipeline(target, [...graph.outputs.keys()])) {
        current = pass.run(current, () => undefined);
        verify(current);
        expect(runOn(target, current, inputs), pass.name).toEqual(want);
      }
      expect(current.nodes.every((node) => target.supports(node.op))).toBe(true);
    }),
  );
});

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
      const calls = lines.flatMap((line) => /^ *%.*? = (?<call>.*)/.exec(line)?.groups?.["call"] ?? []);
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
