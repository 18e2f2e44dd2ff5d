/**
 * The signature language: one string is the type rule, the documentation and the test generator of an op.
 *
 *     "x: float[..., M, K], y: float[..., K, N] -> z: float[..., M, N]"
 *     "choices: i32<experts>[G, T, k]; experts, capacity -> tokens: i32[G, experts, capacity]"
 *
 * Operands, then attributes after a semicolon, then results.
 * - An axis is a name, bound on first use and equal ever after; or a number; or `...`, any number of axes,
 *   bound as a list (`...in` binds the list `in`, a bare `...` the list `dims`).
 * - A dtype is one of `f32 f16 bf16 i32 u32 bool`, or a class (`float integer number any`), which stands for
 *   one and the same dtype wherever it occurs; in results also the name of a `dtype` attribute.
 * - After a dtype, `<...>` narrows the values an operand may hold, see `Domain`.
 * - An attribute is `name` (an integer, which may size an axis) or `name: kind` with kind `real`, `flag`,
 *   `ints`, `dtype` or a union of strings (`"token" | "gate"`).
 */
import { CompileError } from "./error.ts";
import { type DType, dtypes, sameShape, type Shape, showType, type TensorType } from "./type.ts";

type Trim<S extends string> = S extends ` ${infer R}` | `${infer R} ` ? Trim<R> : S;
type NameOf<S extends string> = S extends `${infer N}:${string}` ? Trim<N> : never;
type NamesOf<S extends string> =
  Trim<S> extends "" ? [] : S extends `${infer H}],${infer R}` ? [NameOf<H>, ...NamesOf<R>] : [NameOf<S>];
type Split<S extends string> = S extends `${infer H},${infer R}` ? Trim<H> | Split<R> : Trim<S>;
type Left<S extends string> = S extends `${infer L}->${string}` ? L : S;
type AttrText<S extends string> = Left<S> extends `${string};${infer A}` ? Split<A> : never;

type Literals<S extends string> = S extends `"${infer L}"${infer R}`
  ? L | (R extends `${string}|${infer N}` ? Literals<Trim<N>> : never)
  : never;
type KindType<K extends string> = K extends "real"
  ? number
  : K extends "flag"
    ? boolean
    : K extends "ints"
      ? Shape
      : K extends "dtype"
        ? DType
        : Literals<K>;

/** Operand names of a signature, in order. */
export type Operands<S extends string> =
  Left<S> extends `${infer L};${string}` ? NamesOf<L> : NamesOf<Left<S>>;
/** Result names of a signature, in order. */
export type Results<S extends string> = S extends `${string}->${infer R}` ? NamesOf<R> : [];
/** Attributes of a signature with their types. */
export type Attrs<S extends string> = {
  readonly [
    A in AttrText<S> as A extends `${infer N}:${string}` ? Trim<N> : A
  ]: A extends `${string}:${infer K}` ? KindType<Trim<K>> : number;
};

type Axes<S extends string> = S extends `${string}[${infer D}]${infer R}` ? Split<D> | Axes<R> : never;
type AxisName<A extends string> = A extends `...${string}` | `${number}` | "" ? never : A;
type ListName<A extends string> = A extends "..." ? "dims" : A extends `...${infer N}` ? N : never;

/** Everything that one application binds: axes (numbers), lists of axes, and attributes. */
export type Bound<S extends string> = { readonly [A in AxisName<Axes<S>>]: number } & {
  readonly [A in ListName<Axes<S>>]: Shape;
} & Attrs<S>;

export type Named<N extends readonly string[], V> = { readonly [K in N[number]]: V };
export type Positional<N extends readonly string[], V> = { readonly [I in keyof N]: V };

export type AttrValue = number | boolean | string | Shape;
/** Attributes or bindings with their types erased. */
export type Sizes = Readonly<Record<string, AttrValue>>;

