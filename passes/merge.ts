/** Merging of equal computations. */
import { type AttrValue, type Node, printAttr, type Value, withOperands } from "../ir/index.ts";
import type { Pass } from "./pass.ts";

export const merge: Pass = {
  name: "merge",
  summary: "No two nodes apply one op to the same operands with the same attributes.",
  run(graph) {
    const ids = new Map<Value, number>();
    const id = (value: Value): number => ids.get(value) ?? (ids.set(value, ids.size), ids.size - 1);
    const seen = new Map<string, readonly Value[]>();
    return graph.map((node: Node, operands) => {
      const attrs = node.op.attrs.map(({ name }) => printAttr(node.attrs[name] as AttrValue));
      const key = JSON.stringify([node.op.name, operands.map(id), attrs]);
      const known = seen.get(key);
      if (known) return known;
      const results = withOperands(node, operands);
      seen.set(key, results);
      return results;
    });
  },
};
