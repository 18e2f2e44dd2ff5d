/** How sums, maxima, norms and products are read: the axes that they run over are brought to the end. */
import { ops, sizeOf, type Value } from "../../../../ir/index.ts";
import { element } from "../../proto.ts";
import { aligned, shaped, spread } from "../align.ts";
import type { Call, Reader } from "../call.ts";
import { data, known, shapeOf, shortest, wide } from "../item.ts";

/** `x` with axis i of the result its axis perm[i]. */
const permuted = (x: Value, perm: readonly number[]): Value =>
  perm.every((axis, i) => axis === i) ? x : ops.transpose(x, { perm });

/** `x` with `axis` as its last. */
export const last = (x: Value, axis: number): Value => {
  const axes = [...x.type.shape.keys()];
  return permuted(x, [...axes.toSpliced(axis, 1), axis]);
};

/** `x` with its last axis as `axis`. */
const back = (x: Value, axis: number): Value => {
  const axes = [...x.type.shape.keys()];
  return permuted(x, axes.slice(0, -1).toSpliced(axis, 0, axes.length - 1));
};

/** What `f` makes of the rows of `x` along `axis`; rows may change their length. */
export const along = (x: Value, axis: number, f: (rows: Value) => Value): Value =>
  back(f(last(x, axis)), axis);

/** `ring`: whether the result modulo 2^32 is that of the operand modulo 2^32. */
const reduction =
  (op: (x: Value) => Value, ring: boolean): Reader =>
  (call) => {
    const item = call.item(0);
    const from = shapeOf(item);
    const keeps = call.attribute("int", "keepdims", 1) !== 0;
    const isNoop = call.attribute("int", "noop_with_empty_axes", 0) !== 0;
    const listed = call.inputs[1] ? call.axes(call.list(1), from.length) : [];
    if (listed.length === 0 && isNoop) return item;
    const { values, exact, result } = aligned(call, [item]);
    if (!exact && !ring) throw call.inexact();
    const gone = new Set(listed.length > 0 ? listed : from.keys());
    const axes = [...from.keys()];
    const rest = axes.filter((axis) => !gone.has(axis));
    const ordered = permuted(values[0] as Value, [...rest, ...axes.filter((axis) => gone.has(axis))]);
    const sizes = rest.map((axis) => from[axis] as number);
    const reduced = op(shaped(ordered, [...sizes, sizeOf(from) / sizeOf(sizes)]));
    const kept = keeps ? from.map((size, axis) => (gone.has(axis) ? 1 : size)) : sizes;
    return result(shaped(reduced, kept), exact && !(ring && item.element === element.int64));
  };

const cumSum: Reader = (call) => {
  call.expect("exclusive", 0);
  call.expect("reverse", 0);
  const item = call.item(0);
  const { values, exact, result } = aligned(call, [item]);
  const axis = call.axis(call.number(1), shapeOf(item).length);
  return result(along(values[0] as Value, axis, ops.cumsum), exact && item.element !== element.int64);
};

const topK: Reader = (call) => {
  call.expect("largest", 1);
  call.attribute("int", "sorted", 1);
  const x = call.value(0);
  const axis = call.axis(call.attribute("int", "axis", -1), x.type.shape.length);
  const k = call.number(1);
  const { values, indices } = ops.topK(last(x, axis), { k });
  return [data(back(values, axis)), wide(back(indices, axis))];
};

const softmax: Reader = (call) => {
  const x = call.value(0);
  return data(along(x, call.axis(call.attribute("int", "axis", -1), x.type.shape.length), ops.softmax));
};

const layerNormalization: Reader = (call) => {
  const x = call.value(0);
  const { length: rank } = x.type.shape;
  if (call.axis(call.attribute("int", "axis", -1), rank) !== rank - 1)
    throw call.problem("runs over more than the last axis");
  call.expect("stash_type", 1);
  const scale = call.value(1);
  const zero = known(call.item(1).element, scale.type.shape, [0]);
  const bias = call.inputs[2] ? call.value(2) : call.valueOf(zero, "a bias");
  return data(
    ops.layerNorm(x, scale, bias, { epsilon: shortest(call.attribute("float", "epsilon", 1e-5), "f32") }),
  );
};

/** As numpy multiplies: a vector is a row on the left, a column on the right, and its axis goes. */
const matMul: Reader = (call) => {
  const [left, right] = [call.value(0), call.value(1)];
  const [isRow, isColumn] = [left, right].map((value) => value.type.shape.length === 1);
  const x = isRow ? shaped(left, [1, ...left.type.shape]) : left;
  const y = isColumn ? shaped(right, [...right.type.shape, 1]) : right;
  const z = product(call, x, y);
  const dims = z.type.shape.slice(0, -2);
  return data(
    shaped(z, [...dims, ...z.type.shape.slice(-2).filter((_, i) => !(i === 0 ? isRow : isColumn))]),
  );
};

/** The product of matrices, whose batches broadcast; by one matrix, that of all rows at once. */
function product(call: Call, x: Value, y: Value): Value {
  const [lead, others] = [x.type.shape.slice(0, -2), y.type.shape.slice(0, -2)];
  const [[M = 1, K = 1], [L = 1, N = 1]] = [x.type.shape.slice(-2), y.type.shape.slice(-2)];
  if (others.length === 0 && lead.length > 0)
    return shaped(ops.matmul(shaped(x, [sizeOf(lead) * M, K]), y), [...lead, M, N]);
  const dims = call.broadcast([lead, others]);
  return ops.matmul(spread(x, [...dims, M, K]), spread(y, [...dims, L, N]));
}

export const rows: Readonly<Record<string, Reader>> = {
  ReduceSum: reduction(ops.reduceSum, true),
  ReduceMax: reduction(ops.reduceMax, false),
  CumSum: cumSum,
  TopK: topK,
  Softmax: softmax,
  LayerNormalization: layerNormalization,
  MatMul: matMul,
};
