/** The signature language: what binds, what is refused in one line, and what TypeScript makes of it. */
import { expect, expectTypeOf, test } from "vitest";

import {
  type Attrs,
  type Bound,
  defineOp,
  input,
  type Operands,
  ops,
  type Results,
  type Shape,
  type Value,
} from "../../ir/index.ts";

const f32 = (name: string, ...shape: number[]): Value => input(name, { dtype: "f32", shape });

test("axes bind on first use, lists bind any number, classes stand for one dtype", () => {
  expect(ops.matmul(f32("x", 2, 3, 4, 5), f32("y", 2, 3, 5, 6)).type).toEqual({
    dtype: "f32",
    shape: [2, 3, 4, 6],
  });
  expect(ops.softmax(f32("x", 7)).type).toEqual({ dtype: "f32", shape: [7] });
  expect(ops.transpose(f32("x", 2, 3), { perm: [1, 0] }).type.shape).toEqual([3, 2]);
  expect(ops.cast(f32("x", 2), { to: "u32" }).type).toEqual({ dtype: "u32", shape: [2] });
  expect(ops.iota({ size: 3 }).type).toEqual({ dtype: "i32", shape: [3] });
});

const i32 = input("i", { dtype: "i32", shape: [2, 3] });

test.each([
  [() => ops.add(f32("x", 2, 3), f32("y", 3, 2)), "add: y must be f32[2, 3]; got f32[3, 2] [C0]"],
  [() => ops.add(f32("x", 2, 3), i32), "add: y must be f32[2, 3]; got i32[2, 3] [C0]"],
  [() => ops.softmax(i32), "softmax: x must be i32[..., N]; got i32[2, 3] [C0]"],
  [() => ops.matmul(f32("x", 2, 3), f32("y", 4, 5)), "matmul: y must be f32[K=3, N]; got f32[4, 5] [C0]"],
  [() => ops.topK(f32("x", 2, 3), { k: 2.5 }), "top_k: attribute k must be of kind int; got 2.5 [C0]"],
  [
    () => ops.topK(f32("x", 2, 3), { k: 9 }),
    "top_k: requires 1 <= k <= N; got k = 9, dims = [2], N = 3 [C1]",
  ],
  [() => ops.softmax(f32("x")), "softmax: x must be f32[..., N]; got f32[] [C0]"],
  [() => ops.add.apply([f32("x", 2)], {}), "add: takes 2 operands; got 1 [C0]"],
  [() => ops.exp.apply([f32("x", 2)], { k: 1 }), "exp: has no attribute k; it takes none [C0]"],
  [
    () => ops.cast(f32("x", 2), { to: "f64" as "f32" }),
    'cast: attribute to must be of kind dtype; got "f64" [C0]',
  ],
  [
    () => ops.gelu(f32("x", 2), { approximate: "erf" as "none" }),
    'gelu: attribute approximate must be one of tanh, none; got "erf" [C0]',
  ],
])("a misuse is refused in one line: %#", (use, message) => {
  expect(use).toThrow(message);
});

test("TypeScript reads the same signature", () => {
  const signature =
    'x: float[..., T, 4], y: i32<T>[...other]; k, mode: "a" | "b", eps: real, on: flag, to: dtype, perm: ints -> z: to[T, k], w: float[...perm]';
  type S = typeof signature;
  expectTypeOf<Operands<S>>().toEqualTypeOf<["x", "y"]>();
  expectTypeOf<Results<S>>().toEqualTypeOf<["z", "w"]>();
  expectTypeOf<Attrs<S>["mode"]>().toEqualTypeOf<"a" | "b">();
  expectTypeOf<Attrs<S>["perm"]>().toEqualTypeOf<Shape>();
  expectTypeOf<Attrs<S>["on"]>().toEqualTypeOf<boolean>();
  expectTypeOf<Bound<S>["T"]>().toEqualTypeOf<number>();
  expectTypeOf<Bound<S>["dims"]>().toEqualTypeOf<Shape>();
  expectTypeOf<Bound<S>["other"]>().toEqualTypeOf<Shape>();
  // @ts-expect-error: the attribute is called k
  expect(() => ops.topK(f32("x", 2, 3), { q: 1 })).toThrow(/attribute k/);
  // @ts-expect-error: the result is called values
  expect(ops.topK(f32("x", 2, 3), { k: 1 }).value).toBeUndefined();
});

test("an op that evaluates to the wrong number of elements is found out", () => {
  const signature = "x: f32[T] -> y: f32[T]";
  const broken = defineOp({
    name: "broken",
    summary: "",
    signature,
    evaluate: ({ x }) => ({ y: x.numbers().slice(1) }),
  });
  const sizes = broken.sizesOf([{ dtype: "f32", shape: [2] }], {});
  expect(() => broken.evaluate([ops.iota.evaluate([], { size: 2 })[0]!], sizes)).toThrow(
    /y is f32\[2\], evaluated to 1/,
  );
});
