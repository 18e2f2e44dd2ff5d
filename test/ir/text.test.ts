/** The textual form: what it looks like, and what is wrong with a text. */
import { expect, test } from "vitest";

import { Graph, input, ops, opset, parse, print, scoped, weight } from "../../ir/index.ts";

const x = input("image", { dtype: "f32", shape: [1, 8] });
const w = weight("head/kernel", { dtype: "f32", shape: [8, 4] });
const { values, indices } = scoped("head", () => ops.topK(ops.softmax(ops.matmul(x, w)), { k: 2 }));
const graph = new Graph(
  "tiny",
  [x],
  [
    ["values", values],
    ["indices", indices],
  ],
);

const text = `graph "tiny" {
  input %x0 "image": f32[1, 8]
  weight %w0 "head/kernel": f32[8, 4]
  %0 = matmul(%x0, %w0): f32[1, 4] @ "head"
  %1 = softmax(%0): f32[1, 4] @ "head"
  %2, %3 = top_k(%1) {k = 2}: f32[1, 2], i32[1, 2] @ "head"
  return "values" = %2
  return "indices" = %3
}
`;

test("a program prints one statement a line", () => {
  expect(print(graph)).toBe(text);
  expect(print(parse(text, opset))).toBe(text);
});

test("attributes of every kind read back", () => {
  const made = ops.constant({ value: -0, to: "bf16", shape: [2, 1] });
  const cast = ops.cast(ops.broadcast(made, { shape: [3, 2, 4] }), { to: "f32" });
  const less = ops.compare(cast, ops.gelu(cast, { approximate: "none" }), { is: "lt" });
  const tiny = ops.constant({ value: 1e-300, to: "f32", shape: [] });
  const all = new Graph(
    'quotes " and \n lines',
    [],
    [
      ["less", less],
      ["tiny", tiny],
    ],
  );
  const printed = print(all);
  expect(print(parse(printed, opset))).toBe(printed);
  expect(printed).toContain('{value = -0, to = "bf16", shape = [2, 1]}');
});

test.each([
  ["", "line 2: the text ends before the closing } [P1]"],
  ["graph tiny {", "line 1: expected a quoted name, got tiny [P1]"],
  [text.replace("softmax(", "softmux("), "line 5: unknown op softmux [P2]"],
  [text.replace("(%0)", "(%9)"), "line 5: unknown value %9 [P2]"],
  [text.replace("%1 = softmax", "%0 = softmax"), "line 5: %0 is defined twice [P2]"],
  [
    text.replace("f32[1, 4] @", "f32[1, 5] @"),
    "line 4: matmul gives f32[1, 4]; the text says f32[1, 5] [P3]",
  ],
  [text.replace("k = 2", "k = 9"), "line 6: top_k: requires 1 <= k <= N"],
  [text.replace("k = 2", "q = 2"), "line 6: top_k: attribute k must be of kind int; got undefined [C0] [P3]"],
  [text.replace("f32[8, 4]", "f64[8, 4]"), "line 3: expected a dtype, got f64 [P1]"],
  [text.replace("[1, 8]", "[1, x]"), "line 2: expected integers between brackets [P1]"],
  [text.replace("%2, %3 =", "%2 ="), "line 6: top_k has 2 results [P3]"],
  [text.replace("softmax(%0)", "softmax(%0) &"), 'line 5: unexpected text " &: f32[1, 4] @'],
  [text.replace("softmax(%0): f32[1, 4]", "softmax(%0)"), "line 5: expected :, got @ [P1]"],
  [`${text}more`, "line 9: the text goes on after the closing } [P1]"],
])("what is wrong with a text is said with its line: %#", (broken, message) => {
  expect(() => parse(broken, opset)).toThrow(message);
});
