/** Expressions of elements at one index; the text names no sizes, so that one kernel serves every shape. */
import { type Attrs, type DType, type Node, type Op, ops } from "../../../ir/index.ts";
import { elementOf, type Lanes, type MapKernel, typeOf } from "../kernel.ts";
import { erf as erfOf, erfModule, f32, gelu as geluOf, geluModule } from "../wgsl.ts";

/** What an expression may depend on. */
interface Site {
  readonly lanes: Lanes;
  /** Of the first operand, and of the result. */
  readonly from: DType;
  readonly to: DType;
  readonly i: string;
  /** A literal of the dtype's type, in every lane. */
  readonly all: (dtype: DType, literal: string) => string;
}

/** The kernel of an op, from its expression of the operands' elements `a`, `b` and `c`. */
function map<S extends string>(
  op: Op<S>,
  expression: (
    operands: { readonly [name in "a" | "b" | "c"]: string },
    site: Site,
    attrs: Attrs<S>,
  ) => string,
  module?: (lanes: Lanes, attrs: Attrs<S>) => readonly string[],
): MapKernel {
  return {
    op,
    map([a = "", b = "", c = ""], { operands, results, attrs }, lanes, i) {
      const to = results[0]?.type.dtype ?? "f32";
      const from = operands[0]?.type.dtype ?? to;
      const all = (dtype: DType, literal: string): string =>
        lanes === 1 ? literal : `${typeOf(dtype, lanes)}(${literal})`;
      return expression({ a, b, c }, { lanes, from, to, i, all }, attrs as Attrs<S>);
    },
    ...(module && { module: ({ attrs }: Node, lanes: Lanes) => module(lanes, attrs as Attrs<S>) }),
  };
}

export const add: MapKernel = map(ops.add, ({ a, b }) => `${a} + ${b}`);
export const subtract: MapKernel = map(ops.subtract, ({ a, b }) => `${a} - ${b}`);
export const multiply: MapKernel = map(ops.multiply, ({ a, b }) => `${a} * ${b}`);
export const divide: MapKernel = map(ops.divide, ({ a, b }) => `${a} / ${b}`);
export const maximum: MapKernel = map(ops.maximum, ({ a, b }) => `max(${a}, ${b})`);
export const minimum: MapKernel = map(ops.minimum, ({ a, b }) => `min(${a}, ${b})`);
export const exp: MapKernel = map(ops.exp, ({ a }) => `exp(${a})`);
export const log: MapKernel = map(ops.log, ({ a }) => `log(${a})`);
export const sqrt: MapKernel = map(ops.sqrt, ({ a }) => `sqrt(${a})`);
/** Large arguments overflow in some drivers. */
export const tanh: MapKernel = map(
  ops.tanh,
  ({ a }, { all }) => `tanh(clamp(${a}, ${all("f32", "-10.0f")}, ${all("f32", "10.0f")}))`,
);
export const erf: MapKernel = map(
  ops.erf,
  ({ a }, { lanes }) => erfOf(a, lanes),
  (lanes) => [erfModule(lanes)],
);
export const gelu: MapKernel = map(
  ops.gelu,
  ({ a }, { lanes }, { approximate }) => geluOf(a, approximate, lanes),
  (lanes, { approximate }) => geluModule(approximate, lanes),
);
export const select: MapKernel = map(
  ops.select,
  ({ a, b, c }, { all }) => `select(${c}, ${b}, ${a} != ${all("bool", "0u")})`,
);

const relations = { eq: "==", ne: "!=", lt: "<", le: "<=", gt: ">", ge: ">=" } as const;
const truth = (condition: string, all: Site["all"]): string =>
  `select(${all("bool", "0u")}, ${all("bool", "1u")}, ${condition})`;

export const compare: MapKernel = map(ops.compare, ({ a, b }, { all }, { is }) =>
  truth(`${a} ${relations[is]} ${b}`, all),
);

export const cast: MapKernel = map(ops.cast, ({ a }, site) => conversion(a, site));

const isFloat = (dtype: DType): boolean => elementOf[dtype] === "f32";

function conversion(a: string, { from, to, all, lanes }: Site): string {
  const type = typeOf(to, lanes);
  if (isFloat(to)) return isFloat(from) ? a : `${type}(${a})`;
  if (to === "bool")
    return truth(`${a} != ${all(from, isFloat(from) ? "0.0f" : from === "i32" ? "0i" : "0u")}`, all);
  if (!isFloat(from)) return `bitcast<${type}>(${a})`;
  // The largest f32 that the integer holds; conversion truncates.
  const [low, high] = to === "i32" ? ["-2147483648.0f", "2147483520.0f"] : ["0.0f", "4294967040.0f"];
  return `${type}(clamp(${a}, ${all(from, low)}, ${all(from, high)}))`;
}

export const constant: MapKernel = map(ops.constant, (_, { to, all }, { value }) => {
  const literal = isFloat(to) ? f32(value) : to === "bool" ? `${Number(value !== 0)}u` : `${to}(${value})`;
  return all(to, literal);
});

export const iota: MapKernel = map(ops.iota, (_, { lanes, i }) =>
  lanes === 1 ? `i32(${i})` : `4i * i32(${i}) + vec4i(0i, 1i, 2i, 3i)`,
);
