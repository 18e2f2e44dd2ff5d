/** How conversions between element types are read; 64 bits exist only on the way between others. */
import { type DType, Tensor } from "../../../../ir/index.ts";
import { type Element, element, elementName, isElement } from "../../proto.ts";
import { converted } from "../align.ts";
import { type Call, isFloat, type Reader } from "../call.ts";
import { data, type Data, dtypeOf, type Item, known, unbounded, wide } from "../item.ts";

/** `item` in the element type `to`. */
function inElement(call: Call, item: Item, to: Element): Item {
  if (item.element === to) return item;
  if (item.kind === "known") {
    const numbers = item.values.map((value) => numberIn(to, value));
    return known(to, item.shape, numbers);
  }
  const result = item.element === element.double ? fromDouble(item, to) : fromOther(call, item, to);
  if (result) return result;
  throw call.problem(`converts ${elementName(item.element)} to ${elementName(to)}, which is not read`);
}

function numberIn(to: Element, value: number): number {
  if (to === element.double) return value;
  if (to === element.int64) return Math.trunc(value);
  const dtype = dtypeOf.get(to) as DType;
  const whole = dtype === "i32" || dtype === "u32" ? Math.trunc(value) : value;
  return Tensor.from({ dtype, shape: [1] }, [whole]).at(0);
}

/** Bounds between which a conversion to integers is defined for all floats, by the dtype whose `cast` it then is. */
const saturations = [
  { to: "i32", bounds: [-(2 ** 31), 2 ** 31 - 1] },
  { to: "u32", bounds: [0, 2 ** 32 - 1] },
] as const;

const sameBounds = (a: Data["bounds"], b: Data["bounds"]): boolean => a[0] === b[0] && a[1] === b[1];

function fromDouble({ value, bounds }: Data, to: Element): Data | undefined {
  const dtype = dtypeOf.get(to);
  const saturated = saturations.find((each) => sameBounds(each.bounds, bounds))?.to;
  if (saturated && to === element.int64) return wide(converted(value, saturated));
  const isPlain = dtype !== undefined && isFloat(dtype) && sameBounds(bounds, unbounded);
  return isPlain || (saturated && dtype === saturated) ? data(converted(value, dtype)) : undefined;
}

function fromOther(call: Call, { value, exact }: Data, to: Element): Data | undefined {
  const dtype = dtypeOf.get(to);
  const from = value.type.dtype;
  if (to === element.double) return isFloat(from) ? { ...data(value), element: to } : undefined;
  if (dtype === undefined)
    return isFloat(from) ? undefined : wide(from === "u32" ? value : converted(value, "i32"));
  // What is known modulo 2^32 has the right 32 bits, and no other meaning.
  if (!exact && dtype !== "i32" && dtype !== "u32") throw call.inexact();
  return data(converted(value, dtype));
}

const cast: Reader = (call) => {
  const to = call.required("int", "to");
  if (!isElement(to)) throw call.problem(`converts to ${elementName(to)}, which is not supported here`);
  return inElement(call, call.item(0), to);
};

/** Only with all 32 bits: it cuts a sum or product of unsigned integers to what it is. */
const bitwiseAnd: Reader = (call) => {
  const x = call.item(0);
  if (x.element !== element.int64 || call.number(1) !== 2 ** 32 - 1)
    throw call.problem(`is read only of int64 with ${2 ** 32 - 1}`);
  if (x.kind === "data") return x.exact && x.value.type.dtype === "u32" ? x : wide(converted(x.value, "u32"));
  const numbers = x.values.map((value) => value - Math.floor(value / 2 ** 32) * 2 ** 32);
  return known(x.element, x.shape, numbers);
};

export const conversion: Readonly<Record<string, Reader>> = {
  Cast: cast,
  CastLike: (call) => inElement(call, call.item(0), call.item(1).element),
  BitwiseAnd: bitwiseAnd,
};
