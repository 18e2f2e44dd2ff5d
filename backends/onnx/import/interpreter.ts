/** Runs a file's nodes over what is known of their inputs, and so builds the program that they mean. */
import { CompileError, inScope } from "../../../ir/index.ts";
import { type Attribute, attributeOf, type FunctionProto, type NodeProto } from "../proto.ts";
import { Call, type Reader } from "./call.ts";
import type { Named } from "./item.ts";
import { domainOf, functionKey, type Model, opsetOf } from "./model.ts";
import { problem } from "./problem.ts";
import { readers, routines } from "./readers/index.ts";
import type { Tensors } from "./tensors.ts";

/** Functions may call functions: a file of a few lines could mean more nodes than there is memory for. */
const mostNodes = 2 ** 18;
const mostDepth = 32;
/** Characters of a node's name that its scope is taken from. */
const mostScope = 1000;

/** The graph, or one call of a function: what its names stand for. */
export interface Frame {
  readonly items: Map<string, Named>;
  /** Values of the function's attributes. */
  readonly attributes: ReadonlyMap<string, Attribute | undefined>;
  /** Where the call stands, and the functions that are being called. */
  readonly scope: string;
  readonly callers: readonly string[];
}

/** Reads the nodes of one model, node by node. */
export class Interpreter {
  readonly #model: Model;
  readonly #tensors: Tensors;
  #count = 0;

  constructor(model: Model, tensors: Tensors) {
    this.#model = model;
    this.#tensors = tensors;
  }

  /** Reads `nodes` in order; adds what their outputs stand for to the frame's items. */
  run(nodes: readonly NodeProto[], frame: Frame): void {
    for (const node of nodes) {
      if (++this.#count > mostNodes) {
        throw problem(this.#model.file, `has more than ${mostNodes} nodes, functions expanded`, "O4");
      }
      const call = this.#call(node, nodes, frame);
      const results = inScope(scopeOf(node, frame), () => this.#results(node, call, frame));
      const outputs = node.output ?? [];
      if (outputs.length > results.length) throw call.problem("has more outputs than its op", "O3");
      for (const [i, output] of outputs.entries()) {
        if (frame.items.has(output)) throw call.problem(`defines ${output} again`, "O3");
        if (output) frame.items.set(output, results[i] as Named);
      }
    }
  }

  #call(node: NodeProto, nodes: readonly NodeProto[], frame: Frame): Call {
    const key = functionKey(node.domain, node.opType);
    const own = node.name || node.output?.[0] || "";
    const name = frame.scope ? `${frame.scope}/${own}` : own;
    const label = `node ${name} (${key})`;
    const inputs = (node.input ?? []).map((input) => {
      const item = frame.items.get(input);
      if (item || !input) return item;
      const isLater = nodes.some((each) => each.output?.includes(input));
      const reason = isLater
        ? "before it is defined: nodes must be in order, without cycles"
        : "which nothing defines";
      throw problem(this.#model.file, `${label} uses ${input}${isLater ? " " : ", "}${reason}`);
    });
    return new Call({
      file: this.#model.file,
      name: label,
      inputs,
      attributes: resolved(node, frame.attributes),
      constant: (tensor) => this.#tensors.constant(tensor, name),
    });
  }

  #results(node: NodeProto, call: Call, frame: Frame): readonly Named[] {
    const reader = this.#reader(node, call, frame);
    try {
      const results = reader(call);
      call.finish();
      return "kind" in results ? [results] : results;
    } catch (error) {
      // What an op of the program refuses is said of the node that asked for it.
      if (!(error instanceof CompileError) || !error.code.startsWith("C")) throw error;
      throw call.problem(`cannot be: ${error.message.slice(0, -` [${error.code}]`.length)}`, "O3");
    }
  }

  #reader(node: NodeProto, call: Call, frame: Frame): Reader {
    const key = functionKey(node.domain, node.opType);
    const domain = domainOf(node.domain);
    const routine = domain === "moec" ? routines.get(node.opType ?? "") : undefined;
    const called = this.#model.functions.get(key);
    if (routine) return routine;
    if (called) return () => this.#expand(called, key, call, { ...frame, scope: scopeOf(node, frame) });
    const reader = domain === "" ? readers.get(node.opType ?? "") : undefined;
    if (!reader) throw call.problem("is of an op that is not read");
    return reader;
  }

  /** The results of a function's body. */
  #expand(called: FunctionProto, key: string, call: Call, { callers, scope }: Frame): Named[] {
    if (callers.includes(key)) throw call.problem(`calls itself: ${[...callers, key].join(", ")}`, "O3");
    if (callers.length === mostDepth)
      throw call.problem(`is called by ${mostDepth} functions, one in the other`);
    opsetOf(this.#model.file, called.opsetImport);
    const names = called.input ?? [];
    if (call.inputs.length > names.length) throw call.problem("has more inputs than its function", "O3");
    const items = new Map<string, Named>();
    for (const [i, item] of call.inputs.entries()) if (item) items.set(names[i] as string, item);
    const frame = { items, attributes: call.allAttributes(), scope, callers: [...callers, key] };
    this.run(called.node ?? [], frame);
    return (called.output ?? []).map((output) => {
      const item = items.get(output);
      if (!item) throw call.problem(`has a function without its output ${output}`, "O3");
      return item;
    });
  }
}

/** The attributes of `node`, with the values of those of the function that it repeats. */
function resolved(node: NodeProto, outer: Frame["attributes"]): Map<string, Attribute | undefined> {
  const attributes = new Map<string, Attribute | undefined>();
  for (const proto of node.attribute ?? []) {
    const name = proto.name ?? "";
    const repeated = proto.refAttrName;
    if (!repeated) attributes.set(name, attributeOf(proto));
    // What the call leaves out is left out in the function, too.
    else if (outer.has(repeated)) attributes.set(name, outer.get(repeated));
  }
  return attributes;
}

/** The scope of a node: its name without the last part, below that of the call that it belongs to. */
function scopeOf({ name }: NodeProto, { scope }: Frame): string {
  const own = (name ?? "").slice(0, mostScope).split("/").slice(0, -1).join("/");
  return [scope, own].filter(Boolean).join("/");
}
