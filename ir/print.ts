/**
 * The textual form of programs.
 *
 *     graph "tiny" {
 *       input %image "image": f32[1, 8, 8, 3]
 *       weight %w0 "head/kernel": f32[192, 5]
 *       %0 = reshape(%image) {shape = [1, 192]}: f32[1, 192]
 *       %1 = matmul(%0, %w0): f32[1, 5] @ "head"
 *       return "logits" = %1
 *     }
 *
 * One statement a line; the types are redundant and checked when parsed; `@` is the scope. Weights are named,
 * never printed.
 */
import type { Graph } from "./graph.ts";
import type { Node, Value } from "./op.ts";
import type { AttrValue } from "./signature.ts";
import { showType } from "./type.ts";

/** `graph` as text; `parse` reads it back. */
export function print(graph: Graph): string {
  const names = new Map<Value, string>();
  const lines: string[] = [];
  for (const [i, value] of graph.inputs.entries()) lines.push(printLeaf(value, `%x${i}`, names));
  for (const [i, value] of graph.weights.entries()) lines.push(printLeaf(value, `%w${i}`, names));
  let count = 0;
  for (const node of graph.nodes) {
    for (const result of node.results) names.set(result, `%${count++}`);
    lines.push(printNode(node, names));
  }
  for (const [name, value] of graph.outputs)
    lines.push(`return ${JSON.stringify(name)} = ${names.get(value)}`);
  return `graph ${JSON.stringify(graph.name)} {\n${lines.map((line) => `  ${line}\n`).join("")}}\n`;
}

function printLeaf(value: Value, name: string, names: Map<Value, string>): string {
  names.set(value, name);
  return `${value.leaf?.kind} ${name} ${JSON.stringify(value.leaf?.name)}: ${showType(value.type)}`;
}

/** One application as a line of the textual form. */
export function printNode(node: Node, names: ReadonlyMap<Value, string>): string {
  const name = (value: Value): string => names.get(value) ?? value.leaf?.name ?? "%?";
  const attrs = Object.entries(node.attrs).map(([key, value]) => `${key} = ${printAttr(value)}`);
  return [
    `${node.results.map(name).join(", ")} = ${node.op.name}(${node.operands.map(name).join(", ")})`,
    attrs.length > 0 ? ` {${attrs.join(", ")}}` : "",
    `: ${node.results.map((result) => showType(result.type)).join(", ")}`,
    node.scope ? ` @ ${JSON.stringify(node.scope)}` : "",
  ].join("");
}

/** `value` as text; attributes are equal where their texts are. */
export const printAttr = (value: AttrValue): string => {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "object") return `[${value.join(", ")}]`;
  return Object.is(value, -0) ? "-0" : String(value);
};
