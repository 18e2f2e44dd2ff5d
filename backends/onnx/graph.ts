/** A program's nodes in ONNX, application by application. */
import type { AnyOp, Graph, Node, Value } from "../../ir/index.ts";
import type { Symbols } from "./batch.ts";
import { Body, domain } from "./body.ts";
import { type Context, elementOf, type Operator, outsideOf, type Routine } from "./operator.ts";
import { settled } from "./operators/elementwise.ts";
import {
  type FunctionProto,
  type GraphProto,
  type NodeProto,
  nodeProto,
  type TensorProto,
  type ValueInfoProto,
  valueInfoProto,
} from "./proto.ts";
import { type WeightTensor, weightTensor } from "./weights.ts";

export interface GraphOptions {
  readonly operators: ReadonlyMap<AnyOp, Operator>;
  readonly opset: number;
  /** Plain nodes in place of model-local functions. */
  readonly inline: boolean;
  /** Where the batch is open. */
  readonly symbols: Symbols | undefined;
}

/** A graph without its weights' initializers, the functions that it calls, and the weights that it reads. */
export interface WrittenGraph {
  readonly graph: GraphProto;
  readonly functions: FunctionProto[];
  readonly weights: WeightTensor[];
}

/** The name of a value, and whether what is named has the value's very shape; else one that broadcasts to it. */
interface Held {
  readonly name: string;
  readonly full: boolean;
}

/** `graph`, all of whose ops are among the operators. Throws O1 where an operator cannot write an application. */
export function writeGraph(graph: Graph, options: GraphOptions): WrittenGraph {
  return new Writer(graph, options).write();
}

class Writer {
  readonly #graph: Graph;
  readonly #options: GraphOptions;
  readonly #initializers: TensorProto[] = [];
  readonly #body: Body = new Body(this.#initializers);
  readonly #functions = new Map<string, FunctionProto>();
  readonly #held = new Map<Value, Held>();
  readonly #derived = new Map<string, WeightTensor>();

  constructor(graph: Graph, options: GraphOptions) {
    this.#graph = graph;
    this.#options = options;
  }

  write(): WrittenGraph {
    const { inputs, weights, nodes, outputs, name } = this.#graph;
    for (const output of outputs.keys()) this.#body.take(output);
    for (const { leaf } of [...inputs, ...weights]) this.#body.take(leaf?.name ?? "");
    for (const leaf of [...inputs, ...weights]) this.#enter(leaf);
    for (const node of nodes) this.#apply(node);
    const node = needed(this.#leave(), [...outputs.keys()]);
    const read = new Set(node.flatMap((each) => each.input ?? []));
    return {
      graph: {
        name,
        node,
        initializer: this.#initializers.filter((tensor) => read.has(tensor.name ?? "")),
        input: inputs.map((value) => this.#declared(value.leaf?.name ?? "", value)),
        output: [...outputs].map(([output, value]) => this.#declared(output, value)),
      },
      functions: [...this.#functions.values()],
      weights: [...weights.map(weightTensor), ...this.#derived.values()].filter((tensor) =>
        read.has(tensor.name),
      ),
    };
  }

  #declared(name: string, value: Value): ValueInfoProto {
    const { dtype, shape } = value.type;
    const { symbols } = this.#options;
    const dims = shape.map((size, axis) => symbols?.declared(value, axis) ?? size);
    return valueInfoProto(name, outsideOf[dtype], dims);
  }

  #enter(value: Value): void {
    const name = value.leaf?.name ?? "";
    const { dtype } = value.type;
    const held = elementOf[dtype];
    const same = outsideOf[dtype] === held;
    this.#held.set(value, {
      name: same ? name : this.#body.call("Cast", [name], { to: { int: held } }),
      full: true,
    });
  }

