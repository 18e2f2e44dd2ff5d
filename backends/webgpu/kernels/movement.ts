/** Ops whose results' elements are their operands', at places that are arithmetic on constants. */
import { type AnyOp, type Node, ops, type Shape, sizeOf, stridesOf, type Value } from "../../../ir/index.ts";
import type { MoveKernel, Piece, Rows } from "../kernel.ts";
import { stridedIndex } from "../wgsl.ts";

/** The element at an index over `shape` lies at `offset` plus `strides` times the index. */
interface Strided {
  readonly shape: Shape;
  readonly strides: Shape;
  readonly offset?: number;
}

const whole = (n: number): boolean => n % 4 === 0;

const withLast = (sizes: Shape, last: number): Shape => [...sizes.slice(0, -1), last];

/** The same with the last axis in vectors of four; undefined where they would not lie at multiples of four. */
function inVectors({ shape, strides, offset = 0 }: Strided): Strided | undefined {
  const [size = 1, step = 1] = [shape.at(-1), strides.at(-1)];
  if (!whole(size) || step !== 1 || !whole(offset) || !strides.slice(0, -1).every(whole)) return undefined;
  return {
    shape: withLast(shape, size / 4),
    strides: withLast(
      strides.map((stride) => stride / 4),
      1,
    ),
    offset: offset / 4,
  };
}

/** Neighbouring axes that lie as one in the operand too, as one: what is whole is then seen to be. */
function merged({ shape, strides, offset = 0 }: Strided): Strided {
  const axes: { size: number; stride: number }[] = [];
  for (const [axis, size] of shape.entries()) {
    const stride = strides[axis] ?? 0;
    const last = axes.at(-1);
    if (size === 1) continue;
    if (last && last.stride === stride * size) axes[axes.length - 1] = { size: last.size * size, stride };
    else axes.push({ size, stride });
  }
  return { shape: axes.map(({ size }) => size), strides: axes.map(({ stride }) => stride), offset };
}

const place = (i: string, { shape, strides, offset }: Strided): Piece => ({
  operand: 0,
  at: stridedIndex(i, shape, strides, offset),
});

/** The kernel of an op whose one operand's elements lie as `stridedOf` says. */
function strided(op: AnyOp, free: boolean, stridedOf: (node: Node) => Strided): MoveKernel {
  return {
    op,
    free,
    pieces(node, i, lanes) {
      const places = merged(stridedOf(node));
      const wanted = lanes === 1 ? places : inVectors(places);
      return wanted && [place(i, wanted)];
    },
    rows: (node, width) => rowsOf(stridedOf(node), width, node.operands[0] as Value),
    repeated(node, i) {
      const { shape, strides, offset = 0 } = merged(stridedOf(node));
      const last = shape.at(-1) ?? 1;
      if (strides.at(-1) !== 0 || !whole(last)) return undefined;
      return place(i, { shape: [...shape.slice(0, -1), last / 4], strides, offset });
    },
  };
}

/** `rows` of a strided result: the axes after some axis are the columns. */
function rowsOf({ shape, strides, offset = 0 }: Strided, width: number, value: Value): Rows | undefined {
  let axis = shape.length;
  for (let size = 1; axis > 0 && size < width;) size *= shape[--axis] ?? 1;
  if (sizeOf(shape.slice(axis)) !== width) return undefined;
  const row = merged({ shape: shape.slice(0, axis), strides: strides.slice(0, axis), offset });
  const column = merged({ shape: shape.slice(axis), strides: strides.slice(axis) });
  const wide = inVectors(column);
  const vectors = wide !== undefined && whole(offset) && row.strides.every(whole);
  return {
    value,
    vectors,
    row: (m, lanes) =>
      stridedIndex(
        m,
        row.shape,
        row.strides.map((stride) => stride / lanes),
        offset / lanes,
      ),
    column: (k, lanes) => place(k, lanes === 4 && wide ? wide : column).at,
  };
}

const operandShape = ({ operands }: Node): Shape => operands[0]?.type.shape ?? [];
const resultShape = ({ results }: Node): Shape => results[0]?.type.shape ?? [];

export const transpose: MoveKernel = strided(ops.transpose, false, (node) => {
  const strides = stridesOf(operandShape(node));
  const perm = node.attrs["perm"] as Shape;
  return { shape: resultShape(node), strides: perm.map((axis) => strides[axis] ?? 0) };
});

export const broadcast: MoveKernel = strided(ops.broadcast, true, (node) => {
  const [from, shape] = [operandShape(node), resultShape(node)];
  const lead = shape.length - from.length;
  const own = stridesOf(from);
  return { shape, strides: shape.map((_, axis) => (from[axis - lead] === 1 ? 0 : (own[axis - lead] ?? 0))) };
});

export const slice: MoveKernel = strided(ops.slice, true, (node) => {
  const strides = stridesOf(operandShape(node));
  const start = node.attrs["start"] as Shape;
  const offset = strides.reduce((sum, stride, axis) => sum + stride * (start[axis] ?? 0), 0);
  return { shape: resultShape(node), strides, offset };
});

export const patchify: MoveKernel = strided(ops.patchify, false, ({ sizes, operands }) => {
  const [B = 1, Y = 1, X = 1, I = 1] = operands[0]?.type.shape ?? [];
  const [height, width] = [sizes["height"] as number, sizes["width"] as number];
  return {
    shape: [B, Math.floor(Y / height), Math.floor(X / width), height, width, I],
    strides: [Y * X * I, height * X * I, width * I, X * I, I, 1],
  };
});

export const concat: MoveKernel = {
  op: ops.concat,
  free: false,
  pieces({ operands, attrs }, i, lanes) {
    const rows = operands.map(({ type }) => sizeOf(type.shape.slice(attrs["axis"] as number)) / lanes);
    if (!rows.every(Number.isInteger)) return undefined;
    const [first = 0, second = 0] = rows;
    const both = first + second;
    return [
      {
        operand: 0,
        when: `${i} % ${both}u < ${first}u`,
        at: `${i} / ${both}u * ${first}u + ${i} % ${both}u`,
      },
      { operand: 1, at: `${i} / ${both}u * ${second}u + ${i} % ${both}u - ${first}u` },
    ];
  },
};
