/** Reads the textual form of programs; see print.ts for the grammar. */
import { CompileError } from "./error.ts";
import { Graph } from "./graph.ts";
import { type AnyOp, inScope, type Leaf, leaf, type Value } from "./op.ts";
import type { AttrValue } from "./signature.ts";
import { type DType, dtypes, sameType, showType, type TensorType } from "./type.ts";

/**
 * The program that `text` spells, over the ops of `opset` by mnemonic.
 * Throws P1 where the text is not of the grammar, P2 where a name is unknown or defined twice, P3 where a
 * stated type is not the one that the op gives, each with the line's number.
 */
export function parse(text: string, opset: ReadonlyMap<string, AnyOp>): Graph {
  return new Parser(text, opset).graph();
}

const tokens =
  /\s*(?:("(?:[^"\\]|\\.)*")|(%\w+)|([A-Za-z_]\w*)|([+-]?(?:\d[\d.]*(?:e[+-]?\d+)?|Infinity))|([{}()[\]=:,@]))/y;

class Parser {
  readonly #opset: ReadonlyMap<string, AnyOp>;
  readonly #lines: readonly string[];
  readonly #values = new Map<string, Value>();
  #row = -1;
  #tokens: string[] = [];

  constructor(text: string, opset: ReadonlyMap<string, AnyOp>) {
    this.#opset = opset;
    this.#lines = text.split("\n").map((line) => line.trim());
  }

  graph(): Graph {
    this.#nextLine();
    this.#expect("graph");
    const name = this.#string();
    this.#expect("{");
    const inputs: Value[] = [];
    const outputs: [string, Value][] = [];
    while (this.#nextLine() !== "}") {
      const head = this.#tokens[0];
      if (head === "input" || head === "weight") {
        const value = this.#leaf(head);
        if (head === "input") inputs.push(value);
      } else if (head === "return") outputs.push(this.#output());
      else this.#application();
      this.#end();
    }
    if (this.#lines.slice(this.#row + 1).some(Boolean))
      throw this.#error("P1", "the text goes on after the closing }");
    return new Graph(name, inputs, outputs);
  }

  #leaf(kind: Leaf["kind"]): Value {
    this.#expect(kind);
    const name = this.#next();
    const value = leaf(kind, this.#string(), this.#type());
    this.#define(name, value);
    return value;
  }

  #output(): [string, Value] {
    this.#expect("return");
    const name = this.#string();
    this.#expect("=");
    return [name, this.#value()];
  }

  #application(): void {
    const names = this.#list(() => this.#next());
    this.#expect("=");
    const mnemonic = this.#next();
    const op = this.#opset.get(mnemonic);
    if (!op) throw this.#error("P2", `unknown op ${mnemonic}`);
    this.#expect("(");
    const operands = this.#peek() === ")" ? [] : this.#list(() => this.#value());
    this.#expect(")");
    const attrs = this.#peek() === "{" ? this.#attrs() : {};
    this.#expect(":");
    const types = this.#list(() => this.#bareType());
    const scope = this.#peek() === "@" ? (this.#expect("@"), this.#string()) : "";
    const results = this.#apply(op, operands, attrs, scope);
    if (names.length !== results.length || types.length !== results.length) {
      throw this.#error("P3", `${mnemonic} has ${results.length} results`);
    }
    for (const [i, result] of results.entries()) {
      const type = types[i] as TensorType;
      if (!sameType(type, result.type)) {
        throw this.#error(
          "P3",
          `${mnemonic} gives ${showType(result.type)}; the text says ${showType(type)}`,
        );
      }
      this.#define(names[i] as string, result);
    }
  }

  #apply(op: AnyOp, operands: Value[], attrs: Record<string, AttrValue>, scope: string): readonly Value[] {
    try {
      return inScope(scope, () => op.apply(operands, attrs));
    } catch (error) {
      throw error instanceof CompileError ? this.#error("P3", error.message) : error;
    }
  }

  #attrs(): Record<string, AttrValue> {
    this.#expect("{");
    const entries = this.#list((): [string, AttrValue] => {
      const key = this.#next();
      this.#expect("=");
      return [key, this.#attr()];
    });
    this.#expect("}");
    return Object.fromEntries(entries);
  }

  #attr(): AttrValue {
    const head = this.#peek();
    if (head === "[") return this.#ints();
    if (head?.startsWith('"')) return this.#string();
    const token = this.#next();
    if (token === "true" || token === "false") return token === "true";
    const number = Number(token);
    if (Number.isNaN(number) && token !== "NaN")
      throw this.#error("P1", `expected an attribute's value, got ${token}`);
    return number;
  }

  #ints(): number[] {
    this.#expect("[");
    const sizes = this.#peek() === "]" ? [] : this.#list(() => Number(this.#next()));
    this.#expect("]");
    if (!sizes.every(Number.isSafeInteger)) throw this.#error("P1", "expected integers between brackets");
    return sizes;
  }

  #type(): TensorType {
    this.#expect(":");
    return this.#bareType();
  }

  #bareType(): TensorType {
    const dtype = this.#next();
    if (!dtypes.includes(dtype as DType)) throw this.#error("P1", `expected a dtype, got ${dtype}`);
    return { dtype: dtype as DType, shape: this.#ints() };
  }

  #value(): Value {
    const name = this.#next();
    const value = this.#values.get(name);
    if (!value) throw this.#error("P2", `unknown value ${name}`);
    return value;
  }

  #define(name: string, value: Value): void {
    if (!name.startsWith("%")) throw this.#error("P1", `expected a value's name, got ${name}`);
    if (this.#values.has(name)) throw this.#error("P2", `${name} is defined twice`);
    this.#values.set(name, value);
  }

  #list<T>(item: () => T): T[] {
    const items = [item()];
    while (this.#peek() === ",") {
      this.#expect(",");
      items.push(item());
    }
    return items;
  }

  #string(): string {
    const token = this.#next();
    try {
      if (token.startsWith('"')) return JSON.parse(token) as string;
    } catch {
      // Falls through to the error below: the escape is not JSON's.
    }
    throw this.#error("P1", `expected a quoted name, got ${token}`);
  }

  #peek(): string | undefined {
    return this.#tokens[0];
  }

  #next(): string {
    const token = this.#tokens.shift();
    if (token === undefined) throw this.#error("P1", "the line ends too early");
    return token;
  }

  #expect(want: string): void {
    const token = this.#next();
    if (token !== want) throw this.#error("P1", `expected ${want}, got ${token}`);
  }

  #end(): void {
    if (this.#tokens.length > 0)
      throw this.#error("P1", `expected the end of the line, got ${this.#tokens[0]}`);
  }

  /** Moves to the next line that is not empty; returns its text. */
  #nextLine(): string {
    do this.#row++;
    while (this.#lines[this.#row] === "");
    const line = this.#lines[this.#row];
    if (line === undefined) throw this.#error("P1", "the text ends before the closing }");
    this.#tokens = [];
    tokens.lastIndex = 0;
    while (tokens.lastIndex < line.length) {
      const at = tokens.lastIndex;
      const match = tokens.exec(line);
      if (!match) throw this.#error("P1", `unexpected text ${JSON.stringify(line.slice(at, at + 20))}`);
      this.#tokens.push(match[0].trim());
    }
    return line;
  }

  #error(code: string, message: string): CompileError {
    return new CompileError(code, `line ${this.#row + 1}`, message);
  }
}
