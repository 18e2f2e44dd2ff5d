/** Symbolic batch: which axes of a program's values grow with the batch, and how the others are left alone. */
import {
  type AnyOp,
  CompileError,
  type Graph,
  type Node,
  sameShape,
  showType,
  type Shape,
  type Value,
} from "../../ir/index.ts";
import type { Body } from "./body.ts";
import type { Operator } from "./operator.ts";
import { element } from "./proto.ts";

/** One program built for two batch sizes, and the name of the axis that stands for any. */
export interface SymbolicBatch {
  readonly axis: string;
  /** The batch sizes of the program that is exported, and of `other`. */
  readonly sizes: readonly [number, number];
  readonly other: Graph;
}

/** For each value of a program the axes that are proportional to the batch. */
export type Growth = ReadonlyMap<Value, ReadonlySet<number>>;

/**
 * Compares `graph` with the same program at another batch size, application by application. Throws O1 where the
 * programs differ by more than the sizes of axes that are proportional to the batch: then a batch cannot be symbolic.
 */
export function growthOf(
  graph: Graph,
  { other, sizes }: SymbolicBatch,
  operators: ReadonlyMap<AnyOp, Operator>,
): Growth {
  const growth = new Map<Value, ReadonlySet<number>>();
  const compare = (a: Value, b: Value, where: string): void => {
    const [from, to] = [a.type.shape, b.type.shape];
    const grows = [...from.keys()].filter((axis) => from[axis] !== to[axis]);
    const proportional = grows.every(
      (axis) => (from[axis] as number) * sizes[1] === (to[axis] as number) * sizes[0],
    );
    if (from.length !== to.length || !proportional) {
      const got = `[${from.join(", ")}] for ${sizes[0]} images and [${to.join(", ")}] for ${sizes[1]}`;
      throw new CompileError("O1", where, `must have sizes proportional to the batch; got ${got}`);
    }
    growth.set(a, new Set(grows));
  };
  const [nodes, others] = [graph.nodes, other.nodes];
  if (nodes.length !== others.length) {
    const got = `${nodes.length} and ${others.length} applications`;
    throw new CompileError("O1", graph.name, `must be the same program for every batch; got ${got}`);
  }
  for (const [i, value] of graph.inputs.entries())
    compare(value, other.inputs[i] as Value, value.leaf?.name ?? "");
  for (const [i, value] of graph.weights.entries()) {
    const twin = other.weights[i] as Value;
    if (!sameShape(value.type.shape, twin.type.shape)) {
      throw new CompileError("O1", value.leaf?.name ?? "", "is a weight whose shape depends on the batch");
    }
    growth.set(value, new Set());
  }
  for (const [i, node] of nodes.entries()) {
    const twin = others[i];
    if (twin?.op !== node.op) {
      const got = `${node.op.name} and ${twin?.op.name}`;
      throw new CompileError("O1", node.scope || graph.name, `must be the same for every batch; got ${got}`);
    }
    for (const [r, result] of node.results.entries()) {
      compare(result, twin.results[r] as Value, `${node.op.name} in ${node.scope || graph.name}`);
    }
    compareAttributes(node, twin, operators.get(node.op));
  }
  return growth;
}

/** Throws O1 for an attribute that differs in more than what its operator leaves open. */
function compareAttributes(node: Node, twin: Node, operator: Operator | undefined): void {
  for (const [name, value] of Object.entries(node.attrs)) {
    const other = twin.attrs[name];
    const [list, others] = [value, other].map((each) =>
      typeof each === "object" ? each : [each],
    ) as Shape[];
    const fixed = (list ?? []).some(
      (each, axis) => each !== others?.[axis] && !operator?.open(name, axis, node.sizes),
    );
    if (!fixed) continue;
    const got = `${JSON.stringify(value)} and ${JSON.stringify(other)}`;
    const where = `${node.op.name} in ${node.scope || "the graph"}`;
    throw new CompileError("O1", where, `must have the same ${name} for every batch; got ${got}`);
  }
}

/** The sizes of a program's values in the file: numbers, names, or computed from the batch of the run. */
export class Symbols {
  readonly #growth: Growth;
  readonly #axis: string;
  /** The batch size of the program that is exported. */
  readonly #batch: number;

  constructor(growth: Growth, { axis, sizes }: SymbolicBatch) {
    this.#growth = growth;
    this.#axis = axis;
    this.#batch = sizes[0];
  }

  grows(value: Value, axis: number): boolean {
    return this.#growth.get(value)?.has(axis) ?? false;
  }

  /** The axis as a declaration says it: a number, the batch, or a name made of the batch and a factor. */
  declared(value: Value, axis: number): number | string {
    const size = value.type.shape[axis] ?? 1;
    if (!this.grows(value, axis)) return size;
    const factor = size / this.#batch;
    if (factor === 1) return this.#axis;
    return factor > 1 ? `${this.#axis}*${factor}` : `${this.#axis}/${1 / factor}`;
  }

  /** The shape of `value` as `Reshape` takes it: -1 for what grows. Throws O1 where more than one axis does. */
  target(value: Value): number[] {
    const target = value.type.shape.map((size, axis) => (this.grows(value, axis) ? -1 : size));
    if (target.filter((size) => size < 0).length <= 1) return target;
    const message = `must have one axis that grows with the batch; got ${showType(value.type)}`;
    throw new CompileError("O1", value.node?.scope || "the graph", message);
  }

  /**
   * The shape of `value` at run time, an int64 vector, from the first of `inputs` whose first axis is the batch. Throws
   * O1 where there is none.
   */
  shape(body: Body, value: Value, inputs: readonly Value[]): string {
    const anchor = inputs.find((each) => this.grows(each, 0) && each.type.shape[0] === this.#batch);
    if (!anchor)
      throw new CompileError("O1", "inputs", "must have one whose first axis is the batch; got none");
    const batch = body.call("Shape", [anchor.leaf?.name ?? ""], { start: { int: 0 }, end: { int: 1 } });
    const sizes = value.type.shape.map((size, axis) => {
      if (!this.grows(value, axis)) return body.ints([size]);
      const scaled = body.call("Mul", [batch, body.scalar(size, element.int64)]);
      return body.call("Div", [scaled, body.scalar(this.#batch, element.int64)]);
    });
    return body.call("Concat", sizes, { axis: { int: 0 } });
  }
}
