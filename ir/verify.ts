/** Structural checks of a program: run after every pass in tests and with `--check`. */
import { CompileError } from "./error.ts";
import type { Graph } from "./graph.ts";
import type { Node, Value } from "./op.ts";
import { typeOf } from "./signature.ts";
import { sameType, showType } from "./type.ts";

/**
 * Throws unless `graph` is well formed:
 * V1 every value has exactly one origin, and a result's node lists it at its index;
 * V2 every node's operands fit its op's signature and constraints, and its results have the declared types;
 * V3 leaves of one name and kind are one value, and every input reached is listed.
 */
export function verify(graph: Graph): void {
  const values = new Set([...graph.nodes.flatMap((node) => node.operands), ...graph.outputs.values()]);
  for (const value of values) verifyOrigin(graph, value);
  for (const node of graph.nodes) verifyNode(node);
  verifyLeaves(graph);
}

function verifyOrigin(graph: Graph, value: Value): void {
  const { leaf, node, index } = value;
  if (!leaf === !node) throw new CompileError("V1", graph.name, "a value must be either a leaf or a result");
  if (node && node.results[index] !== value) {
    throw new CompileError("V1", node.op.name, `result ${index} must be listed by its node`);
  }
}

function verifyNode(node: Node): void {
  const sizes = node.op.sizesOf(
    node.operands.map((operand) => operand.type),
    node.attrs,
  );
  for (const [i, slot] of node.op.results.entries()) {
    const want = typeOf(slot, sizes);
    const got = node.results[i]?.type;
    if (!got || !sameType(got, want)) {
      throw new CompileError(
        "V2",
        node.op.name,
        `${slot.name} must be ${showType(want)}; got ${got ? showType(got) : "nothing"}`,
      );
    }
  }
}

function verifyLeaves(graph: Graph): void {
  const byName = new Map<string, Value>();
  for (const value of [...graph.inputs, ...graph.leaves()]) {
    const key = `${value.leaf?.kind} ${value.leaf?.name}`;
    if ((byName.get(key) ?? value) !== value)
      throw new CompileError("V3", key, "must be one value; got two of that name");
    byName.set(key, value);
  }
  const stray = graph.leaves().find((value) => value.leaf?.kind === "input" && !graph.inputs.includes(value));
  if (stray)
    throw new CompileError("V3", `input ${stray.leaf?.name}`, "is used; it must be listed among the inputs");
}
