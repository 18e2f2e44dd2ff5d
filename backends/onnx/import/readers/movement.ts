/** How ops that make, move and repeat elements are read; shapes and other integers that are known move at once. */
import { input, ops, type Shape, sizeOf, type Value } from "../../../../ir/index.ts";
import { element } from "../../proto.ts";
import { aligned, shaped, spread } from "../align.ts";
import { type Call, mostNumbers, type Reader } from "../call.ts";
import { data, type Item, known, knownSizes, shapeOf } from "../item.ts";
import { listed } from "../problem.ts";

/** Whether `item` may be sizes, which are looked at one by one. */
const isList = (item: Item): boolean =>
  item.kind === "known" &&
  item.element === element.int64 &&
  item.shape.length === 1 &&
  sizeOf(item.shape) <= mostNumbers;

/** `item` moved as `move` moves a value of its shape. */
function moved(call: Call, item: Item, move: (x: Value) => Value): Item {
  if (item.kind === "data") return { ...item, value: move(item.value) };
  if (item.values.length > 1) {
    const {
      values: [x],
      result,
    } = aligned(call, [item]);
    return result(move(x as Value));
  }
  // Where all numbers are the same only the shape changes.
  return { ...item, shape: move(input("", { dtype: "f32", shape: item.shape })).type.shape };
}

/** `item` in `shape`, its elements in the same order. */
function reshaped(call: Call, item: Item, shape: Shape): Item {
  const [from, to] = [sizeOf(shapeOf(item)), sizeOf(call.shape(shape))];
  if (from !== to) throw call.problem(`makes [${shape.join(", ")}] of ${from} elements`, "O3");
  return item.kind === "known" ? { ...item, shape } : { ...item, value: shaped(item.value, shape) };
}

const reshape: Reader = (call) => {
  call.expect("allowzero", 0);
  const item = call.item(0);
  const from = shapeOf(item);
  const sizes = call.list(1).map((size, axis) => (size === 0 ? (from[axis] ?? 0) : size));
  const rest = sizeOf(from) / sizeOf(sizes.filter((size) => size !== -1));
  return reshaped(
    call,
    item,
    sizes.map((size) => (size === -1 ? rest : size)),
  );
};

const squeeze: Reader = (call) => {
  const item = call.item(0);
  const from = shapeOf(item);
  const axes = call.inputs[1]
    ? call.axes(call.list(1), from.length)
    : [...from.keys()].filter((axis) => from[axis] === 1);
  if (axes.some((axis) => from[axis] !== 1))
    throw call.problem(`drops axes ${listed(axes)} of ${listed(from)}`, "O3");
  return reshaped(
    call,
    item,
    from.filter((_, axis) => !axes.includes(axis)),
  );
};

const unsqueeze: Reader = (call) => {
  const item = call.item(0);
  const rest = [...shapeOf(item)];
  const list = call.list(1);
  const rank = rest.length + list.length;
  const axes = call.axes(list, rank);
  return reshaped(
    call,
    item,
    Array.from({ length: rank }, (_, axis) => (axes.includes(axis) ? 1 : (rest.shift() ?? 1))),
  );
};

const transpose: Reader = (call) => {
  const item = call.item(0);
  const rank = shapeOf(item).length;
  const perm = call.attribute(
    "ints",
    "perm",
    Array.from({ length: rank }, (_, axis) => rank - 1 - axis),
  );
  return moved(call, item, (x) => ops.transpose(x, { perm }));
};

const expand: Reader = (call) => {
  const item = call.item(0);
  const shape = call.shape(call.broadcast([shapeOf(item), call.list(1)]));
  return moved(call, item, (x) => spread(x, shape));
};

/** A place of an axis, where negative ones count from its end and those beyond it are its ends. */
const clamp = (place: number, size: number): number =>
  Math.min(Math.max(place < 0 ? place + size : place, 0), size);

