/** Laws that every op obeys, checked for the whole op set: adding an op adds its tests. */
import fc from "fast-check";
import { expect, test } from "vitest";

import {
  type AnyOp,
  CompileError,
  evaluate,
  Graph,
  opset,
  parse,
  print,
  sizeOf,
  Tensor,
  typeOf,
  type Value,
} from "../ir/index.ts";
import { brokenCase, type Case, floatsFor, legalCase } from "./support/arbitrary.ts";
import { expectClose } from "./support/close.ts";

const where = (holds: (op: AnyOp) => boolean): [string, AnyOp][] => [...opset].filter(([, op]) => holds(op));
const always = where(() => true);

const program = (c: Case, values: readonly Value[]): Graph =>
  new Graph(
    "case",
    c.params,
    values.map((value, i) => [`r${i}`, value]),
  );

const run = (c: Case, values: readonly Value[]): Tensor[] => [
  ...evaluate(program(c, values), (leaf) => c.tensors[c.params.indexOf(leaf)]).values(),
];

const isFinite = (tensor: Tensor): boolean => Array.from(tensor.numbers()).every(Number.isFinite);
const rows = (t: Tensor, width: number): number[][] =>
  Array.from({ length: t.data.length / width }, (_, i) =>
    Array.from(t.numbers().subarray(i * width, (i + 1) * width)),
  );
const reversed = (t: Tensor): Tensor => new Tensor(t.type, t.data.toReversed());

test("mnemonics are unique, snake_case and core ops at most 35", async () => {
  expect(opset.size).toBe(Object.values(await import("../ir/ops/index.ts")).length);
  for (const name of opset.keys()) expect(name).toMatch(/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/);
  expect(where((op) => !op.decompose).length).toBeLessThanOrEqual(35);
});

test.each(always)("%s: results have the declared types and are finite", (_, op) => {
  fc.assert(
    fc.property(legalCase(op), (c) => {
      const results = op.apply(c.params, c.attrs);
      const sizes = op.sizesOf(c.types, c.attrs);
      expect(results.map((r) => r.type)).toEqual(op.results.map((slot) => typeOf(slot, sizes)));
      const tensors = run(c, results);
      expect(tensors.map((t) => t.type)).toEqual(results.map((r) => r.type));
      expect(tensors.every(isFinite)).toBe(true);
    }),
  );
});

test.each(where((op) => Boolean(op.decompose)))("%s: the decomposition means the same", (_, op) => {
  for (const floats of floatsFor(op)) {
    fc.assert(
      fc.property(legalCase(op, { floats, dtypes: ["f32", "i32"] }), (c) => {
        const lowered = op.decompose!(c.params, op.sizesOf(c.types, c.attrs));
        expectClose(run(c, lowered), run(c, op.apply(c.params, c.attrs)));
      }),
    );
  }
});

test.each(always)("%s: its printed form reads back", (_, op) => {
  fc.assert(
    fc.property(legalCase(op), (c) => {
      const text = print(program(c, op.apply(c.params, c.attrs)));
      expect(print(parse(text, opset))).toBe(text);
    }),
  );
});

test.each(always.flatMap(([name, op]) => op.where.map((c) => [name, c.label, c.text, op] as const)))(
  "%s: %s rejects unless %s",
  (_, label, _text, op) => {
    fc.assert(
      fc.property(brokenCase(op, label), (c) => {
        expect(() => op.apply(c.params, c.attrs)).toThrow(
          expect.objectContaining({ code: label, subject: op.name, name: CompileError.name }) as Error,
        );
      }),
    );
  },
);

test.each(where((op) => op.has("elementwise")))("%s: commutes with reversing all elements", (_, op) => {
  fc.assert(
    fc.property(legalCase(op), (c) => {
      const back = { ...c, tensors: c.tensors.map(reversed) };
      const results = op.apply(c.params, c.attrs);
      expect(run(back, results).map(reversed)).toEqual(run(c, results));
    }),
  );
});

