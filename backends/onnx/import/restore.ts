/** Rules that find the ops which a file could only spell out: affine maps, attention, choices between truths, `ne`. */
import { type DType, ops, sameShape, Tensor, type Value } from "../../../ir/index.ts";
import { type Rule, rule } from "../../../passes/index.ts";

const {
  add,
  attention,
  broadcast,
  compare,
  constant,
  linear,
  matmul,
  multiply,
  reshape,
  select,
  softmax,
  transpose,
} = ops;

/** In this order: what one finds another may need. */
export const restore: readonly Rule[] = [
  // x W + b = linear(x, W, b), for the rows of a matrix
  rule({
    name: "linear-of-a-matrix",
    given: "x: float[M, D], w: float[D, F], b: float[F]; shape: ints",
    from: ({ x, w, b, shape }) => [add(matmul(x, w), broadcast(b, { shape }))],
    to: ({ x, w, b }) => [linear(x, w, b)],
  }),

  // the same for more axes, which are joined for the product and split after it
  rule({
    name: "linear-of-rows",
    given: "x: float[..., D], w: float[D, F], b: float[F]; rows: ints, shape: ints",
    from({ x, w, b, rows, shape }) {
      const y = reshape(matmul(reshape(x, { shape: rows }), w), { shape });
      return [add(y, broadcast(b, { shape }))];
    },
    to: ({ x, w, b }) => [linear(x, w, b)],
    when: ({ x, b, shape }) => sameShape(shape, [...x.type.shape.slice(0, -1), ...b.type.shape]),
  }),

  // the same for a vector, which nothing has to be repeated for
  rule({
    name: "linear-of-a-vector",
    given: "x: float[D], w: float[D, F], b: float[F]; row: ints, shape: ints",
    from: ({ x, w, b, row, shape }) => [add(reshape(matmul(reshape(x, { shape: row }), w), { shape }), b)],
    to: ({ x, w, b }) => [linear(x, w, b)],
  }),

  // softmax(q / sqrt(W) . k) . v, head by head
  rule({
    name: "attention",
    given:
      "q: float[B, T, H, W], k: float[B, S, H, W], v: float[B, S, H, W]; value: real, to: dtype, shape: ints",
    from({ q, k, v, value, to, shape }) {
      const queries = multiply(transpose(q, { perm: [0, 2, 1, 3] }), constant({ value, to, shape }));
      const scores = matmul(queries, transpose(k, { perm: [0, 2, 3, 1] }));
      const mixed = matmul(softmax(scores), transpose(v, { perm: [0, 2, 1, 3] }));
      return [transpose(mixed, { perm: [0, 2, 1, 3] })];
    },
    to: ({ q, k, v }) => [attention(q, k, v)],
    when: ({ q, value, to }) => near(1 / Math.sqrt(q.type.shape[3] ?? 1), value, to),
  }),

  // (when and x) or (not when and y) = x where `when` holds, else y
  rule({
    name: "choice-of-truths",
    given: "when: bool[...], x: bool[...], y: bool[...]; shape: ints",
    from({ when, x, y, shape }) {
      // Each is a node of its own, in the pattern as in the program.
      const all = (value: number): Value => constant({ value, to: "bool", shape });
      const not = select(when, all(0), all(1));
      return [select(select(when, x, all(0)), all(1), select(not, y, all(0)))];
    },
    to: ({ when, x, y }) => [select(when, x, y)],
  }),

  // not x = y means x != y
  rule({
    name: "not-equal",
    given: "x: number[...], y: number[...]; shape: ints",
    from: ({ x, y, shape }) => [
      select(
        compare(x, y, { is: "eq" }),
        constant({ value: 0, to: "bool", shape }),
        constant({ value: 1, to: "bool", shape }),
      ),
    ],
    to: ({ x, y }) => [compare(x, y, { is: "ne" })],
  }),
];

/** Whether `x` and `y` round to one number in `dtype`. */
function near(x: number, y: number, dtype: DType): boolean {
  const [a, b] = [x, y].map((value) => Tensor.from({ dtype, shape: [1] }, [value]).at(0));
  return a === b;
}