const slice: Reader = (call) => {
  const item = call.item(0);
  const shape = shapeOf(item);
  const [starts, ends] = [call.list(1), call.list(2)];
  const axes = call.axes(call.inputs[3] ? call.list(3) : [...starts.keys()], shape.length);
  if (call.inputs[4] && call.list(4).some((step) => step !== 1)) throw call.problem("has steps other than 1");
  if (starts.length !== axes.length || ends.length !== axes.length)
    throw call.problem("must have a start and an end for each axis", "O3");
  const [start, limit] = [shape.map(() => 0), [...shape]];
  for (const [i, axis] of axes.entries()) {
    const size = shape[axis] as number;
    start[axis] = clamp(starts[i] as number, size);
    limit[axis] = clamp(ends[i] as number, size);
  }
  if (isList(item)) {
    const part = call.list(0).slice(start[0], limit[0]);
    return known(item.element, [part.length], part);
  }
  const whole = shape.every((size, axis) => start[axis] === 0 && limit[axis] === size);
  return whole ? item : moved(call, item, (x) => ops.slice(x, { start, limit }));
};

const concat: Reader = (call) => {
  const items = call.inputs.map((_, i) => call.item(i));
  const axis = call.axis(
    call.required("int", "axis"),
    Math.max(...items.map((item) => shapeOf(item).length)),
  );
  const total = items.reduce((sum, item) => sum + sizeOf(shapeOf(item)), 0);
  if (items.every(isList) && total <= mostNumbers) return knownSizes(items.flatMap((_, i) => call.list(i)));
  const { values, result } = aligned(call, items);
  return result(values.reduce((x, y) => ops.concat(x, y, { axis })));
};

const pad: Reader = (call) => {
  if (call.attribute("text", "mode", "constant") !== "constant")
    throw call.problem("pads by another mode than constant");
  const item = call.item(0);
  const rank = shapeOf(item).length;
  const pads = call.list(1);
  const value = call.inputs[2] ? call.number(2) : 0;
  const axes = call.axes(call.inputs[3] ? call.list(3) : [...shapeOf(item).keys()], rank);
  if (pads.length !== 2 * axes.length || pads.some((n) => n < 0))
    throw call.problem("must have two sizes for each axis, none negative");
  const {
    values: [x],
    result,
  } = aligned(call, [item]);
  const padded = axes.reduce((inner, axis, i) => {
    const block = (size: number): Value[] =>
      size === 0
        ? []
        : [ops.constant({ value, to: inner.type.dtype, shape: inner.type.shape.with(axis, size) })];
    const parts = [...block(pads[i] as number), inner, ...block(pads[i + axes.length] as number)];
    return parts.reduce((a, b) => ops.concat(a, b, { axis }));
  }, x as Value);
  return result(padded);
};

const shape: Reader = (call) => {
  const sizes = shapeOf(call.item(0));
  const end = call.attribute("int", "end", sizes.length);
  return knownSizes(sizes.slice(call.attribute("int", "start", 0), end));
};

const range: Reader = (call) => {
  const [start, limit, delta] = [call.number(0), call.number(1), call.number(2)];
  const { element: code } = call.item(0);
  const size = Math.max(0, Math.ceil((limit - start) / delta));
  const isWhole = Number.isSafeInteger(size);
  if (code === element.int64 && isWhole && size <= mostNumbers)
    return known(
      code,
      [size],
      Array.from({ length: size }, (_, i) => start + i * delta),
    );
  if (code !== element.int32 || !isWhole) throw call.problem("is read for int32, and for few int64 numbers");
  const filled = (value: number): Value => ops.constant({ value, to: "i32", shape: [size] });
  const steps = ops.iota({ size });
  const scaled = delta === 1 ? steps : ops.multiply(steps, filled(delta));
  return data(start === 0 ? scaled : ops.add(scaled, filled(start)));
};

const constant: Reader = (call) => {
  const tensor = call.optional("tensor", "value");
  if (tensor) return call.constant(tensor);
  const ints = call.optional("ints", "value_ints");
  if (ints) return knownSizes(ints);
  const float = call.optional("float", "value_float");
  if (float !== undefined) return known(element.float, [], [float]);
  const int = call.optional("int", "value_int");
  if (int !== undefined) return known(element.int64, [], [int]);
  throw call.problem("gives neither a tensor, nor integers, nor a float");
};

export const movement: Readonly<Record<string, Reader>> = {
  Constant: constant,
  Identity: (call) => call.named(0),
  Range: range,
  Shape: shape,
  Reshape: reshape,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Transpose: transpose,
  Expand: expand,
  Slice: slice,
  Concat: concat,
  Pad: pad,
};
