/** How `DequantizeLinear` is read: as `dequantize` where zero points are in the middle of their type, else as arithmetic. */
import { type DType, ops, sameShape, type Shape, sizeOf, type Value } from "../../../../ir/index.ts";
import { element, elementBits, elementName, isElement, smallElement } from "../../proto.ts";
import { converted, shaped, spread } from "../align.ts";
import { type Call, isFloat, type Reader } from "../call.ts";
import { data, dtypeOf, type Named, type Packed, shapeOf } from "../item.ts";
import { listed } from "../problem.ts";

/** Integers as matrices [E, rows, F], and their scales as [E, R, F]: one for each column of `block` rows. */
interface Layout {
  readonly E: number;
  readonly rows: number;
  readonly F: number;
  readonly block: number;
  /** What a scale's shape is brought to before its elements are those of [E, R, F]. */
  readonly scales: { readonly aligned: Shape; readonly repeated: Shape };
}

/** Blocks of `block` along `axis`: every axis before it counts matrices, every one after it columns. */
function ofBlocks(call: Call, shape: Shape, given: Shape, block: number): Layout {
  const axis = call.axis(call.attribute("int", "axis", 1), shape.length);
  const rows = shape[axis] as number;
  const scales = shape.with(axis, Math.ceil(rows / block));
  if (!sameShape(given, scales)) {
    throw call.problem(
      `must have scales ${listed(scales)} of blocks of ${block} along axis ${axis}; got ${listed(given)}`,
      "O3",
    );
  }
  const [E, F] = [sizeOf(shape.slice(0, axis)), sizeOf(shape.slice(axis + 1))];
  return { E, rows, F, block, scales: { aligned: given, repeated: given } };
}

/** One scale, or one for each entry of an axis: of columns of matrices, but of whole rows where the axis is that of rows. */
function ofAxis(call: Call, shape: Shape, given: Shape): Layout {
  const [rows = 1, F = 1] = [shape.at(-2), shape.at(-1)];
  const before = shape.slice(0, -2);
  const { length: rank } = shape;
  const chosen = call.attribute("int", "axis", 1);
  const isOne = given.length <= 1 && sizeOf(given) === 1;
  const axis = isOne ? rank - 1 : call.axis(chosen, rank);
  if (!isOne && !sameShape(given, [shape[axis] as number])) {
    const must = `must have one scale, or ${shape[axis]} of axis ${axis}, without a block_size`;
    throw call.problem(`${must}; got ${listed(given)}`, "O3");
  }
  const aligned = shape.map((_, i) => (i === axis ? sizeOf(given) : 1));
  if (axis === rank - 2) {
    const scales = { aligned, repeated: [...before, rows, 1] };
    return { E: sizeOf(before) * rows, rows: F, F: 1, block: F, scales };
  }
  const repeated = rank < 2 ? [...shape] : [...before, 1, F];
  return { E: sizeOf(before), rows, F, block: rows, scales: { aligned, repeated } };
}

/** A value of the scale's shape, as [E, R, F]. */
const arranged = (value: Value, { E, rows, F, block, scales }: Layout): Value =>
  shaped(spread(shaped(value, scales.aligned), scales.repeated), [E, Math.ceil(rows / block), F]);

/** `scales` [E, R, F] for each row, [E, rows, F]. */
function ofRows(scales: Value, { E, rows, F, block }: Layout): Value {
  const R = Math.ceil(rows / block);
  if (R === 1) return spread(scales, [E, rows, F]);
  const each = shaped(spread(shaped(scales, [E, R, 1, F]), [E, R, block, F]), [E, R * block, F]);
  return R * block === rows ? each : ops.slice(each, { start: [0, 0, 0], limit: [E, rows, F] });
}

/** The integer that words hold as 2^(bits - 1): in the middle of the type. */
const middleOf = ({ element: code }: Packed): number =>
  code === smallElement.int8 || code === smallElement.int4 ? 0 : 2 ** (elementBits[code] - 1);

