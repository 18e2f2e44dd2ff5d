/** Weights that a program only uses side by side, as one weight: they are joined on their way to the device. */
import { type Graph, ops, sizeOf, type Value, weight } from "../../ir/index.ts";
import type { JoinedPart } from "../../runtime/module.ts";

/** A program that reads joined weights, and what each of these is made of. */
export interface WithJoinedWeights {
  readonly graph: Graph;
  /** The parts of each joined weight, in their order along an axis that is not the first. */
  readonly joins: ReadonlyMap<Value, readonly JoinedPart[]>;
}

/**
 * The program with every `concat` of weights along another axis than the first replaced by one weight, so that neither
 * the parts nor a launch are needed on the device; any rows of it are those rows of its parts.
 */
export function joinWeights(graph: Graph): WithJoinedWeights {
  const made = new Map<Value, readonly JoinedPart[]>();
  const leaves = new Map<Value, Value>();
  for (const { op, operands, results, attrs } of graph.nodes) {
    const [result] = results;
    if (op !== ops.concat || !result || attrs["axis"] === 0) continue;
    const parts = operands.map((operand) => partsOf(operand, attrs["axis"] as number, made));
    if (!parts.every((one) => one !== undefined)) continue;
    made.set(result, parts.flat());
    const names = parts.flat().map(({ name }) => name);
    leaves.set(result, weight(names.join(" | "), result.type));
  }
  if (made.size === 0) return { graph, joins: new Map() };
  const joins = new Map([...made].map(([value, parts]) => [leaves.get(value) as Value, parts]));
  return { graph: graph.replace(leaves), joins };
}

/** An operand of a concatenation along `axis` as parts, where it is made of weights in rows of their own. */
function partsOf(
  value: Value,
  axis: number,
  made: ReadonlyMap<Value, readonly JoinedPart[]>,
): readonly JoinedPart[] | undefined {
  const known = made.get(value);
  const run = sizeOf(value.type.shape.slice(axis));
  // The parts of a part lie along the same axis, or its runs would not be runs of the whole.
  if (known) return known.reduce((sum, part) => sum + part.run, 0) === run ? known : undefined;
  let origin = value;
  while (origin.node?.op.has("view")) origin = origin.node.operands[0] as Value;
  const { leaf, type } = origin;
  const sameRows = type.shape[0] === value.type.shape[0];
  return leaf?.kind === "weight" && sameRows ? [{ name: leaf.name, shape: type.shape, run }] : undefined;
}
