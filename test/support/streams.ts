/** Programs of matrices of one size, as residual streams are: added to, used again or moved, and kept beside others. */
import fc from "fast-check";

import {
  type DType,
  Graph,
  input,
  ops,
  type Shape,
  sizeOf,
  Tensor,
  type TensorType,
  type Value,
} from "../../ir/index.ts";
import type { RandomProgram } from "./arbitrary.ts";

const M = 4;

const as = (value: Value, to: DType): Value => (value.type.dtype === to ? value : ops.cast(value, { to }));
const f32 = (value: Value): Value => as(value, "f32");

/** What a step makes of two matrices [M, N], and of weights [N, N] and [N]. */
type Step = (a: Value, b: Value, w: Value, row: Value) => Value;

/** A matrix whose elements are those of `x` [M, N], column by column. */
export const transposed = (x: Value): Value =>
  ops.reshape(ops.transpose(x, { perm: [1, 0] }), { shape: x.type.shape });

/** Half of the rows of `x` [M, N], from row `start` on. */
export const rows = (x: Value, start: number): Value => {
  const [, N = 1] = x.type.shape;
  return ops.slice(x, { start: [start, 0], limit: [start + M / 2, N] });
};

const steps: readonly Step[] = [
  // As it is, a sum is a launch of its own; or it follows a product, which may read one of the terms, too.
  (a, b) => ops.add(f32(a), f32(b)),
  (a, b, w, row) => ops.add(ops.linear(f32(a), w, row), f32(b)),
  (a, b, w) => ops.maximum(f32(b), ops.matmul(f32(a), w)),
  (a, _, w, row) => ops.add(f32(a), ops.linear(f32(a), w, row)),
  (a, b) => ops.add(f32(b), ops.cumsum(f32(a))),
  // Moved, and not.
  (a, b, w, row) => ops.add(ops.linear(f32(a), w, row), transposed(f32(b))),
  (a, b) => ops.minimum(ops.add(f32(a), f32(b)), transposed(f32(b))),
  (a, b) => ops.subtract(f32(a), ops.broadcast(ops.reduceMax(f32(b)), { shape: a.type.shape })),
  (a, b) => ops.take(f32(a), ops.topK(f32(b), { k: a.type.shape[1] ?? 1 }).indices),
  (a, b) => {
    const { values, indices } = ops.topK(ops.add(f32(a), f32(b)), { k: 1 });
    return ops.add(f32(a), ops.broadcast(ops.add(values, as(indices, "f32")), { shape: a.type.shape }));
  },
  // Views of all of it, and of parts.
  (a, b) => {
    const [x, y] = [a, b].map((each) => ops.reshape(f32(each), { shape: a.type.shape.toReversed() }));
    return ops.reshape(ops.maximum(x as Value, y as Value), { shape: a.type.shape });
  },
  (a, b) => ops.concat(ops.cumsum(rows(f32(a), 0)), rows(f32(b), M / 2), { axis: 0 }),
  (a, b) => {
    const part = rows(ops.cumsum(f32(b)), M / 2);
    return ops.concat(ops.cumsum(ops.maximum(rows(f32(a), 0), part)), part, { axis: 0 });
  },
  // Of other types, whose elements are stored alike or not.
  (a, b) => ops.add(as(a, "i32"), as(b, "i32")),
  (a, b) => ops.maximum(as(a, "bf16"), as(b, "bf16")),
  (a, b) => ops.compare(f32(a), f32(b), { is: "lt" }),
  (a, b) => ops.select(as(a, "bool"), f32(a), f32(b)),
];

/** Random programs of `steps`, on whole numbers; weights, too, are inputs. */
export const stream: fc.Arbitrary<RandomProgram> = fc
  .record({
    // Rows of 64 can be bound where they begin; those of 7 are no vectors.
    N: fc.constantFrom(64, 7),
    picks: fc.array(fc.tuple(fc.nat(steps.length - 1), fc.nat(3), fc.nat(3)), {
      minLength: 4,
      maxLength: 12,
    }),
    kept: fc.nat(),
  })
  .map(({ N, picks, kept }) => {
    const inputs = new Map<Value, Tensor>();
    const give = (name: string, shape: Shape, at: (i: number) => number): Value => {
      const type: TensorType = { dtype: "f32", shape };
      const value = input(name, type);
      inputs.set(
        value,
        Tensor.from(
          type,
          Array.from({ length: sizeOf(shape) }, (_, i) => at(i)),
        ),
      );
      return value;
    };
    const w = give("w", [N, N], (i) => Number(i % (N + 3) === 0));
    const row = give("row", [N], (i) => (i % 3) - 1);
    const pool = [give("x", [M, N], (i) => (i % 5) - 2), give("y", [M, N], (i) => (i % 7) - 3)];
    for (const [step, a, b] of picks) {
      const [one, other] = [a, b].map((back) => pool.at(-1 - (back % pool.length)) as Value);
      pool.push((steps[step] as Step)(one as Value, other as Value, w, row));
    }
    const outputs = pool.filter((value, i) => i === pool.length - 1 || (value.node && (kept >> i) % 8 === 0));
    const graph = new Graph(
      "stream",
      [...inputs.keys()],
      outputs.map((value, i) => [`r${i}`, value]),
    );
    return { graph, inputs: new Map([...inputs].map(([value, tensor]) => [value.leaf!.name, tensor])) };
  });
