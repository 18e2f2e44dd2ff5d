/** Core ops that make, move and repeat elements without arithmetic. */
import { defineOp, type Op } from "../op.ts";
import { each, type Numbers, type Tensor } from "../tensor.ts";
import { type Shape, sizeOf, stridesOf } from "../type.ts";

const filling = "; value: real, to: dtype, shape: ints -> y: to[...shape]";
const counting = "; size -> y: i32[size]";
const reshaping = "x: any[...in]; shape: ints -> y: any[...shape]";
const permuting = "x: any[...in]; perm: ints -> y: any[...out]";
const repeating = "x: any[...in]; shape: ints -> y: any[...shape]";
const slicing = "x: any[...in]; start: ints, limit: ints -> y: any[...out]";
const joining = "x: any[...a], y: any[...b]; axis -> z: any[...out]";

export const constant: Op<typeof filling> = defineOp({
  name: "constant",
  summary: "A tensor whose every element is `value`.",
  signature: filling,
  where: { C1: ["sizes >= 1", ({ shape }) => shape.every((size) => size >= 1)] },
  sample: (_, pick) => ({ value: pick(7) - 3, to: "f32" as const, shape: [1 + pick(4), 1 + pick(4)] }),
  evaluate: (_, { value, shape }) => ({ y: new Float64Array(sizeOf(shape)).fill(value) }),
});

export const iota: Op<typeof counting> = defineOp({
  name: "iota",
  summary: "0, 1, ..., size - 1.",
  signature: counting,
  where: { C1: ["size >= 1", ({ size }) => size >= 1] },
  evaluate: (_, { size }) => ({ y: each([size], (i) => i) }),
});

export const reshape: Op<typeof reshaping> = defineOp({
  name: "reshape",
  summary: "The same elements in the same row-major order under another shape.",
  signature: reshaping,
  where: {
    C1: [
      "shape has as many elements as x",
      ({ in: from, shape }) => shape.every((size) => size >= 1) && sizeOf(shape) === sizeOf(from),
    ],
  },
  sample({ in: from }, pick) {
    const at = pick(from.length + 1);
    return { shape: pick(2) ? [sizeOf(from)] : from.toSpliced(at, 0, 1) };
  },
  traits: ["view"],
  evaluate: ({ x }) => ({ y: x.numbers() }),
});

export const transpose: Op<typeof permuting> = defineOp({
  name: "transpose",
  summary: "Axis i of the result is axis perm[i] of x.",
  signature: permuting,
  where: {
    C1: [
      "perm is a permutation of x's axes",
      ({ in: from, perm }) => perm.length === from.length && from.every((_, axis) => perm.includes(axis)),
    ],
  },
  derive: ({ in: from, perm }) => ({ out: perm.map((axis) => from[axis] as number) }),
  sample({ in: from }, pick) {
    const rest = [...from.keys()];
    return { perm: from.map(() => rest.splice(pick(rest.length), 1)[0] as number) };
  },
  evaluate({ x }, { in: from, perm, out }) {
    const strides = stridesOf(from);
    return {
      y: gather(
        x,
        out,
        perm.map((axis) => strides[axis] as number),
      ),
    };
  },
});

export const broadcast: Op<typeof repeating> = defineOp({
  name: "broadcast",
  summary: "x repeated along new leading axes and along its axes of size 1.",
  signature: repeating,
  where: {
    C1: [
      "each axis of x, counted from the last, has size 1 or that of shape",
      ({ in: from, shape }) =>
        shape.every((size) => size >= 1) &&
        from.length <= shape.length &&
        from.every((size, axis) => size === 1 || size === shape[axis + shape.length - from.length]),
    ],
  },
  sample: ({ in: from }, pick) => ({
    shape: [...(pick(2) ? [1 + pick(3)] : []), ...from.map((size) => (size === 1 ? 1 + pick(3) : size))],
  }),
  evaluate({ x }, { in: from, shape }) {
    const strides = stridesOf(from);
    const lead = shape.length - from.length;
    return {
      y: gather(
        x,
        shape,
        shape.map((_, axis) => (from[axis - lead] === 1 ? 0 : (strides[axis - lead] ?? 0))),
      ),
    };
  },
});

export const slice: Op<typeof slicing> = defineOp({
  name: "slice",
  summary: "The elements whose index along each axis is in start .. limit - 1.",
  signature: slicing,
  where: {
    C1: [
      "0 <= start < limit <= size for each axis",
      ({ in: from, start, limit }) =>
        start.length === from.length &&
        limit.length === from.length &&
        from.every((size, axis) => {
          const [low, high] = [start[axis] as number, limit[axis] as number];
          return 0 <= low && low < high && high <= size;
        }),
    ],
  },
  derive: ({ start, limit }) => ({ out: limit.map((high, axis) => high - (start[axis] as number)) }),
  sample({ in: from }, pick) {
    const start = from.map((size) => pick(size));
    return {
      start,
      limit: from.map((size, axis) => (start[axis] as number) + 1 + pick(size - (start[axis] as number))),
    };
  },
  viewAt({ in: from, start, out }) {
    // One entry of each axis before the first that is cut, everything of those after it.
    const cut = out.findLastIndex((size, axis) => size !== from[axis]);
    if (out.some((size, axis) => axis < cut && size > 1)) return undefined;
    return stridesOf(from).reduce((sum, stride, axis) => sum + stride * (start[axis] as number), 0);
  },
  evaluate({ x }, { in: from, start, out }) {
    const strides = stridesOf(from);
    const offset = strides.reduce((sum, stride, axis) => sum + stride * (start[axis] as number), 0);
    return { y: gather(x, out, strides, offset) };
  },
});

export const concat: Op<typeof joining> = defineOp({
  name: "concat",
  summary: "x followed by y along one axis; all other axes agree.",
  signature: joining,
  where: {
    C1: [
      "x and y agree but for the sizes of axis",
      ({ a, b, axis }) =>
        0 <= axis &&
        axis < a.length &&
        a.length === b.length &&
        a.every((size, i) => i === axis || size === b[i]),
    ],
  },
  derive: ({ a, b, axis }) => ({ out: a.map((size, i) => (i === axis ? size + (b[i] as number) : size)) }),
  sample({ a }, pick) {
    const axis = pick(Math.max(a.length, 1));
    return { axis, b: a.map((size, i) => (i === axis ? 1 + pick(4) : size)) };
  },
  evaluate({ x, y }, { a, b, axis }) {
    const [rows, others] = [sizeOf(a.slice(axis)), sizeOf(b.slice(axis))];
    const [first, second] = [x.numbers(), y.numbers()];
    const z = new Float64Array(first.length + second.length);
    for (let at = 0, i = 0; at < z.length; at += rows + others, i++) {
      z.set(first.subarray(i * rows, (i + 1) * rows), at);
      z.set(second.subarray(i * others, (i + 1) * others), at + rows);
    }
    return { z };
  },
});

/** The tensor of `shape` whose element at `index` is x's element at `offset + strides . index`. */
function gather(x: Tensor, shape: Shape, strides: Shape, offset = 0): Numbers {
  const from = x.numbers();
  const to = new Float64Array(sizeOf(shape));
  const index = shape.map(() => 0);
  let at = offset;
  for (let flat = 0; flat < to.length; flat++) {
    to[flat] = from[at] as number;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const next = (index[axis] as number) + 1;
      at += strides[axis] as number;
      if (next < (shape[axis] as number)) {
        index[axis] = next;
        break;
      }
      at -= next * (strides[axis] as number);
      index[axis] = 0;
    }
  }
  return to;
}