/**
 * The values an operand may hold; outside it the op's meaning is undefined.
 * `index`: -1 (none) or an index below the product of the named axes, written `<N>` or `<E*capacity>`.
 * `permutation`: every row is a permutation of 0 .. axis-1, written `<perm T>`.
 * `occupied`: -1 or the flat index of an entry of another operand that is not -1, written `<in tokens>`.
 */
export type Domain =
  | { readonly kind: "positive" | "nonzero" }
  | { readonly kind: "index"; readonly below: readonly string[] }
  | { readonly kind: "permutation"; readonly of: string }
  | { readonly kind: "occupied"; readonly operand: string };

export type Axis =
  | { readonly kind: "size"; readonly size: number }
  | { readonly kind: "axis" | "list"; readonly name: string };

/** One operand or result. */
export interface Slot {
  readonly name: string;
  /** A dtype, a class of dtypes, or the name of a dtype attribute. */
  readonly dtype: string;
  readonly domain: Domain | undefined;
  readonly axes: readonly Axis[];
}

export type AttrKind = "int" | "real" | "flag" | "ints" | "dtype" | readonly string[];

export interface Signature {
  readonly operands: readonly Slot[];
  readonly attrs: readonly { readonly name: string; readonly kind: AttrKind }[];
  readonly results: readonly Slot[];
}

/** The dtypes that a class stands for. */
export const classes: Readonly<Record<string, readonly DType[]>> = {
  float: ["f32", "f16", "bf16"],
  integer: ["i32", "u32"],
  number: ["f32", "f16", "bf16", "i32", "u32"],
  any: dtypes,
};

export function parseSignature(text: string): Signature {
  const [left = "", right = ""] = text.split("->");
  const [operands = "", attrs = ""] = left.split(";");
  return { operands: parseSlots(operands), attrs: parseAttrs(attrs), results: parseSlots(right) };
}

const parseSlots = (text: string): Slot[] =>
  [...text.matchAll(/(\w+):\s*(\w+)(?:<([^>]*)>)?\[([^\]]*)\]/g)].map(
    ([, name = "", dtype = "", domain, axes = ""]) => ({
      name,
      dtype,
      domain: domain === undefined ? undefined : parseDomain(domain),
      axes: words(axes, ",").map(parseAxis),
    }),
  );

const words = (text: string, separator: string): string[] =>
  text
    .split(separator)
    .map((word) => word.trim())
    .filter(Boolean);

function parseDomain(text: string): Domain {
  if (text === "positive" || text === "nonzero") return { kind: text };
  const [head = "", name] = words(text, " ");
  if (head === "perm" && name) return { kind: "permutation", of: name };
  if (head === "in" && name) return { kind: "occupied", operand: name };
  return { kind: "index", below: words(text, "*") };
}

function parseAxis(text: string): Axis {
  if (text.startsWith("...")) return { kind: "list", name: text.slice(3) || "dims" };
  return /^\d+$/.test(text) ? { kind: "size", size: Number(text) } : { kind: "axis", name: text };
}

const parseAttrs = (text: string): Signature["attrs"] =>
  words(text, ",").map((attr) => {
    const [name = "", kind = "int"] = words(attr, ":");
    const literals = [...kind.matchAll(/"([^"]*)"/g)].map(([, literal = ""]) => literal);
    return { name, kind: literals.length > 0 ? literals : (kind as "int") };
  });

const holds: Readonly<Record<string, (value: unknown) => boolean>> = {
  int: Number.isSafeInteger,
  real: (value) => typeof value === "number",
  flag: (value) => typeof value === "boolean",
  ints: (value) => Array.isArray(value) && value.every(Number.isSafeInteger),
  dtype: (value) => dtypes.includes(value as DType),
};

