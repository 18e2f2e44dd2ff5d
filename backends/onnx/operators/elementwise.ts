/** Ops on each element alone. Operands may come in any shape that broadcasts to the value's own. */
import { type DType, type Op, ops } from "../../../ir/index.ts";
import type { Body } from "../body.ts";
import { elementOf, type Operator, operator } from "../operator.ts";
import { element } from "../proto.ts";

const unary = (op: Op<"x: float[...] -> y: float[...]">, type: string): Operator =>
  operator(op, ({ x }, _, { body }) => body.call(type, [x]));

const binary = (op: Op<"x: number[...], y: number[...] -> z: number[...]">, type: string): Operator =>
  operator(op, ({ x, y }, _, { body }) => body.call(type, [x, y]));

export const add: Operator = binary(ops.add, "Add");
export const subtract: Operator = binary(ops.subtract, "Sub");
export const multiply: Operator = binary(ops.multiply, "Mul");
export const maximum: Operator = binary(ops.maximum, "Max");
export const minimum: Operator = binary(ops.minimum, "Min");
export const divide: Operator = operator(ops.divide, ({ x, y }, _, { body }) => body.call("Div", [x, y]));

export const exp: Operator = unary(ops.exp, "Exp");
export const tanh: Operator = unary(ops.tanh, "Tanh");
export const erf: Operator = unary(ops.erf, "Erf");
export const log: Operator = operator(ops.log, ({ x }, _, { body }) => body.call("Log", [x]));
export const sqrt: Operator = operator(ops.sqrt, ({ x }, _, { body }) => body.call("Sqrt", [x]));

export const gelu: Operator = operator(
  ops.gelu,
  ({ x }, { approximate }, { body }) => body.call("Gelu", [x], { approximate: { text: approximate } }),
  { since: 20 },
);

const relations = {
  eq: "Equal",
  ne: "Equal",
  lt: "Less",
  le: "LessOrEqual",
  gt: "Greater",
  ge: "GreaterOrEqual",
} as const;

export const compare: Operator = operator(ops.compare, ({ x, y }, { is }, { body }) => {
  const holds = body.call(relations[is], [x, y]);
  return is === "ne" ? body.call("Not", [holds]) : holds;
});

export const select: Operator = operator(
  ops.select,
  ({ when, x, y }, _, { body, node }) => {
    if (node.results[0]?.type.dtype !== "bool") return body.call("Where", [when, x, y]);
    // Engines choose between numbers, not between truths.
    const [yes, no] = [body.call("And", [when, x]), body.call("And", [body.call("Not", [when]), y])];
    return body.call("Or", [yes, no]);
  },
  { moves: true },
);

/** Bounds of the integers, as floats hold them and exactly. */
const ranges = { i32: [-(2 ** 31), 2 ** 31 - 1], u32: [0, 2 ** 32 - 1] } as const;

export const cast: Operator = operator(ops.cast, ({ x }, { to }, { body, node }) => {
  const from = node.operands[0]?.type.dtype ?? "f32";
  const [held, wanted] = [elementOf[from], elementOf[to]];
  const isFloat = from === "f32" || from === "f16" || from === "bf16";
  if (isFloat && (to === "i32" || to === "u32")) return saturated(body, x, to);
  return held === wanted ? x : body.call("Cast", [x], { to: { int: wanted } });
});

/** The integer nearest to zero within the dtype's range: engines differ on what lies outside. */
function saturated(body: Body, x: string, to: "i32" | "u32"): string {
  const [low, high] = ranges[to];
  const wide = body.call("Cast", [x], { to: { int: element.double } });
  const above = body.call("Max", [wide, body.scalar(low, element.double)]);
  const inside = body.call("Min", [above, body.scalar(high, element.double)]);
  return body.call("Cast", [inside], { to: { int: elementOf[to] } });
}

/** `x` rounded to what `dtype` can hold, in the element that holds it. */
export function settled(body: Body, x: string, dtype: DType): string {
  if (dtype === "u32") return body.call("BitwiseAnd", [x, body.scalar(2 ** 32 - 1, element.int64)]);
  if (dtype !== "bf16") return x;
  const narrow = body.call("Cast", [x], { to: { int: element.bfloat16 } });
  return body.call("Cast", [narrow], { to: { int: element.float } });
}
