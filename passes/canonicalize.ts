/** Rules that bring chains of movement ops to one shortest form. */
import { ops, sameShape } from "../ir/index.ts";
import { type Rule, rule } from "./rewrite.ts";

const { broadcast, cast, reshape, slice, transpose } = ops;

export const canonicalize: readonly Rule[] = [
  // reshape(x) = x, to its own shape
  rule({
    name: "identity-reshape",
    given: "x: any[...in]; shape: ints",
    from: ({ x, shape }) => [reshape(x, { shape })],
    to: ({ x }) => [x],
    when: ({ x, shape }) => sameShape(x.type.shape, shape),
  }),

  // reshape(reshape(x)) = reshape(x)
  rule({
    name: "reshape-of-reshape",
    given: "x: any[...in]; inner: ints, outer: ints",
    from: ({ x, inner, outer }) => [reshape(reshape(x, { shape: inner }), { shape: outer })],
    to: ({ x, outer }) => [reshape(x, { shape: outer })],
  }),

  // transpose(x, 0 1 2 ...) = x
  rule({
    name: "identity-transpose",
    given: "x: any[...in]; perm: ints",
    from: ({ x, perm }) => [transpose(x, { perm })],
    to: ({ x }) => [x],
    when: ({ perm }) => perm.every((axis, i) => axis === i),
  }),

  // transpose(transpose(x, p), q) = transpose(x, p[q])
  rule({
    name: "transpose-of-transpose",
    given: "x: any[...in]; p: ints, q: ints",
    from: ({ x, p, q }) => [transpose(transpose(x, { perm: p }), { perm: q })],
    to: ({ x, p, q }) => [transpose(x, { perm: q.map((axis) => p[axis] as number) })],
  }),

  // transpose(x, p) = reshape(x), where p keeps the order of all axes longer than 1
  rule({
    name: "transpose-as-reshape",
    given: "x: any[...in]; perm: ints",
    from: ({ x, perm }) => [transpose(x, { perm })],
    to: ({ x, perm }) => [reshape(x, { shape: perm.map((axis) => x.type.shape[axis] as number) })],
    when({ x, perm }) {
      const long = perm.filter((axis) => x.type.shape[axis] !== 1);
      return long.every((axis, i) => i === 0 || (long[i - 1] as number) < axis);
    },
  }),

  // broadcast(x) = x, to its own shape
  rule({
    name: "identity-broadcast",
    given: "x: any[...in]; shape: ints",
    from: ({ x, shape }) => [broadcast(x, { shape })],
    to: ({ x }) => [x],
    when: ({ x, shape }) => sameShape(x.type.shape, shape),
  }),

  // broadcast(broadcast(x)) = broadcast(x)
  rule({
    name: "broadcast-of-broadcast",
    given: "x: any[...in]; inner: ints, outer: ints",
    from: ({ x, inner, outer }) => [broadcast(broadcast(x, { shape: inner }), { shape: outer })],
    to: ({ x, outer }) => [broadcast(x, { shape: outer })],
  }),

  // slice(x) = x, of everything
  rule({
    name: "identity-slice",
    given: "x: any[...in]; start: ints, limit: ints",
    from: ({ x, start, limit }) => [slice(x, { start, limit })],
    to: ({ x }) => [x],
    when: ({ x, limit, start }) => sameShape(x.type.shape, limit) && start.every((low) => low === 0),
  }),

  // slice(slice(x, a), b) = slice(x, a + b)
  rule({
    name: "slice-of-slice",
    given: "x: any[...in]; a: ints, b: ints, c: ints, d: ints",
    from: ({ x, a, b, c, d }) => [slice(slice(x, { start: a, limit: b }), { start: c, limit: d })],
    to: ({ x, a, c, d }) => [
      slice(x, {
        start: a.map((low, axis) => low + (c[axis] as number)),
        limit: a.map((low, axis) => low + (d[axis] as number)),
      }),
    ],
  }),

  // cast(x) = x, to its own dtype
  rule({
    name: "identity-cast",
    given: "x: any[...in]; to: dtype",
    from: ({ x, to }) => [cast(x, { to })],
    to: ({ x }) => [x],
    when: ({ x, to }) => x.type.dtype === to,
  }),

  // cast(cast(x, f32), bf16) = x for a bf16 x: widening loses nothing
  rule({
    name: "narrow-what-was-widened",
    given: "x: float[...in]; back: dtype",
    from: ({ x, back }) => [cast(cast(x, { to: "f32" }), { to: back })],
    to: ({ x }) => [x],
    when: ({ x, back }) => x.type.dtype === back,
  }),
];
