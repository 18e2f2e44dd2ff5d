/** One node of a file, as those who read it see it: its inputs' meanings, its attributes, and errors in its name. */
import { type CompileError, type DType, ops, type Shape, sizeOf, type Value } from "../../../ir/index.ts";
import { type Attribute, element, elementName, type TensorProto } from "../proto.ts";
import { dtypeOf, type Item, type Known, type Named, shortest } from "./item.ts";
import { listed, problem, type ProblemCode } from "./problem.ts";

/** How a node's op is read: its results, in order; one may be given bare. */
export type Reader = (call: Call) => Named | readonly Named[];

/** At most so many numbers of a file are looked at one by one; constants of one number may have any size. */
export const mostNumbers = 4096;
/** So many different numbers may stand in a constant that a program computes with. */
const mostRuns = 16;
/** At most so many axes. */
const mostAxes = 32;

/** The values of attributes, by kind. */
interface Values {
  readonly int: number;
  readonly float: number;
  readonly text: string;
  readonly ints: readonly number[];
  readonly tensor: TensorProto;
}
type Kind = keyof Values;

/** How errors call the kinds. */
const kinds: Readonly<Record<Kind, string>> = {
  int: "an integer",
  float: "a float",
  text: "a string",
  ints: "integers",
  tensor: "a tensor",
};

/** What a call is made of. */
export interface CallSpec {
  readonly file: string;
  /** What errors call the node. */
  readonly name: string;
  /** Undefined where an optional input is left out. */
  readonly inputs: readonly (Named | undefined)[];
  /** Undefined where an attribute is of a kind that nothing here has. */
  readonly attributes: ReadonlyMap<string, Attribute | undefined>;
  /** What a tensor in the node itself stands for. */
  readonly constant: (tensor: TensorProto) => Named;
}

/** A node as its reader sees it: inputs by place, attributes by name. */
export class Call {
  readonly inputs: CallSpec["inputs"];
  readonly #spec: CallSpec;
  readonly #asked = new Set<string>();

  constructor(spec: CallSpec) {
    this.inputs = spec.inputs;
    this.#spec = spec;
  }