function checkAttrs(subject: string, { attrs }: Signature, given: Sizes): void {
  for (const { name, kind } of attrs) {
    const value = given[name];
    const good = typeof kind === "string" ? holds[kind]?.(value) : kind.includes(value as string);
    if (!good) {
      const want = typeof kind === "string" ? `of kind ${kind}` : `one of ${kind.join(", ")}`;
      throw new CompileError(
        "C0",
        subject,
        `attribute ${name} must be ${want}; got ${JSON.stringify(value)}`,
      );
    }
  }
  const known = attrs.map((attr) => attr.name);
  const stray = Object.keys(given).find((name) => !known.includes(name));
  if (stray)
    throw new CompileError(
      "C0",
      subject,
      `has no attribute ${stray}; it takes ${known.join(", ") || "none"}`,
    );
}

/** Binds one application: its attributes, checked, and its operands' axes and dtypes. Throws C0. */
export function bind(
  subject: string,
  signature: Signature,
  types: readonly TensorType[],
  attrs: Sizes,
): Sizes {
  checkAttrs(subject, signature, attrs);
  return bindOperands(subject, signature, types, attrs);
}

/**
 * Binds the axes of the operands against `types`, on top of what `known` binds.
 * The dtype that a class stands for is bound under the class's name. Throws C0 at the first disagreement.
 */
export function bindOperands(
  subject: string,
  { operands }: Signature,
  types: readonly TensorType[],
  known: Sizes,
): Sizes {
  const sizes: Record<string, AttrValue> = { ...known };
  if (types.length !== operands.length) {
    throw new CompileError("C0", subject, `takes ${operands.length} operands; got ${types.length}`);
  }
  for (const [i, slot] of operands.entries()) {
    const type = types[i];
    if (!type || !fits(slot, type, sizes)) {
      const axes = slot.axes.map((axis) => showAxis(axis, sizes)).filter(Boolean);
      const want = `${showDType(slot, sizes)}[${axes.join(", ")}]`;
      throw new CompileError(
        "C0",
        subject,
        `${slot.name} must be ${want}; got ${type ? showType(type) : "nothing"}`,
      );
    }
  }
  return sizes;
}

/** Whether `type` fits `slot`, extending `sizes` as far as it does. */
function fits(slot: Slot, type: TensorType, sizes: Record<string, AttrValue>): boolean {
  const allowed = classes[slot.dtype];
  const wanted = allowed ? (sizes[slot.dtype] ??= type.dtype) : slot.dtype;
  if (type.dtype !== wanted || (allowed && !allowed.includes(type.dtype))) return false;
  const rest = type.shape.length - slot.axes.length + 1;
  let at = 0;
  for (const axis of slot.axes) {
    if (axis.kind === "list") {
      const sub = type.shape.slice(at, at + rest);
      if (rest < 0) return false;
      const want = (sizes[axis.name] ??= sub);
      if (!Array.isArray(want) || !sameShape(want as Shape, sub)) return false;
      at += rest;
    } else {
      const size = type.shape[at++];
      const want = axis.kind === "size" ? axis.size : (sizes[axis.name] ??= size ?? -1);
      if (size !== want) return false;
    }
  }
  return at === type.shape.length;
}

const showDType = ({ dtype }: Slot, sizes: Sizes): string =>
  classes[dtype] ? String(sizes[dtype] ?? dtype) : dtype;

const showAxis = (axis: Axis, sizes: Sizes): string => {
  if (axis.kind === "size") return String(axis.size);
  const value = sizes[axis.name];
  const label = axis.kind === "list" ? `...${axis.name === "dims" ? "" : axis.name}` : axis.name;
  return value === undefined ? label : Array.isArray(value) ? value.join(", ") : `${label}=${String(value)}`;
};

/** The concrete type of `slot` under `sizes`. */
export function typeOf(slot: Slot, sizes: Sizes): TensorType {
  const shape: number[] = [];
  for (const axis of slot.axes) {
    const value = axis.kind === "size" ? axis.size : sizes[axis.name];
    if (Array.isArray(value)) shape.push(...(value as Shape));
    else shape.push(value as number);
  }
  return { dtype: (sizes[slot.dtype] ?? slot.dtype) as DType, shape };
}
