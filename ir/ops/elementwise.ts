/** Core ops that act on each element alone; operands have one shape, see `broadcast`. */
import { defineOp, type Op } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { errorFunction } from "./numeric.ts";

const unaryFloat = "x: float[...] -> y: float[...]";
const positiveFloat = "x: float<positive>[...] -> y: float[...]";
const binary = "x: number[...], y: number[...] -> z: number[...]";
const quotient = "x: float[...], y: float<nonzero>[...] -> z: float[...]";
const comparison =
  'x: number[...], y: number[...]; is: "eq" | "ne" | "lt" | "le" | "gt" | "ge" -> z: bool[...]';
const choice = "when: bool[...], x: any[...], y: any[...] -> z: any[...]";
const conversion = "x: any[...]; to: dtype -> y: to[...]";

const map1 = (x: Tensor, f: (x: number) => number): Float64Array => Float64Array.from(x.numbers(), f);

function map2(x: Tensor, y: Tensor, f: (x: number, y: number) => number): Float64Array {
  const [a, b] = [x.numbers(), y.numbers()];
  return Float64Array.from(a, (v, i) => f(v, b[i] as number));
}

const isInteger = ({ type }: Tensor): boolean => type.dtype === "i32" || type.dtype === "u32";

export const add: Op<typeof binary> = defineOp({
  name: "add",
  summary: "x + y; integers wrap.",
  signature: binary,
  traits: ["elementwise"],
  evaluate: ({ x, y }) => ({ z: map2(x, y, (a, b) => a + b) }),
});

export const subtract: Op<typeof binary> = defineOp({
  name: "subtract",
  summary: "x - y; integers wrap.",
  signature: binary,
  traits: ["elementwise"],
  evaluate: ({ x, y }) => ({ z: map2(x, y, (a, b) => a - b) }),
});

export const multiply: Op<typeof binary> = defineOp({
  name: "multiply",
  summary: "x times y; integers wrap.",
  signature: binary,
  traits: ["elementwise"],
  evaluate: ({ x, y }) => ({ z: map2(x, y, isInteger(x) ? Math.imul : (a, b) => a * b) }),
});

export const divide: Op<typeof quotient> = defineOp({
  name: "divide",
  summary: "x / y.",
  signature: quotient,
  traits: ["elementwise"],
  evaluate: ({ x, y }) => ({ z: map2(x, y, (a, b) => a / b) }),
});

export const maximum: Op<typeof binary> = defineOp({
  name: "maximum",
  summary: "The larger of x and y.",
  signature: binary,
  traits: ["elementwise"],
  evaluate: ({ x, y }) => ({ z: map2(x, y, Math.max) }),
});

export const minimum: Op<typeof binary> = defineOp({
  name: "minimum",
  summary: "The smaller of x and y.",
  signature: binary,
  traits: ["elementwise"],
  evaluate: ({ x, y }) => ({ z: map2(x, y, Math.min) }),
});

export const exp: Op<typeof unaryFloat> = defineOp({
  name: "exp",
  summary: "e to the power of x.",
  signature: unaryFloat,
  traits: ["elementwise"],
  evaluate: ({ x }) => ({ y: map1(x, Math.exp) }),
});

export const log: Op<typeof positiveFloat> = defineOp({
  name: "log",
  summary: "The natural logarithm of x.",
  signature: positiveFloat,
  traits: ["elementwise"],
  evaluate: ({ x }) => ({ y: map1(x, Math.log) }),
});

export const sqrt: Op<typeof positiveFloat> = defineOp({
  name: "sqrt",
  summary: "The square root of x.",
  signature: positiveFloat,
  traits: ["elementwise"],
  evaluate: ({ x }) => ({ y: map1(x, Math.sqrt) }),
});

export const tanh: Op<typeof unaryFloat> = defineOp({
  name: "tanh",
  summary: "The hyperbolic tangent of x.",
  signature: unaryFloat,
  traits: ["elementwise"],
  evaluate: ({ x }) => ({ y: map1(x, Math.tanh) }),
});

export const erf: Op<typeof unaryFloat> = defineOp({
  name: "erf",
  summary: "The error function of x, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x.",
  signature: unaryFloat,
  traits: ["elementwise"],
  evaluate: ({ x }) => ({ y: map1(x, errorFunction) }),
});

export const compare: Op<typeof comparison> = defineOp({
  name: "compare",
  summary: "Whether x is equal to, not equal to, less than, ... y.",
  signature: comparison,
  traits: ["elementwise"],
  evaluate: ({ x, y }, { is }) => ({ z: map2(x, y, (a, b) => Number(relations[is](a, b))) }),
});

const relations = {
  eq: (a: number, b: number): boolean => a === b,
  ne: (a: number, b: number): boolean => a !== b,
  lt: (a: number, b: number): boolean => a < b,
  le: (a: number, b: number): boolean => a <= b,
  gt: (a: number, b: number): boolean => a > b,
  ge: (a: number, b: number): boolean => a >= b,
} as const;

export const select: Op<typeof choice> = defineOp({
  name: "select",
  summary: "x where `when` holds, else y.",
  signature: choice,
  traits: ["elementwise"],
  evaluate({ when, x, y }) {
    const [a, b] = [x.numbers(), y.numbers()];
    return { z: Float64Array.from(when.numbers(), (w, i) => (w ? a[i] : b[i]) as number) };
  },
});

export const cast: Op<typeof conversion> = defineOp({
  name: "cast",
  summary:
    "x in another dtype: floats round to nearest even, float to integer truncates and saturates, between integers the bits stay, to bool is x != 0.",
  signature: conversion,
  traits: ["elementwise"],
  evaluate({ x }, { to }) {
    const range = isInteger(x) ? undefined : ranges[to];
    return { y: range ? map1(x, (v) => Math.min(Math.max(Math.trunc(v), range[0]), range[1])) : x.numbers() };
  },
});

const ranges: Readonly<Partial<Record<string, readonly [number, number]>>> = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
};
