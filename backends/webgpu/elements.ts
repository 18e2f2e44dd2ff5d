/** The elements of a value as WGSL: a tree of applications that no buffer stands between. */
import { type Node, sizeOf, type Value } from "../../ir/index.ts";
import { type Binding, bind, type Lanes, type MoveKernel, typeOf } from "./kernel.ts";
import { kernels } from "./kernels/index.ts";
import { isPacked } from "./transfer.ts";
import { unviewed } from "./views.ts";
import { rounded, roundingModule } from "./wgsl.ts";

/** WGSL for elements `i`, counted in `lanes`, of the packed float16 in `name`. */
const unpacked = (name: string, i: string, lanes: Lanes): string =>
  lanes === 1
    ? `unpack2x16float(${name}[${i} / 2u])[${i} % 2u]`
    : `vec4f(unpack2x16float(${name}[2u * ${i}]), unpack2x16float(${name}[2u * ${i} + 1u]))`;

/** Statements of one WGSL function, with the names that they give. */
interface Body {
  readonly lines: string[];
  readonly names: Map<string, string>;
}

const newBody = (): Body => ({ lines: [], names: new Map() });

/** The arrays, by name, in which a thread holds row `rowAt` of values, each of `rows` rows. */
export interface HeldRows {
  readonly rows: number;
  readonly arrays: ReadonlyMap<Value, string>;
}

/** Writes what it takes to have elements of values that `inlined` applications make of others. */
export class Elements {
  /** What is read, named `x0`, `x1`, ...; where rows are held, which is in a kernel's own text, `given0`, .... */
  readonly bindings: Binding[] = [];
  readonly #functions: string[] = [];
  readonly #declarations = new Set<string>();
  readonly #numbers = new Map<Value, number>();
  readonly #inlined: ReadonlySet<Node>;
  readonly #given: Value | undefined;
  readonly #replaced: Value | undefined;
  readonly #held: HeldRows | undefined;

  /**
   * @param given a value whose element is at hand, as `v` in its own place
   * @param replaced a value whose elements lie in `result`, until it has others
   * @param held values of which a thread holds a row
   */
  constructor(
    inlined: ReadonlySet<Node>,
    {
      given,
      replaced,
      held,
    }: {
      readonly given?: Value;
      readonly replaced?: Value | undefined;
      readonly held?: HeldRows;
    },
  ) {
    this.#inlined = inlined;
    this.#given = given;
    this.#replaced = replaced;
    this.#held = held;
  }

  /** Declarations that the statements need. */
  get module(): readonly string[] {
    return [...this.#declarations, ...this.#functions];
  }

  /** Statements, and the expression after them, for elements `i` of `value`; `i` is the name of an index in `lanes`. */
  write(value: Value, lanes: Lanes): { readonly lines: readonly string[]; readonly result: string } {
    const body = newBody();
    const result = this.#element(value, "i", lanes, body);
    return { lines: body.lines, result };
  }

  #element(value: Value, i: string, lanes: Lanes, body: Body): string {
    const origin = unviewed(value);
    if (origin === this.#given) return "v";
    const array = this.#held?.arrays.get(origin);
    if (array) {
      const width = sizeOf(origin.type.shape) / (this.#held?.rows ?? 1);
      return width === 1 ? `${array}[0u]` : `${array}[${i} - rowAt * ${width}u]`;
    }
    const { node } = origin;
    if (!node || !this.#inlined.has(node)) return this.#load(origin, i, lanes);
    const kernel = kernels.get(node.op);
    if (!kernel || "emit" in kernel) throw new Error(`${node.op.name} has no elements`);
    if ("pieces" in kernel) return this.#moved(node, kernel, i, lanes, body);
    const operands = node.operands.map((operand) => this.#element(operand, i, lanes, body));
    for (const part of kernel.module?.(node, lanes) ?? []) this.#declarations.add(part);
    const { dtype } = origin.type;
    this.#declarations.add(roundingModule(dtype, lanes));
    return this.#named(body, "t", rounded(dtype, kernel.map(operands, node, lanes, i), lanes));
  }

  /** A name for what `text` says; the same for the same text. A name's value is none that WGSL computes ahead of a run. */
  #named(body: Body, prefix: string, text: string): string {
    const known = body.names.get(text);
    if (known) return known;
    const name = `${prefix}${body.names.size}`;
    body.names.set(text, name);
    body.lines.push(`let ${name} = ${text};`);
    return name;
  }

  #load(origin: Value, i: string, lanes: Lanes): string {
    if (origin === this.#replaced) return `result[${i}]`;
    const number = this.#numbers.get(origin) ?? this.#numbers.size;
    const name = `${this.#held ? "given" : "x"}${number}`;
    const { dtype } = origin.type;
    if (!this.#numbers.has(origin)) {
      this.#numbers.set(origin, number);
      this.bindings.push(bind(name, origin, isPacked(origin) ? "u32" : typeOf(dtype, lanes)));
    }
    if (isPacked(origin)) return unpacked(name, i, lanes);
    const stored = this.bindings[number]?.element;
    if (stored === typeOf(dtype, lanes)) return `${name}[${i}]`;
    // A buffer has one type: what is bound as vectors is taken apart, what is bound as elements put together.
    if (lanes === 1) return `${name}[${i} / 4u][${i} % 4u]`;
    const parts = [0, 1, 2, 3].map((c) => `${name}[4u * ${i} + ${c}u]`);
    return `${typeOf(dtype, 4)}(${parts.join(", ")})`;
  }

  #moved(node: Node, kernel: MoveKernel, i: string, lanes: Lanes, body: Body): string {
    const operand = (piece: number): Value => node.operands[piece] as Value;
    const type = typeOf(node.results[0]?.type.dtype ?? "f32", lanes);
    const pieces = kernel.pieces(node, i, lanes);
    const [first] = pieces ?? [];
    if (pieces?.length === 1 && first) {
      return this.#element(operand(first.operand), this.#named(body, "i", first.at), lanes, body);
    }
    if (!pieces) {
      const one = kernel.repeated?.(node, i);
      if (one)
        return `${type}(${this.#element(operand(one.operand), this.#named(body, "i", one.at), 1, body)})`;
      const parts = [0, 1, 2, 3].map((c) => `4u * ${i} + ${c}u`);
      const single = this.#function(typeOf(node.results[0]?.type.dtype ?? "f32", 1), (inner) => {
        const returned = this.#moved(node, kernel, "i", 1, inner);
        return [...inner.lines, `return ${returned};`];
      });
      return this.#named(body, "t", `${type}(${parts.map((part) => `${single}(${part})`).join(", ")})`);
    }
    const choice = this.#function(type, () =>
      (kernel.pieces(node, "i", lanes) ?? []).flatMap((piece) => {
        const inner = newBody();
        const at = this.#named(inner, "i", piece.at);
        const returned = this.#element(operand(piece.operand), at, lanes, inner);
        const lines = [...inner.lines, `return ${returned};`];
        return piece.when ? [`if (${piece.when}) {`, ...lines.map((line) => `  ${line}`), "}"] : lines;
      }),
    );
    return this.#named(body, "t", `${choice}(${i})`);
  }

  /** Declares a function of an index `i`; returns its name. */
  #function(type: string, write: (body: Body) => readonly string[]): string {
    const body = newBody();
    const statements = write(body);
    const text = (name: string): string =>
      [`fn ${name}(i: u32) -> ${type} {`, ...statements.map((line) => `  ${line}`), "}"].join("\n");
    const name = `at${this.#functions.length}`;
    this.#functions.push(text(name));
    return name;
  }
}
