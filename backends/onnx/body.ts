/** A list of ONNX nodes under construction: a graph's, or a model-local function's. */
import { Tensor } from "../../ir/index.ts";
import {
  type Attribute,
  type Attributes,
  type Element,
  element,
  elementName,
  type NodeProto,
  nodeProto,
  type TensorProto,
  tensorProto,
} from "./proto.ts";

/** The domain of the model-local functions. */
export const domain = "moec";

/** Values of a function's attributes, by name. */
export type AttributeValues = Readonly<Record<string, number | string>>;

/** Appends nodes and names their results. */
export class Body {
  readonly nodes: NodeProto[] = [];
  /** Put before the names of results; the scope that the nodes stand in. */
  prefix = "";
  /** Written to each node, for people who open the file. */
  provenance = "";
  /** Where constants go; a function has none, and makes its constants by nodes. */
  readonly #initializers: TensorProto[] | undefined;
  readonly #taken = new Set<string>();
  readonly #constants = new Map<string, string>();
  /** Where functions are written inline; else attributes are repeated by reference. */
  #attributes: AttributeValues | undefined;

  constructor(initializers?: TensorProto[]) {
    this.#initializers = initializers;
  }

  /** Keeps `name` from being given to a result. */
  take(name: string): void {
    this.#taken.add(name);
  }

  /** A name that nothing had before: `wanted`, or one like it. */
  unique(wanted: string): string {
    let name = wanted;
    for (let n = 2; this.#taken.has(name); n++) name = `${wanted}_${n}`;
    this.#taken.add(name);
    return name;
  }

  /** The result of a new node. */
  call(opType: string, inputs: readonly string[], attributes: Attributes = {}): string {
    return this.calls(opType, inputs, [""], attributes)[0] as string;
  }

  /** The results of a new node, named by its op and `results`; `custom` is another domain. */
  calls(
    opType: string,
    inputs: readonly string[],
    results: readonly string[],
    attributes: Attributes = {},
    custom?: string,
  ): string[] {
    const name = this.#fresh(opType);
    const outputs = results.map((result) => (result ? this.unique(`${name}:${result}`) : name));
    const more = {
      name,
      ...(custom !== undefined && { domain: custom }),
      ...(this.provenance && { docString: this.provenance }),
    };
    this.nodes.push(nodeProto(opType, inputs, outputs, attributes, more));
    return outputs;
  }

  /** The one-dimensional int64 tensor of `values`. */
  ints(values: readonly number[]): string {
    return this.#constant(`ints ${values.join(" ")}`, element.int64, [values.length], values);
  }

  /** A tensor without axes. */
  scalar(value: number, type: Element): string {
    const label = Object.is(value, -0) ? "-0" : String(value);
    return this.#constant(`${elementName(type)} ${label}`, type, [], [value]);
  }

  /** The function's attribute `name`, as an int64 tensor without axes. */
  attribute(name: string): string {
    if (this.#attributes) return this.scalar(Number(this.#attributes[name]), element.int64);
    return this.#once(`attribute ${name}`, () =>
      this.call("Constant", [], { value_int: { from: name, as: "int" } }),
    );
  }

  /** The function's attribute `name`, a string, for an attribute of a node in it. */
  text(name: string): Attribute {
    return this.#attributes ? { text: String(this.#attributes[name]) } : { from: name, as: "string" };
  }

  /** What `write` makes here, with the values of the attributes in place of references to them. */
  inline<T>(attributes: AttributeValues, write: (body: Body) => T): T {
    const outer = this.#attributes;
    this.#attributes = attributes;
    try {
      return write(this);
    } finally {
      this.#attributes = outer;
    }
  }

  #constant(label: string, type: Element, dims: readonly number[], values: readonly number[]): string {
    return this.#once(label, () => {
      const name = this.#initializers ? this.unique(label) : this.#fresh("Constant");
      const tensor = tensorProto(name, type, dims, bytesOf(type, values));
      if (this.#initializers) this.#initializers.push(tensor);
      else this.nodes.push(nodeProto("Constant", [], [name], { value: { tensor } }, { name }));
      return name;
    });
  }

  #once(label: string, make: () => string): string {
    const known = this.#constants.get(label);
    if (known !== undefined) return known;
    const made = make();
    this.#constants.set(label, made);
    return made;
  }

  #fresh(opType: string): string {
    return this.unique(this.prefix ? `${this.prefix}/${opType}` : opType);
  }
}

/** Little-endian bytes of numbers. */
function bytesOf(type: Element, values: readonly number[]): ArrayBufferView {
  switch (type) {
    case element.float:
      return Float32Array.from(values);
    case element.int32:
      return Int32Array.from(values);
    case element.uint32:
      return Uint32Array.from(values);
    case element.int64:
      return BigInt64Array.from(values, BigInt);
    case element.double:
      return Float64Array.from(values);
    case element.bool:
      return Uint8Array.from(values, (v) => (v ? 1 : 0));
    case element.float16:
    case element.bfloat16:
      return Tensor.from({ dtype: type === element.float16 ? "f16" : "bf16", shape: [values.length] }, values)
        .bytes;
  }
}
