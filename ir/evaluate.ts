/** The reference interpreter: runs a program by its ops' declared semantics. */
import { CompileError } from "./error.ts";
import type { Graph } from "./graph.ts";
import type { Value } from "./op.ts";
import type { Tensor } from "./tensor.ts";
import { sameType, showType } from "./type.ts";

/** The tensor of each leaf that a program reaches. */
export type Environment = (leaf: Value) => Tensor | undefined;

/**
 * The outputs of `graph` by name. Sums are accumulated in f64 and every op's results are rounded to their dtype.
 * Intermediate tensors are dropped after their last use. Throws B1 when a leaf is missing or of another type.
 * @param onNode called before each node with the number of nodes done so far
 */
export function evaluate(
  graph: Graph,
  environment: Environment,
  onNode?: (done: number) => void,
): Map<string, Tensor> {
  const tensors = new Map<Value, Tensor>();
  const uses = graph.uses();
  const take = (value: Value): Tensor => {
    const tensor = tensors.get(value) ?? read(value, environment);
    const left = (uses.get(value) ?? 1) - 1;
    uses.set(value, left);
    if (left === 0) tensors.delete(value);
    return tensor;
  };
  for (const [done, node] of graph.nodes.entries()) {
    onNode?.(done);
    const results = node.op.evaluate(node.operands.map(take), node.sizes);
    for (const [i, result] of node.results.entries()) {
      if (uses.has(result)) tensors.set(result, results[i] as Tensor);
    }
  }
  return new Map([...graph.outputs].map(([name, value]) => [name, take(value)]));
}

function read(value: Value, environment: Environment): Tensor {
  const tensor = environment(value);
  if (tensor && sameType(tensor.type, value.type)) return tensor;
  const subject = value.leaf ? `${value.leaf.kind} ${value.leaf.name}` : "value";
  const got = tensor ? showType(tensor.type) : "nothing";
  throw new CompileError("B1", subject, `must be ${showType(value.type)}; got ${got}`);
}
