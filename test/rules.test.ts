/** Every rewrite rule is a theorem: both sides mean the same for all values of its free variables, and it fires. */
import fc from "fast-check";
import { expect, test } from "vitest";

import {
  type CompileError,
  evaluate,
  Graph,
  input,
  ops,
  print,
  type Tensor,
  type Value,
} from "../ir/index.ts";
import { pipeline } from "../passes/pipeline.ts";
import { type Rule, rewrite, rule } from "../passes/rewrite.ts";
import { ruleCase } from "./support/arbitrary.ts";
import { expectClose } from "./support/close.ts";

/** Every rule of the pipeline, once. */
const rules: readonly Rule[] = [
  ...new Set(pipeline({ supports: () => true }, []).flatMap((pass) => pass.rules ?? [])),
];

const graphOf = (inputs: Iterable<Value>, values: readonly Value[]): Graph =>
  new Graph(
    "rule",
    [...inputs],
    values.map((value, i) => [`r${i}`, value]),
  );

test("rules have unique kebab-case names", () => {
  expect(new Set(rules.map((r) => r.name)).size).toBe(rules.length);
  for (const { name } of rules) expect(name).toMatch(/^[a-z]+(-[a-z0-9]+)*$/);
});

test.each(rules.map((r) => [r.name, r] as const))("%s: both sides mean the same, and it fires", (_, r) => {
  fc.assert(
    fc.property(ruleCase(r), ({ free, inputs }) => {
      const run = (graph: Graph): Tensor[] => [...evaluate(graph, (leaf) => inputs.get(leaf)).values()];
      const from = graphOf(inputs.keys(), r.from(free));
      const to = graphOf(inputs.keys(), r.to(free));
      expectClose(run(to), run(from));
      const fired: string[] = [];
      const rewritten = rewrite(from, [r], { onFire: ({ name }) => fired.push(name) });
      expect(fired).toContain(r.name);
      expectClose(run(rewritten), run(from));
    }),
  );
});

test("a rule of several results replaces all of them at one site", () => {
  const swap = rule({
    name: "top-k-of-transposed",
    given: "x: f32[N, T]; k",
    from({ x, k }) {
      const { values, indices } = ops.topK(ops.transpose(x, { perm: [1, 0] }), { k });
      return [ops.exp(values), indices];
    },
    to({ x, k }) {
      const { values, indices } = ops.topK(ops.transpose(x, { perm: [1, 0] }), { k });
      return [ops.exp(ops.add(values, values)), indices];
    },
    when: ({ x }) => x.type.shape[0] === 4,
  });
  const x = input("x", { dtype: "f32", shape: [4, 2] });
  const { values, indices } = ops.topK(ops.transpose(x, { perm: [1, 0] }), { k: 2 });
  const before = graphOf([x], [ops.exp(values), indices]);
  expect(() => rewrite(before, [swap])).not.toThrow();
  const after = rewrite(before, [swap]);
  const [first, second] = [...after.outputs.values()];
  expect(print(after)).toContain("add(");
  expect(first?.node?.operands[0]?.node?.operands[0]?.node).toBe(second?.node);
});

test("rules that never come to an end are an error that names them", () => {
  const flip = rule({
    name: "commute",
    given: "x: number[...], y: number[...]",
    from: ({ x, y }) => [ops.add(x, y)],
    to: ({ x, y }) => [ops.add(y, x)],
  });
  const [x, y] = ["x", "y"].map((name) => input(name, { dtype: "f32", shape: [2] }));
  const graph = graphOf([x!, y!], [ops.add(x!, y!)]);
  expect(() => rewrite(graph, [flip])).toThrow(
    expect.objectContaining({ code: "R2", subject: "commute" }) as CompileError,
  );
});

test("a right side of another type is an error", () => {
  const wrong = rule({
    name: "wrong",
    given: "x: f32[...]",
    from: ({ x }) => [ops.exp(x)],
    to: ({ x }) => [ops.cast(x, { to: "bf16" })],
  });
  const x = input("x", { dtype: "f32", shape: [2] });
  expect(() => rewrite(graphOf([x], [ops.exp(x)]), [wrong])).toThrow(/R1/);
});
