/** The verifier finds each way in which a program can be malformed. */
import { expect, test } from "vitest";

import { Graph, input, type Node, ops, type Value, verify, weight } from "../../ir/index.ts";

const type = { dtype: "f32", shape: [2] } as const;
const x = input("x", type);

test("V1: a value must be a leaf or a result that its node lists", () => {
  const stray: Value = { type, leaf: undefined, node: undefined, index: 0 };
  expect(() => verify(new Graph("g", [x], [["y", stray]]))).toThrow(/V1/);
  const copy = { ...ops.exp(x) };
  expect(() => verify(new Graph("g", [x], [["y", copy]]))).toThrow(
    /exp: result 0 must be listed by its node \[V1\]/,
  );
});

test("V2: operands fit the signature and results have the declared types", () => {
  const good = ops.exp(x).node as Node;
  const results: Value[] = [];
  const node: Node = { ...good, results };
  results.push({ type: { dtype: "f32", shape: [3] }, leaf: undefined, node, index: 0 });
  expect(() => verify(new Graph("g", [x], [["y", results[0]!]]))).toThrow(
    "exp: y must be f32[2]; got f32[3] [V2]",
  );
});

test("V3: one name is one leaf, and inputs are listed", () => {
  const other = input("x", type);
  expect(() => verify(new Graph("g", [x, other], [["y", ops.add(x, other)]]))).toThrow(
    /input x: must be one value/,
  );
  expect(() => verify(new Graph("g", [], [["y", ops.exp(x)]]))).toThrow(
    /input x: is used; it must be listed/,
  );
  const [a, b] = [weight("w", type), weight("w", type)];
  expect(() => verify(new Graph("g", [], [["y", ops.add(a, b)]]))).toThrow(/weight w: must be one value/);
});