test.each(where((op) => op.has("view")))("%s: is a view, the elements stay in order", (_, op) => {
  fc.assert(
    fc.property(legalCase(op), (c) => {
      expect(run(c, op.apply(c.params, c.attrs))[0]!.data).toEqual(c.tensors[0]!.data);
      expect(op.viewAt(op.sizesOf(c.types, c.attrs))).toBe(0);
    }),
  );
});

/** Copies whose every element is told apart from the others. */
const numbered = ({ type }: Tensor): Tensor =>
  new Tensor(
    type,
    Float32Array.from({ length: sizeOf(type.shape) }, (_, i) => i),
  );

test.each(always)("%s: lies in its operand where it says so", (_, op) => {
  fc.assert(
    fc.property(legalCase(op, { dtypes: ["f32"] }), (c) => {
      const at = op.viewAt(op.sizesOf(c.types, c.attrs));
      if (at === undefined) return;
      const copy = { ...c, tensors: c.tensors.map(numbered) };
      const [found] = run(copy, op.apply(c.params, c.attrs)).map(({ data }) => Array.from(data));
      expect(found).toEqual(found!.map((_element, i) => at + i));
    }),
  );
});

test.each(where((op) => op.has("plan")))(
  "%s: a kept choice sits in one slot, a full slot is chosen",
  (_, op) => {
    fc.assert(
      fc.property(legalCase(op, { floats: "tied" }), (c) => {
        const tensors = run(c, op.apply(c.params, c.attrs));
        const named = (name: string): Tensor => tensors[op.results.findIndex((slot) => slot.name === name)]!;
        const [tokens, slots] = [named("tokens"), named("slots")];
        const [G = 0, T = 0, k = 0] = slots.type.shape;
        const size = tokens.data.length / G;
        for (let g = 0; g < G; g++) {
          const seated = Array.from(tokens.data.slice(g * size, (g + 1) * size));
          const seats = seated.map(() => -1);
          for (let i = 0; i < T * k; i++) {
            const slot = slots.data[g * T * k + i]!;
            if (slot < 0) continue;
            expect(seats[slot]).toBe(-1);
            seats[slot] = Math.floor(i / k);
          }
          expect(seats).toEqual(seated);
        }
      }),
    );
  },
);

test.each(where((op) => op.has("gates")))(
  "%s: weights are the k largest of E probabilities, of distinct experts",
  (_, op) => {
    expect(op.has("plan")).toBe(true);
    for (const floats of ["grid", "separated", "tied"] as const) {
      fc.assert(
        fc.property(legalCase(op, { floats }), (c) => {
          const tensors = run(c, op.apply(c.params, c.attrs));
          const named = (name: string): Tensor =>
            tensors[op.results.findIndex((slot) => slot.name === name)]!;
          const [tokens, slots, weights] = [named("tokens"), named("slots"), named("weights")];
          const [, E = 0, capacity = 0] = tokens.type.shape;
          const k = weights.type.shape.at(-1)!;
          const [seats, gates] = [rows(slots, k), rows(weights, k)];
          for (const [token, chosen] of gates.entries()) {
            const least = chosen.at(-1)!;
            expect([...chosen, 0]).toEqual([...chosen, 0].toSorted((a, b) => b - a));
            // What is left of 1 is of E - k others, none of which is larger than the least choice.
            const rest = 1 - chosen.reduce((a, b) => a + b);
            expect(rest).toBeGreaterThan(-1e-6);
            expect(rest).toBeLessThan((E - k) * least + 1e-6);
            const experts = seats[token]!.filter((slot) => slot >= 0).map((slot) =>
              Math.floor(slot / capacity),
            );
            expect(new Set(experts).size).toBe(experts.length);
          }
        }),
      );
    }
  },
);

const axesOf = (op: AnyOp, name: string): string | undefined =>
  op.operands
    .find((slot) => slot.name === name)
    ?.axes.map((axis) => ("name" in axis ? axis.name : axis.size))
    .join(" ");

test("the ops that have experts' matrices say so", () => {
  for (const [name, op] of opset) {
    const has = axesOf(op, "w1") === "E D F" && axesOf(op, "w2") === "E F D";
    expect(op.has("experts"), name).toBe(has);
  }
});
