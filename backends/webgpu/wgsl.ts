/** Pieces of WGSL that kernels share. */
import type { DType, Shape } from "../../ir/index.ts";
import { stridesOf } from "../../ir/index.ts";
import type { Lanes } from "./kernel.ts";

/** A finite number as an f32 literal. */
export function f32(x: number): string {
  const text = String(Math.fround(x));
  return /[.e]/.test(text) ? `${text}f` : `${text}.0f`;
}

/** The largest finite f32, negated: where a maximum starts, since infinities may be assumed absent. */
export const lowest = "-3.402823e38f";

/** What `f` makes of 0, 1, ... `n - 1`. */
export const times = (n: number, f: (i: number) => string): string[] =>
  Array.from({ length: n }, (_, i) => f(i));

/** `code` with every line moved right. */
export const block = (margin: number, code: readonly string[]): string =>
  code
    .flatMap((part) => part.split("\n"))
    .filter((line) => line.trim())
    .map((line) => " ".repeat(margin) + line)
    .join("\n");

/** The name of what belongs to number `j` of several: vectors of a thread's columns, rows of a workgroup. */
export const named = (name: string, j: number): string => (j === 0 ? name : `${name}_${j}`);

/** `statement`, under a condition where it needs one. */
export const guarded = (condition: string | undefined, statement: string): string =>
  condition ? `if (${condition}) { ${statement} }` : statement;

/** The components of a vector. */
export const xyzw = "xyzw";

/** Sums and products of WGSL terms with numbers, without what changes nothing. */
export const plus = (term: string, n: number): string => (n === 0 ? term : `${term} + ${n}u`);
export const sum = (...terms: readonly (string | undefined)[]): string =>
  terms.filter(Boolean).join(" + ") || "0u";
export const product = (factor: string, n: number): string => {
  if (n === 1) return factor;
  return /^\w+$/.test(factor) || /^\w+[([][^()]*[)\]]$/.test(factor)
    ? `${factor} * ${n}u`
    : `(${factor}) * ${n}u`;
};

/** The name of a function for `lanes` elements: WGSL has no overloading. */
const overload = (name: string, lanes: Lanes): string => (lanes === 1 ? name : `${name}${lanes}`);

/** The type of `count` f32. */
export const f32s = <N extends 1 | 2 | 4>(count: N): N extends 1 ? "f32" : `vec${N}f` =>
  (count === 1 ? "f32" : `vec${count}f`) as N extends 1 ? "f32" : `vec${N}f`;

/** The part `i` of `v`, which is `count` numbers. */
export const partOf = (v: string, i: number, count: number): string => (count === 1 ? v : `${v}.${xyzw[i]}`);

/** `x`, an expression of `lanes` f32, rounded to `dtype`; needs `roundingModule`. */
export function rounded(dtype: DType, x: string, lanes: Lanes = 1): string {
  if (dtype === "f16") return `quantizeToF16(${x})`;
  return dtype === "bf16" ? `${overload("bfloat", lanes)}(${x})` : x;
}

/** What `rounded` calls; empty for dtypes that need no function. */
export function roundingModule(dtype: DType, lanes: Lanes = 1): string {
  if (dtype !== "bf16") return "";
  const [type, u32] = [f32s(lanes), lanes === 1 ? "u32" : "vec4u"];
  // To nearest, ties to even; operands are finite.
  return `
fn ${overload("bfloat", lanes)}(x: ${type}) -> ${type} {
  let bits = bitcast<${u32}>(x);
  return bitcast<${type}>((bits + 0x7fffu + ((bits >> ${u32}(16u)) & ${u32}(1u))) & ${u32}(0xffff0000u));
}`;
}

/**
 * The flat index into a tensor as a function of the flat index `i` of another: the sum over `shape`'s axes of
 * the axis index times `strides`, plus `offset`. Axes of size 1 and stride 0 vanish, neighbours are merged.
 */
export function stridedIndex(i: string, shape: Shape, strides: Shape, offset = 0): string {
  const own = stridesOf(shape);
  const terms: string[] = [];
  for (let axis = 0; axis < shape.length;) {
    // Axes that lie as in the other tensor act as one.
    let last = axis;
    let size = shape[axis] ?? 1;
    while (last + 1 < shape.length && strides[last] === (strides[last + 1] ?? 0) * (shape[last + 1] ?? 1)) {
      last++;
      size *= shape[last] ?? 1;
    }
    const [step = 0, inner = 1] = [strides[last], own[last]];
    if (step !== 0 && size > 1) {
      const above = inner === 1 ? i : `${i} / ${inner}u`;
      const place = axis === 0 || shape.slice(0, axis).every((s) => s === 1) ? above : `${above} % ${size}u`;
      terms.push(step === 1 ? place : `${place === i ? i : `(${place})`} * ${step}u`);
    }
    axis = last + 1;
  }
  if (offset !== 0 || terms.length === 0) terms.push(`${offset}u`);
  return terms.join(" + ");
}

/** A loop over a row's entries shared by `lanes` threads: `for` head with index `j`. */
export const sharedLoop = (size: number, lanes: number, bound = `${size}u`): string =>
  lanes === 1 ? `for (var j = 0u; j < ${bound}; j++)` : `for (var j = lane; j < ${bound}; j += ${lanes}u)`;

type Gelu = "tanh" | "none";

/** GELU of `lanes` f32; needs `geluModule`. */
export const gelu = (x: string, approximate: Gelu, lanes: Lanes): string =>
  `${overload(approximate === "tanh" ? "gelu" : "geluByErf", lanes)}(${x})`;

/** What `gelu` calls. tanh overflows on some drivers for large arguments, so they are clamped. */
export function geluModule(approximate: Gelu, lanes: Lanes): readonly string[] {
  const type = f32s(lanes);
  if (approximate === "none") {
    return [
      erfModule(lanes),
      `
fn ${overload("geluByErf", lanes)}(x: ${type}) -> ${type} {
  return 0.5f * x * (1.0f + ${erf(`x * ${f32(Math.SQRT1_2)}`, lanes)});
}`,
    ];
  }
  return [
    `
fn ${overload("gelu", lanes)}(x: ${type}) -> ${type} {
  let bend = ${f32(Math.sqrt(2 / Math.PI))} * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1.0f + tanh(clamp(bend, ${type}(-10.0f), ${type}(10.0f))));
}`,
  ];
}

/** The error function of `lanes` f32; needs `erfModule`. */
export const erf = (x: string, lanes: Lanes): string => `${overload("erf", lanes)}(${x})`;

/** erf to 1.5e-7 absolute: Abramowitz and Stegun, 7.1.26. */
export const erfModule = (lanes: Lanes): string => `
fn ${overload("erf", lanes)}(x: ${f32s(lanes)}) -> ${f32s(lanes)} {
  let z = abs(x);
  let t = 1.0f / (1.0f + 0.3275911f * z);
  let series = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
  return sign(x) * (1.0f - series * exp(-z * z));
}`;
