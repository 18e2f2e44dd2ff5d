/** How ops on each element alone are read; what they broadcast is repeated first. */
import { type Op, ops, sizeOf, type Value } from "../../../../ir/index.ts";
import { element } from "../../proto.ts";
import { aligned, converted, spread } from "../align.ts";
import type { Call, Reader } from "../call.ts";
import { data, type Data, type Item, known, type Known, shapeOf } from "../item.ts";

type Unary = Op<"x: float[...] -> y: float[...]"> | Op<"x: float<positive>[...] -> y: float[...]">;
type Binary = (x: Value, y: Value) => Value;
type OnNumbers = (x: number, y: number) => number;

const unary =
  (op: Unary): Reader =>
  (call) =>
    data(op(call.value(0)));

/**
 * An op of two or more operands; integers that are known are computed at once by `onNumbers`. `ring`: whether the
 * result modulo 2^32 is that of the operands modulo 2^32.
 */
const arithmetic =
  (op: Binary, onNumbers: OnNumbers, ring: boolean): Reader =>
  (call) =>
    call.inputs
      .map((_, i) => call.item(i))
      .reduce((x, y) => computed(call, x, y, onNumbers) ?? applied(call, x, y, op, ring));

function applied(call: Call, x: Item, y: Item, op: Binary, ring: boolean): Data {
  const { values, exact, result } = aligned(call, [x, y], call.broadcast([x, y].map(shapeOf)));
  if (!exact && !ring) throw call.inexact();
  return result(op(values[0] as Value, values[1] as Value), exact && (!ring || x.element !== element.int64));
}

/** The result for int64 and double items whose numbers are known; undefined else, and beyond what a number holds. */
function computed(call: Call, x: Item, y: Item, f: OnNumbers): Known | undefined {
  const isWide = x.element === element.int64 || x.element === element.double;
  if (x.kind !== "known" || y.kind !== "known" || !isWide || y.element !== x.element) return undefined;
  const shape = call.broadcast([x.shape, y.shape]);
  const [more, fewer] = x.values.length >= y.values.length ? [x, y] : [y, x];
  if (fewer.values.length > 1 && fewer.values.length !== more.values.length) return undefined;
  if (more.values.length > 1 && more.values.length !== sizeOf(shape)) return undefined;
  const values = more.values.map((_, i) => f(entry(x, i), entry(y, i)));
  const good = x.element === element.double || values.every(Number.isSafeInteger);
  return good ? known(x.element, shape, values) : undefined;
}

const entry = ({ values }: Known, i: number): number => values[values.length === 1 ? 0 : i] as number;

/** `Max` and `Min`: of doubles only as bounds of what is converted to integers. */
const extreme = (op: Binary, pick: OnNumbers): Reader => {
  const read = arithmetic(op, pick, false);
  return (call) => {
    const [x, y] = [call.item(0), call.inputs[1]];
    if (x.element !== element.double || x.kind !== "data" || !y) return read(call);
    const limit = call.number(1);
    if (call.inputs.length > 2 || y.element !== element.double)
      throw call.problem("has more than one bound of a double");
    const [low, high] = x.bounds;
    return { ...x, bounds: [pick(low, limit), pick(high, limit)] };
  };
};

type Relation = "eq" | "lt" | "le" | "gt" | "ge";

const relation =
  (is: Relation): Reader =>
  (call) => {
    const items = [call.item(0), call.item(1)];
    const { values, exact } = aligned(call, items, call.broadcast(items.map(shapeOf)));
    if (!exact) throw call.inexact();
    const [x, y] = values.map((value) => (value.type.dtype === "bool" ? converted(value, "i32") : value));
    return data(ops.compare(x as Value, y as Value, { is }));
  };

/** The truth `value` everywhere. */
const all = (value: boolean, { type: { shape } }: Value): Value =>
  ops.constant({ value: Number(value), to: "bool", shape });

const logic =
  (of: Binary): Reader =>
  (call) => {
    const items = [call.item(0), call.item(1)];
    const { values } = aligned(call, items, call.broadcast(items.map(shapeOf)));
    return data(of(values[0] as Value, values[1] as Value));
  };

const not: Reader = (call) => {
  const x = call.value(0);
  return data(ops.select(x, all(false, x), all(true, x)));
};

const where: Reader = (call) => {
  const choices = [call.item(1), call.item(2)];
  const shape = call.broadcast([call.item(0), ...choices].map(shapeOf));
  const { values, result } = aligned(call, choices, shape);
  const condition = spread(call.value(0), shape);
  return result(ops.select(condition, values[0] as Value, values[1] as Value));
};

export const elementwise: Readonly<Record<string, Reader>> = {
  Add: arithmetic(ops.add, (x, y) => x + y, true),
  Sub: arithmetic(ops.subtract, (x, y) => x - y, true),
  Mul: arithmetic(ops.multiply, (x, y) => x * y, true),
  Div: arithmetic(ops.divide, (x, y) => Math.trunc(x / y), false),
  Max: extreme(ops.maximum, Math.max),
  Min: extreme(ops.minimum, Math.min),
  Exp: unary(ops.exp),
  Log: unary(ops.log),
  Sqrt: unary(ops.sqrt),
  Tanh: unary(ops.tanh),
  Erf: unary(ops.erf),
  Gelu(call) {
    const approximate = call.attribute("text", "approximate", "none");
    if (approximate !== "none" && approximate !== "tanh")
      throw call.problem(`has approximate = ${approximate}`, "O3");
    return data(ops.gelu(call.value(0), { approximate }));
  },
  Equal: relation("eq"),
  Less: relation("lt"),
  LessOrEqual: relation("le"),
  Greater: relation("gt"),
  GreaterOrEqual: relation("ge"),
  Not: not,
  And: logic((x, y) => ops.select(x, y, all(false, x))),
  Or: logic((x, y) => ops.select(x, all(true, x), y)),
  Where: where,
};
