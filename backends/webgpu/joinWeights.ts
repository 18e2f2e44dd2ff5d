/** Weights that a program only uses side by side, as one weight: they are joined on their way to the device. */
import { type DType, type Graph, ops, sizeOf, type Value, weight } from "../../ir/index.ts";
import type { JoinedPart } from "../../runtime/module.ts";
import { unviewed } from "./views.ts";

/** A program that reads joined weights, and what each of these is made of. */
export interface WithJoinedWeights {
  readonly graph: Graph;
  /** The parts of each joined weight, in their order along an axis that is not the first; zeros follow them in its rows. */
  readonly joins: ReadonlyMap<Value, readonly JoinedPart[]>;
}

/**
 * The program with every `concat` of weights along another axis than the first replaced by one weight, so that neither
 * the parts nor a launch are needed on the device; any rows of it are those rows of its parts.
 */
export function joinWeights(graph: Graph): WithJoinedWeights {
  const made = new Map<Value, Parts>();
  const joins = new Map<Value, readonly JoinedPart[]>();
  const leaves = new Map<Value, Value>();
  for (const { op, operands, results, attrs } of graph.nodes) {
    const [result] = results;
    if (op !== ops.concat || !result || attrs["axis"] === 0) continue;
    const parts = operands.map((operand) => partsOf(operand, attrs["axis"] as number, made));
    if (!parts.every((one) => one !== undefined)) continue;
    const [dtype, ...others] = new Set(parts.map((part) => part.dtype));
    if (!dtype || others.length > 0) continue;
    const joined = parts.flatMap((part) => part.joined);
    const leaf = weight(joined.map(({ name }) => name).join(" | "), { ...result.type, dtype });
    made.set(result, { dtype, joined });
    joins.set(leaf, joined);
    leaves.set(result, dtype === result.type.dtype ? leaf : ops.cast(leaf, { to: result.type.dtype }));
  }
  return made.size === 0 ? { graph, joins: new Map() } : { graph: graph.replace(leaves), joins };
}

/** Weights of one dtype that lie side by side. */
interface Parts {
  readonly dtype: DType;
  readonly joined: readonly JoinedPart[];
}

/** An operand of a concatenation along `axis` as parts, where it is made of weights in rows of their own. */
function partsOf(value: Value, axis: number, made: ReadonlyMap<Value, Parts>): Parts | undefined {
  const known = made.get(value);
  const run = sizeOf(value.type.shape.slice(axis));
  // The parts of a part lie along the same axis, or its runs would not be runs of the whole.
  if (known) return known.joined.reduce((sum, part) => sum + part.run, 0) === run ? known : undefined;
  const { leaf, type } = narrowest(value);
  const sameRows = type.shape[0] === value.type.shape[0];
  if (leaf?.kind !== "weight" || !sameRows) return undefined;
  return { dtype: type.dtype, joined: [{ name: leaf.name, shape: type.shape, run }] };
}

/** The value whose elements, in order, are those of `value`, at most widened from float16. */
function narrowest(value: Value): Value {
  const origin = unviewed(value);
  if (origin.node?.op !== ops.cast || origin.type.dtype !== "f32") return origin;
  const narrow = unviewed(origin.node.operands[0] as Value);
  return narrow.type.dtype === "f16" ? narrow : origin;
}