/** The integers less the middle of their type, as floats that hold them exactly: f32[E, rows, F]. */
function centred(x: Packed, { E, rows, F }: Pick<Layout, "E" | "rows" | "F">): Value {
  const one = ops.constant({ value: 1, to: "f32", shape: [E, 1, F] });
  return ops.dequantize(x.words(E), one, { bits: elementBits[x.element], rows, block: rows });
}

/** (x - zero) * scales, f32[E, rows, F]. */
function product(x: Packed, zero: Named | undefined, scales: Value, layout: Layout): Value {
  const { E, rows, block } = layout;
  const middle = middleOf(x);
  const known = zero === undefined ? 0 : zero.kind === "packed" ? zero.every : undefined;
  if (known === middle)
    return ops.dequantize(x.words(E), scales, { bits: elementBits[x.element], rows, block });
  const filled = (value: number): Value => ops.constant({ value, to: "f32", shape: scales.type.shape });
  const packed = zero as Packed;
  const shift =
    known === undefined
      ? arranged(shaped(centred(packed, { E: 1, rows: sizeOf(packed.shape), F: 1 }), packed.shape), layout)
      : filled(known - middle);
  return ops.multiply(ops.subtract(centred(x, layout), ofRows(shift, layout)), ofRows(scales, layout));
}

/** The same for integers of 32 bits, which the program computes with. */
function wideProduct(call: Call, scales: Value, layout: Layout): Value {
  const { E, rows, F } = layout;
  const integers = shaped(call.value(0), [E, rows, F]);
  const zero = call.inputs[2] && ofRows(arranged(call.value(2), layout), layout);
  const shifted = zero ? ops.subtract(integers, zero) : integers;
  return ops.multiply(converted(shifted, "f32"), ofRows(scales, layout));
}

/** The dtype of the result: by default that of the scales. */
function resultOf(call: Call, scale: Value): DType {
  const code = call.attribute("int", "output_dtype", 0);
  if (code === 0) return scale.type.dtype;
  const dtype = isElement(code) ? dtypeOf.get(code) : undefined;
  if (dtype !== undefined && isFloat(dtype)) return dtype;
  throw call.problem(`has output_dtype = ${elementName(code)}; it must be a float`, "O3");
}

const dequantizeLinear: Reader = (call) => {
  const [x, scale, zero] = [call.named(0), call.value(1), call.inputs[2]];
  if (!isFloat(scale.type.dtype))
    throw call.problem(`must have scales of floats; got ${scale.type.dtype}`, "O3");
  if (x.kind !== "packed" && x.element !== element.int32)
    throw call.problem(
      `is read of integers of 8 and 4 bits in the file, and of int32; got ${elementName(x.element)}`,
    );
  const [shape, given] = [x.kind === "packed" ? x.shape : shapeOf(x), scale.type.shape];
  const block = call.attribute("int", "block_size", 0);
  if (block < 0) throw call.problem(`has block_size = ${block}`, "O3");
  if (zero) {
    const points = zero.kind === "packed" ? zero.shape : shapeOf(zero);
    if (zero.element !== x.element || !sameShape(points, given)) {
      const must = `must have zero points of ${elementName(x.element)} ${listed(given)}`;
      throw call.problem(`${must}; got ${elementName(zero.element)} ${listed(points)}`, "O3");
    }
  }
  const layout = block > 0 ? ofBlocks(call, shape, given, block) : ofAxis(call, shape, given);
  const scales = arranged(converted(scale, "f32"), layout);
  const y = x.kind === "packed" ? product(x, zero, scales, layout) : wideProduct(call, scales, layout);
  return data(converted(shaped(y, shape), resultOf(call, scale)));
};

export const quantization: Readonly<Record<string, Reader>> = { DequantizeLinear: dequantizeLinear };
