/** Operands of one application brought to one dtype, and to one shape where they broadcast. */
import { type DType, ops, sameShape, type Shape, type Value } from "../../../ir/index.ts";
import { element, elementName } from "../proto.ts";
import type { Call } from "./call.ts";
import { data, type Data, dtypeOf, type Item, shapeOf, wide } from "./item.ts";

/** Values of one dtype for items of one element type. */
export interface Aligned {
  readonly values: readonly Value[];
  /** Whether they hold the very numbers; see `Data`. */
  readonly exact: boolean;
  /** A result of theirs in the same element type. */
  readonly result: (value: Value, exact?: boolean) => Data;
}

const ranges = { i32: [-(2 ** 31), 2 ** 31 - 1], u32: [0, 2 ** 32 - 1] } as const;
type Carrier = keyof typeof ranges;

/** `items` in `shape`, each repeated as it must be; without one, each in its own. Throws O3 for different types. */
export function aligned(call: Call, items: readonly Item[], shape?: Shape): Aligned {
  const [code = element.float] = items.map((item) => item.element);
  const names = items.map((item) => elementName(item.element));
  if (items.some((item) => item.element !== code))
    throw call.problem(`must have inputs of one type; got ${names.join(", ")}`, "O3");
  const dtype = code === element.int64 ? carrier(items) : dtypeOf.get(code);
  if (!dtype) throw call.problem(`has inputs of ${names[0]}, which is not supported here`);
  const exact = items.every((item) => holds(item, dtype));
  return {
    values: items.map((item) => fitted(call, item, dtype, shape ?? shapeOf(item))),
    exact,
    result: (value, same = exact) => (code === element.int64 ? wide(value, same) : data(value)),
  };
}

/** The dtype that holds int64 items: i32, unless one needs the range of u32. */
const carrier = (items: readonly Item[]): Carrier =>
  items.some((item) =>
    item.kind === "known" ? item.values.some((v) => v > ranges.i32[1]) : item.value.type.dtype === "u32",
  )
    ? "u32"
    : "i32";

/** Whether a value of `dtype` holds the very numbers of `item`. */
function holds(item: Item, dtype: DType): boolean {
  if (item.element !== element.int64) return true;
  if (item.kind === "data") return item.exact && item.value.type.dtype === dtype;
  const [low, high] = ranges[dtype as Carrier];
  return item.values.every((v) => low <= v && v <= high);
}

function fitted(call: Call, item: Item, dtype: DType, shape: Shape): Value {
  if (item.kind === "known" && item.values.length === 1) return call.spelled({ ...item, shape }, dtype);
  return spread(item.kind === "known" ? call.spelled(item, dtype) : converted(item.value, dtype), shape);
}

/** `value` in the dtype `to`. */
export const converted = (value: Value, to: DType): Value =>
  value.type.dtype === to ? value : ops.cast(value, { to });

/** `value` repeated to `shape`. */
export const spread = (value: Value, shape: Shape): Value =>
  sameShape(value.type.shape, shape) ? value : ops.broadcast(value, { shape });

/** `value` in the shape `shape`, its elements in the same order. */
export const shaped = (value: Value, shape: Shape): Value =>
  sameShape(value.type.shape, shape) ? value : ops.reshape(value, { shape });
