/** Half precision: weights, or arithmetic too, in float16. */
import {
  type AttrValue,
  classes,
  type Graph,
  type Node,
  ops,
  type TensorType,
  type Value,
  weight,
} from "../ir/index.ts";
import type { Pass } from "./pass.ts";

const half = ({ shape }: TensorType): TensorType => ({ dtype: "f16", shape });
const isSingle = ({ type }: Value): boolean => type.dtype === "f32";
const cast = (value: Value, to: "f32" | "f16"): Value =>
  value.type.dtype === to ? value : ops.cast(value, { to });

/** A float32 weight as a float16 one, widened. */
export const asHalf = (value: Value): Value => cast(weight(value.leaf?.name ?? "", half(value.type)), "f32");

/**
 * The pass that computes in float16 whatever may be any float; inputs and outputs stay as they are. What an op wants
 * in float32, such as a router its logits, is computed in float32 from the last values that others use too: routing
 * compares what it would compare, but for the rounding of the tokens.
 */
export const computeHalf: Pass = {
  name: "compute-half",
  summary: "Arithmetic is float16, but for what ops want in float32.",
  run(graph) {
    const single = keptSingle(graph);
    const weights = halfWeights(graph, single);
    const take = (value: Value, to: "f32" | "f16"): Value => cast(weights.get(value) ?? value, to);
    const halved = graph.map((node, operands) => {
      const to = single.has(node) ? "f32" : "f16";
      const fitted = operands.map((operand, i) =>
        isSingle(node.operands[i] as Value) ? take(operand, mayBeHalf(node, i) ? to : "f32") : operand,
      );
      return node.op.apply(fitted, narrowed(node, to));
    });
    const outputs = [...halved.outputs].map(([name, value]): [string, Value] => {
      const wanted = graph.outputs.get(name)?.type.dtype;
      return [name, wanted === "f32" ? take(value, "f32") : value];
    });
    return halved.withOutputs(outputs);
  },
};

/** Whether operand `i` of an application may as well be float16. */
function mayBeHalf({ op }: Node, i: number): boolean {
  const slot = op.operands[i];
  return classes[slot?.dtype ?? ""]?.includes("f16") ?? false;
}

/** The attributes, with float32 as a dtype in them replaced by `to`. */
function narrowed({ op, attrs }: Node, to: "f32" | "f16"): Node["attrs"] {
  const isDType = (name: string): boolean => op.attrs.find((attr) => attr.name === name)?.kind === "dtype";
  return Object.fromEntries(
    Object.entries(attrs).map(([name, value]): [string, AttrValue] => [
      name,
      isDType(name) && value === "f32" ? to : value,
    ]),
  );
}

/** The applications that stay in float32: all of whose users want that, and there are some. */
function keptSingle(graph: Graph): ReadonlySet<Node> {
  const users = new Map<Node, { readonly node: Node; readonly place: number }[]>();
  for (const node of graph.nodes) {
    for (const [place, { node: made }] of node.operands.entries()) {
      if (made) users.set(made, [...(users.get(made) ?? []), { node, place }]);
    }
  }
  const kept = new Set<Node>();
  for (const node of graph.nodes.toReversed()) {
    const uses = users.get(node) ?? [];
    const wanted = uses.every((use) => kept.has(use.node) || !mayBeHalf(use.node, use.place));
    if (uses.length > 0 && wanted) kept.add(node);
  }
  return kept;
}

/** The weights that some application takes as float16, as float16 weights. */
function halfWeights(graph: Graph, single: ReadonlySet<Node>): ReadonlyMap<Value, Value> {
  const taken = graph.nodes
    .filter((node) => !single.has(node))
    .flatMap((node) => node.operands.filter((_, i) => mayBeHalf(node, i)));
  const weights = taken.filter((value) => value.leaf?.kind === "weight" && isSingle(value));
  return new Map(weights.map((value) => [value, weight(value.leaf?.name ?? "", half(value.type))]));
}
