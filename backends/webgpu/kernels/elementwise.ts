/** One thread an element. The text names no sizes, so that one kernel serves every shape. */
import { type AnyOp, type DType, ops, sizeOf, type Value } from "../../../ir/index.ts";
import { grid, type Kernel, kernel, launch, type Launch, read, write } from "../kernel.ts";
import type { Profile } from "../profile.ts";
import { erfModule, f32, geluModule, rounded, roundingModule } from "../wgsl.ts";

interface Map {
  readonly label: string;
  readonly operands: readonly Value[];
  readonly result: Value;
  /** An expression of the operands' elements `a`, `b` and `c`. */
  readonly expression: string;
  readonly module?: string;
}

/** The launch that computes `expression` for every element. */
export function mapElements(
  { label, operands, result, expression, module = "" }: Map,
  profile: Profile,
): Launch {
  const names = ["x", "y", "z"].slice(0, operands.length);
  const { workgroups, index } = grid(sizeOf(result.type.shape), profile);
  const { dtype } = result.type;
  return launch({
    label,
    bindings: [...operands.map((value, i) => read(names[i] ?? "", value)), write("result", result)],
    workgroups,
    workgroupSize: [profile.workgroup],
    module: module + roundingModule(dtype),
    body: `
      ${index}
      if (i >= arrayLength(&result)) { return; }
      ${names.map((name, n) => `let ${"abc"[n]} = ${name}[i];`).join("\n      ")}
      result[i] = ${rounded(dtype, expression)};`,
  });
}

type OneResult = { readonly [name in "y" | "z"]?: Value };

/** A kernel for an elementwise op, from the expression for its operands' dtype. */
function elementwise(op: AnyOp, expression: (dtype: DType) => string, module = ""): Kernel {
  return {
    op,
    emit({ operands, results, profile }) {
      const list = op.operands.map((slot) => operands[slot.name] as Value);
      const { y, z } = results as OneResult;
      const dtype = list[0]?.type.dtype ?? "f32";
      return [
        mapElements(
          {
            label: op.name,
            operands: list,
            result: (y ?? z) as Value,
            expression: expression(dtype),
            module,
          },
          profile,
        ),
      ];
    },
  };
}

const infix = (op: AnyOp, sign: string): Kernel => elementwise(op, () => `a ${sign} b`);
const call = (op: AnyOp, name: string): Kernel => elementwise(op, () => `${name}(a)`);

export const add: Kernel = infix(ops.add, "+");
export const subtract: Kernel = infix(ops.subtract, "-");
export const multiply: Kernel = infix(ops.multiply, "*");
export const divide: Kernel = infix(ops.divide, "/");
export const maximum: Kernel = elementwise(ops.maximum, () => "max(a, b)");
export const minimum: Kernel = elementwise(ops.minimum, () => "min(a, b)");
export const exp: Kernel = call(ops.exp, "exp");
export const log: Kernel = call(ops.log, "log");
export const sqrt: Kernel = call(ops.sqrt, "sqrt");
/** Large arguments overflow in some drivers. */
export const tanh: Kernel = elementwise(ops.tanh, () => "tanh(clamp(a, -10.0f, 10.0f))");
export const erf: Kernel = elementwise(ops.erf, () => "erf(a)", erfModule());
export const select: Kernel = elementwise(ops.select, () => "select(c, b, a != 0u)");

const relations = { eq: "==", ne: "!=", lt: "<", le: "<=", gt: ">", ge: ">=" } as const;

export const compare: Kernel = kernel(
  ops.compare,
  ({ operands: { x, y }, results: { z }, sizes, profile }) => [
    mapElements(
      {
        label: `compare ${sizes.is}`,
        operands: [x, y],
        result: z,
        expression: `select(0u, 1u, a ${relations[sizes.is]} b)`,
      },
      profile,
    ),
  ],
);

export const gelu: Kernel = kernel(ops.gelu, ({ operands: { x }, results: { y }, sizes, profile }) => [
  mapElements(
    { label: "gelu", operands: [x], result: y, expression: "gelu(a)", module: geluModule(sizes.approximate) },
    profile,
  ),
]);

export const cast: Kernel = kernel(ops.cast, ({ operands: { x }, results: { y }, profile }) => [
  mapElements(
    { label: "cast", operands: [x], result: y, expression: conversion(x.type.dtype, y.type.dtype) },
    profile,
  ),
]);

const isFloat = (dtype: DType): boolean => dtype === "f32" || dtype === "f16" || dtype === "bf16";

function conversion(from: DType, to: DType): string {
  if (isFloat(to)) return isFloat(from) ? "a" : "f32(a)";
  if (to === "bool")
    return isFloat(from)
      ? "select(0u, 1u, a != 0.0f)"
      : "select(0u, 1u, a != bitcast_zero)".replace("bitcast_zero", from === "i32" ? "0i" : "0u");
  if (!isFloat(from)) return `bitcast<${to}>(a)`;
  // The largest f32 that the integer holds; conversion truncates.
  return to === "i32" ? "i32(clamp(a, -2147483648.0f, 2147483520.0f))" : "u32(clamp(a, 0.0f, 4294967040.0f))";
}

/** The launch that fills `result` with a number. */
export const constant: Kernel = kernel(ops.constant, ({ results: { y }, sizes: { value }, profile }) => {
  const { dtype } = y.type;
  const literal = isFloat(dtype)
    ? f32(value)
    : dtype === "bool"
      ? `${Number(value !== 0)}u`
      : `${dtype}(${value})`;
  return [mapElements({ label: "constant", operands: [], result: y, expression: literal }, profile)];
});

export const iota: Kernel = kernel(ops.iota, ({ results: { y }, profile }) => [
  mapElements({ label: "iota", operands: [], result: y, expression: "i32(i)" }, profile),
]);
