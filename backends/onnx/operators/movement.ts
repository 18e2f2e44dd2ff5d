/** Ops that make, move and repeat elements. */
import { type DType, ops, Tensor, type Value } from "../../../ir/index.ts";
import { elementOf, type Operator, operator } from "../operator.ts";
import { element } from "../proto.ts";

const moves = { moves: true };
/** Of ops whose attribute `shape` is that of their result. */
const shapes = { ...moves, open: (attribute: string): boolean => attribute === "shape" };

export const constant: Operator = operator(
  ops.constant,
  (_operands, { value, to }, { body }) => ({ loose: body.scalar(rounded(value, to), elementOf[to]) }),
  shapes,
);

const rounded = (value: number, to: DType): number => Tensor.from({ dtype: to, shape: [1] }, [value]).at(0);

export const iota: Operator = operator(
  ops.iota,
  (_operands, { size }, { body }) =>
    body.call(
      "Range",
      [0, size, 1].map((n) => body.scalar(n, element.int32)),
    ),
  moves,
);

export const reshape: Operator = operator(
  ops.reshape,
  ({ x }, _, { body, node, shape }) => body.call("Reshape", [x, shape(node.results[0] as Value)]),
  shapes,
);

export const transpose: Operator = operator(
  ops.transpose,
  ({ x }, { perm }, { body }) => body.call("Transpose", [x], { perm: { ints: perm } }),
  moves,
);

export const broadcast: Operator = operator(ops.broadcast, ({ x }) => ({ loose: x }), {
  ...shapes,
  broadcasts: true,
});

export const slice: Operator = operator(
  ops.slice,
  ({ x }, { in: from, start, limit }, { body }) => {
    // An axis taken whole is left out: it may have any size.
    const axes = [...from.keys()].filter((axis) => start[axis] !== 0 || limit[axis] !== from[axis]);
    const of = (list: readonly number[]): string => body.ints(axes.map((axis) => list[axis] as number));
    return axes.length === 0 ? x : body.call("Slice", [x, of(start), of(limit), body.ints(axes)]);
  },
  {
    ...moves,
    open: (attribute, axis, { in: from, start, limit }) =>
      attribute === "limit" && start[axis] === 0 && limit[axis] === from[axis],
  },
);

export const concat: Operator = operator(
  ops.concat,
  ({ x, y }, { axis }, { body }) => body.call("Concat", [x, y], { axis: { int: axis } }),
  moves,
);
