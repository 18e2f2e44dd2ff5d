/** Position embeddings resized: to SciPy's numbers, and to the laws of bilinear interpolation with corners on corners. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import fc from "fast-check";
import { expect, test } from "vitest";

import { type Shape, Tensor } from "../../ir/index.ts";
import { createModel, mergeConfig, tokensOf } from "../../models/index.ts";
import { matchWeights } from "../../models/weights/match.ts";
import { onGrids } from "../../models/weights/positions.ts";
import { tinyVmoe } from "../support/golden.ts";
import { memoryWeights } from "../support/weights.ts";

const name = "posembed_input/pos_embedding";

/** `table(row, column, d)` of a square grid, after a class token's row where there is one, resized. */
async function resize(
  side: number,
  [rows, columns]: readonly [number, number],
  table: (row: number, column: number, d: number) => number,
  { classToken = false, D = 1 } = {},
): Promise<readonly number[]> {
  const first = classToken ? 1 : 0;
  const held = Tensor.of("f32", [1, side * side + first, D], (_, t = 0, d = 0) =>
    t < first ? 1000 + d : table(Math.floor((t - first) / side), (t - first) % side, d),
  );
  const grid = { rows, columns, classToken };
  const shape = [1, tokensOf(grid), D];
  const parameter = {
    name,
    shape,
    init: { kind: "constant", value: 0 },
    trained: true,
    stored: { grid },
  } as const;
  const source = onGrids([parameter], memoryWeights(new Map([[name, held]])));
  expect(source.tensors.get(name)?.shape).toEqual(shape);
  return Array.from((await source.read(name)).numbers());
}

interface Recorded {
  readonly width: number;
  readonly cases: readonly {
    readonly source: readonly [number, number];
    readonly target: readonly [number, number];
    readonly table: readonly number[];
    readonly resized: readonly number[];
  }[];
}

const recorded = JSON.parse(
  readFileSync(join(import.meta.dirname, "..", "fixtures", "positions.json"), "utf8"),
) as Recorded;

test.each(recorded.cases)(
  "$source to $target as SciPy has it",
  async ({ source, target, table, resized }) => {
    const [side] = source;
    const D = recorded.width;
    const got = await resize(side, target, (y, x, d) => table[(y * side + x) * D + d]!, { D });
    expect(got).toHaveLength(resized.length);
    for (const [i, value] of resized.entries()) expect(got[i]).toBeCloseTo(value, 5);
  },
);

const side = fc.integer({ min: 1, max: 9 });
const target = fc.tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 12 }));
const numbers = fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 12, maxLength: 12 });

/** A grid of as many places and another form is taken to be the one that the table is of. */
const resizes = (n: number, [rows, columns]: readonly [number, number]): boolean =>
  rows * columns !== n * n || rows === columns;

test("of an equal number of tokens it is the very same table", async () => {
  await fc.assert(
    fc.asyncProperty(side, numbers, async (n, values) => {
      const at = (y: number, x: number): number => values[(y * 5 + x) % 12]!;
      const same = Array.from({ length: n * n }, (_, i) => at(Math.floor(i / n), i % n));
      expect(await resize(n, [n, n], at)).toEqual(same);
    }),
  );
});

test("of as many tokens in another form it is taken to be that form's", async () => {
  expect(await resize(2, [4, 1], (y, x) => 2 * y + x)).toEqual([0, 1, 2, 3]);
});

test("a constant stays one, and the class token's row is kept", async () => {
  await fc.assert(
    fc.asyncProperty(side, target, fc.integer({ min: -9, max: 9 }), async (n, to, value) => {
      const [first, ...rest] = await resize(n, to, () => value, { classToken: true });
      expect(first).toBe(1000);
      for (const each of rest) expect(each).toBeCloseTo(value, 6);
    }),
  );
});

test("corners are corners, and nothing lies outside the values around it", async () => {
  await fc.assert(
    fc.asyncProperty(side, target, numbers, async (n, [rows, columns], values) => {
      const at = (y: number, x: number): number => values[(y * 5 + x) % 12]!;
      fc.pre(resizes(n, [rows, columns]));
      const got = await resize(n, [rows, columns], at);
      const [bottom, right] = [rows > 1 ? n - 1 : 0, columns > 1 ? n - 1 : 0];
      const corner = (y: number, x: number): number | undefined => got[y * columns + x];
      expect(corner(0, 0)).toBe(at(0, 0));
      expect(corner(0, columns - 1)).toBe(at(0, right));
      expect(corner(rows - 1, 0)).toBe(at(bottom, 0));
      expect(corner(rows - 1, columns - 1)).toBe(at(bottom, right));
      expect(Math.max(...got)).toBeLessThanOrEqual(Math.max(...values) + 1e-5);
      expect(Math.min(...got)).toBeGreaterThanOrEqual(Math.min(...values) - 1e-5);
    }),
  );
});

test("a product of a column and a row is resized to the product of both resized", async () => {
  await fc.assert(
    fc.asyncProperty(side, target, numbers, async (n, [rows, columns], values) => {
      const [down, across] = [(y: number) => values[y % 12]!, (x: number) => values[(x + 3) % 12]!];
      fc.pre(resizes(n, [rows, columns]));
      const column = await resize(n, [rows, columns], (y) => down(y));
      const row = await resize(n, [rows, columns], (_, x) => across(x));
      const both = await resize(n, [rows, columns], (y, x) => down(y) * across(x));
      for (const [i, got] of both.entries()) {
        expect(got).toBeCloseTo(column[i]! * row[i]!, 2);
      }
    }),
  );
});

test("a slope stays one, from corner to corner", async () => {
  await fc.assert(
    fc.asyncProperty(side, target, async (n, [rows, columns]) => {
      fc.pre(resizes(n, [rows, columns]));
      const got = await resize(n, [rows, columns], (y, x) => 10 * y + x);
      for (const [i, value] of got.entries()) {
        const [y, x] = [Math.floor(i / columns), i % columns];
        const place = (at: number, of: number): number => (of === 1 ? 0 : (at * (n - 1)) / (of - 1));
        expect(value).toBeCloseTo(10 * place(y, rows) + place(x, columns), 4);
      }
    }),
  );
});

const tiny = tinyVmoe();
const { config } = tiny.cases.get("vanilla_C1.05")!;

const positionsOf = async (imageSize: readonly [number, number]): Promise<Shape | undefined> => {
  const { parameters } = createModel(config, { imageSize });
  const matched = matchWeights(parameters, tiny.weights, "tiny");
  return (await matched.read("Encoder/posembed_input/pos_embedding")).type.shape;
};

test("weights of one resolution fit a model of another", async () => {
  expect(await positionsOf([12, 12])).toEqual([1, 10, 16]);
  expect(await positionsOf([24, 32])).toEqual([1, 49, 16]);
});

test("what fills no square is refused as it is", () => {
  const { parameters } = createModel(mergeConfig(config, { classifier: "gap" }), { imageSize: [20, 20] });
  const tensors = new Map(tiny.weights.tensors);
  tensors.delete("cls");
  // Ten tokens: nine patches and a class token that this model has no place for.
  expect(() => matchWeights(parameters, { ...tiny.weights, tensors }, "tiny")).toThrow(
    "tiny: does not fit the model: Encoder/posembed_input/pos_embedding is [1, 10, 16], not [1, 25, 16] [W2]",
  );
});