  #apply(node: Node): void {
    const operator = this.#options.operators.get(node.op) as Operator;
    const body = this.#body;
    body.prefix = node.scope;
    body.provenance = `${node.op.name}${node.scope ? ` in ${node.scope}` : ""}`;
    const held = node.operands.map((operand) =>
      operator.broadcasts ? (this.#held.get(operand) as Held) : { name: this.#exact(operand), full: true },
    );
    const operands = Object.fromEntries(node.op.operands.map(({ name }, i) => [name, held[i]?.name ?? ""]));
    const context: Context = {
      body,
      node,
      shape: (value) => this.#target(value),
      derived: (tensor) => this.#derive(tensor),
    };
    const outs =
      operator.routine && !this.#options.inline
        ? this.#call(node, operator.routine, operands)
        : operator.write(operands, node.sizes, context);
    // Among loose operands one of the full shape gives the result its shape.
    const full = !operator.broadcasts || held.some((operand) => operand.full);
    for (const [i, result] of node.results.entries()) {
      const out = outs[i] ?? "";
      const name = typeof out === "string" ? out : out.loose;
      const { dtype, shape } = result.type;
      this.#held.set(result, {
        name: operator.moves ? name : settled(body, name, dtype),
        full: shape.length === 0 || (typeof out === "string" && full),
      });
    }
  }

  /** The results of a call of the function that `routine` describes, which is written when first called. */
  #call(node: Node, routine: Routine, operands: Readonly<Record<string, string>>): readonly string[] {
    const name = routine.name(node.sizes);
    const attributes = routine.attributes(node.sizes);
    if (!this.#functions.has(name)) {
      const body = new Body();
      const inputs = Object.keys(operands);
      for (const input of inputs) body.take(input);
      const results = routine.write(body, Object.fromEntries(inputs.map((input) => [input, input])), name);
      this.#functions.set(name, {
        name,
        domain,
        docString: node.op.summary,
        input: inputs,
        output: [...results],
        attribute: Object.keys(attributes),
        node: body.nodes,
        opsetImport: [{ domain: "", version: this.#options.opset }],
      });
    }
    const values = Object.entries(attributes).map(([key, value]) => [
      key,
      typeof value === "number" ? { int: value } : { text: value },
    ]);
    const { results } = node.op;
    const outputs = results.length === 1 ? [""] : results.map((slot) => slot.name);
    return this.#body.calls(name, Object.values(operands), outputs, Object.fromEntries(values), domain);
  }

  /** The name of `value` in its very shape. */
  #exact(value: Value): string {
    const { name, full } = this.#held.get(value) as Held;
    if (full) return name;
    const body = this.#body;
    const { symbols } = this.#options;
    const grows = value.type.shape.some((_, axis) => symbols?.grows(value, axis));
    const shape =
      symbols && grows ? symbols.shape(body, value, this.#graph.inputs) : body.ints(value.type.shape);
    const expanded = body.call("Expand", [name, shape]);
    this.#held.set(value, { name: expanded, full: true });
    return expanded;
  }

  #derive(tensor: WeightTensor): string {
    const key = JSON.stringify([tensor.name, tensor.element, tensor.shape]);
    const known = this.#derived.get(key);
    if (known) return known.name;
    const name = this.#body.unique(tensor.name);
    this.#derived.set(key, { ...tensor, name });
    return name;
  }

  #target(value: Value): string {
    const { symbols } = this.#options;
    return this.#body.ints(symbols?.target(value) ?? value.type.shape);
  }

  /** The nodes, with the outputs under their names. */
  #leave(): NodeProto[] {
    const body = this.#body;
    body.prefix = "";
    body.provenance = "";
    const made = new Set(body.nodes.flatMap((node) => node.output ?? []));
    const renamed = new Map<string, string>();
    const results = [...this.#graph.outputs].map(([name, value]) => ({
      name,
      value,
      from: this.#exact(value),
    }));
    for (const { name, value, from } of results) {
      const { dtype } = value.type;
      if (outsideOf[dtype] !== elementOf[dtype]) {
        body.nodes.push(nodeProto("Cast", [from], [name], { to: { int: outsideOf[dtype] } }, { name }));
      } else if (made.has(from) && !renamed.has(from)) renamed.set(from, name);
      else body.nodes.push(nodeProto("Identity", [from], [name], {}, { name }));
    }
    const follow = (name: string): string => renamed.get(name) ?? name;
    return body.nodes.map((node) => ({
      ...node,
      input: (node.input ?? []).map(follow),
      output: (node.output ?? []).map(follow),
    }));
  }
}

/** The nodes that `outputs` need: an operator may have written something else in place of an operand that it was given. */
function needed(nodes: readonly NodeProto[], outputs: readonly string[]): NodeProto[] {
  const read = new Set(outputs);
  const kept = nodes.toReversed().filter(({ input, output }) => {
    const isRead = output?.some((name) => read.has(name)) ?? false;
    if (isRead) for (const name of input ?? []) read.add(name);
    return isRead;
  });
  return kept.toReversed();
}