  /** An error about this node: O4 for what is not understood, O3 for what breaks the format's rules. */
  problem(message: string, code: ProblemCode = "O4"): CompileError {
    return problem(this.#spec.file, `${this.#spec.name} ${message}`, code);
  }

  /** An error about numbers that are known only modulo 2^32; see `Data`. */
  inexact(): CompileError {
    return this.problem("has 64-bit integers that may lie beyond 32 bits");
  }

  /** What input `i` stands for. Throws O3 where the node has none. */
  named(i: number): Named {
    const named = this.inputs[i];
    if (!named) throw this.problem(`must have an input ${i}`, "O3");
    return named;
  }

  /** What input `i` stands for, which may be computed with. Throws O4 for small integers, O3 where the node has none. */
  item(i: number): Item {
    return this.computable(this.named(i), `input ${i}`);
  }

  /** `named`, which errors call `what`. Throws O4 for small integers. */
  computable(named: Named, what: string): Item {
    if (named.kind !== "packed") return named;
    throw this.problem(`has ${what} of ${elementName(named.element)}, which only DequantizeLinear may have`);
  }

  /** Input `i` as a value of its element's dtype. */
  value(i: number): Value {
    return this.valueOf(this.item(i), `input ${i}`);
  }

  /** `item`, which errors call `what`, as a value of its element's dtype. */
  valueOf(item: Item, what: string): Value {
    const dtype = dtypeOf.get(item.element);
    if (!dtype)
      throw this.problem(`has ${what} of ${elementName(item.element)}, which is not supported here`);
    return item.kind === "known" ? this.spelled(item, dtype) : item.value;
  }

  /** A constant of `dtype` for each run of equal numbers, one after the other. */
  spelled({ values, shape }: Known, to: DType): Value {
    const filled = (value: number, size: Shape): Value =>
      ops.constant({ value: shortest(value, to), to, shape: size });
    if (values.length <= 1) return filled(values[0] ?? 0, shape);
    const starts = [...values.keys()].filter((i) => i === 0 || values[i] !== values[i - 1]);
    if (starts.length > mostRuns)
      throw this.problem(
        `computes with a constant of more than ${mostRuns} different numbers, which must be a weight`,
      );
    const runs = starts.map((start, n) =>
      filled(values[start] as number, [(starts[n + 1] ?? values.length) - start]),
    );
    return ops.reshape(
      runs.reduce((x, y) => ops.concat(x, y, { axis: 0 })),
      { shape },
    );
  }

  /** Input `i` as integers that the file gives. */
  list(i: number): number[] {
    const item = this.item(i);
    if (item.kind !== "known")
      throw this.problem(`has an input ${i} that is known only when the program runs`);
    if (item.element !== element.int64 && item.element !== element.int32)
      throw this.problem(`must have integers as input ${i}; got ${elementName(item.element)}`, "O3");
    const size = sizeOf(item.shape);
    if (size > mostNumbers)
      throw this.problem(`has ${size} numbers as input ${i}; at most ${mostNumbers} are read`);
    return item.values.length === 1 ? Array<number>(size).fill(item.values[0] as number) : [...item.values];
  }

  /** Input `i` as one number that the file gives. */
  number(i: number): number {
    const item = this.item(i);
    if (item.kind !== "known" || sizeOf(item.shape) !== 1)
      throw this.problem(`must have one number, given in the file, as input ${i}`);
    return item.values[0] as number;
  }

  /** The attribute `name`, or else `otherwise`. */
  attribute<K extends Kind>(kind: K, name: string, otherwise: Values[K]): Values[K] {
    return this.optional(kind, name) ?? otherwise;
  }

  /** The attribute `name`; undefined where the node has none. Throws O3 where it is of another kind. */
  optional<K extends Kind>(kind: K, name: string): Values[K] | undefined {
    this.#asked.add(name);
    const { attributes } = this.#spec;
    if (!attributes.has(name)) return undefined;
    const value = attributes.get(name) as Partial<Values> | undefined;
    const got: Values[K] | undefined = value?.[kind];
    if (got === undefined) throw this.problem(`must have ${kinds[kind]} as attribute ${name}`, "O3");
    return got;
  }

  /** The attribute `name`. Throws O3 where the node has none. */
  required<K extends Kind>(kind: K, name: string): Values[K] {
    const value = this.optional(kind, name);
    if (value === undefined) throw this.problem(`must have an attribute ${name}`, "O3");
    return value;
  }

  /** The attributes as they are, for a function's body. */
  allAttributes(): CallSpec["attributes"] {
    for (const name of this.#spec.attributes.keys()) this.#asked.add(name);
    return this.#spec.attributes;
  }

  /** Throws O4 unless the attribute `name` is left out or `only`: another value would mean something else. */
  expect(name: string, only: number): void {
    const value = this.attribute("int", name, only);
    if (value !== only) throw this.problem(`has ${name} = ${value}; only ${only} is read`);
  }

  /** Throws O4 where the node has an attribute that nobody asked for: its meaning would be lost. */
  finish(): void {
    const stray = [...this.#spec.attributes.keys()].find((name) => !this.#asked.has(name));
    if (stray !== undefined) throw this.problem(`has an attribute ${stray}, which is not read`);
  }

  /** What a tensor in the node stands for. */
  constant(tensor: TensorProto): Named {
    return this.#spec.constant(tensor);
  }

  /** `sizes`, which must be a shape. */
  shape(sizes: readonly number[]): Shape {
    const good = sizes.length <= mostAxes && sizes.every((size) => Number.isSafeInteger(size) && size >= 0);
    if (!good || !Number.isSafeInteger(sizeOf(sizes)))
      throw this.problem(`makes a shape ${listed(sizes.slice(0, mostAxes))}`, "O3");
    return sizes;
  }

  /** Axis `axis` of `rank`, where negative ones count from the last. */
  axis(axis: number, rank: number): number {
    const at = axis < 0 ? axis + rank : axis;
    if (!Number.isSafeInteger(at) || at < 0 || at >= rank)
      throw this.problem(`has axis ${axis} of ${rank}`, "O3");
    return at;
  }

  /** The axes of `rank` that `list` names, each once. */
  axes(list: readonly number[], rank: number): number[] {
    const axes = list.map((axis) => this.axis(axis, rank));
    if (new Set(axes).size !== axes.length) throw this.problem("names an axis twice", "O3");
    return axes;
  }

  /** The shape that `shapes` broadcast to, as numpy does. */
  broadcast(shapes: readonly Shape[]): Shape {
    const rank = Math.max(...shapes.map((shape) => shape.length));
    return Array.from({ length: rank }, (_, axis) => {
      const sizes = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1);
      const size = sizes.find((each) => each !== 1) ?? 1;
      if (sizes.every((each) => each === 1 || each === size)) return size;
      const got = shapes.map(listed);
      throw this.problem(`has shapes that do not broadcast: ${got.join(" and ")}`, "O3");
    });
  }
}

/** Whether values of `dtype` are floats. */
export const isFloat = (dtype: DType): boolean => dtype === "f32" || dtype === "f16" || dtype === "bf16";
