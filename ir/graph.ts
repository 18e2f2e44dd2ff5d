/** Graphs: programs as values reached from named outputs, and the only traversals over them. */
import { inScope, type Node, type Value } from "./op.ts";

/** What `Graph.map` makes of a node whose operands are already mapped: its results, in order. */
export type Rebuild = (node: Node, operands: readonly Value[]) => readonly Value[];

/** A program. Immutable; a node that no output reaches is not part of it. */
export class Graph {
  readonly name: string;
  /** What a caller passes at every run, in order; an input may be unused. */
  readonly inputs: readonly Value[];
  /** What a run returns, by name, in order. */
  readonly outputs: ReadonlyMap<string, Value>;
  #nodes: readonly Node[] | undefined;

  constructor(name: string, inputs: readonly Value[], outputs: Iterable<readonly [string, Value]>) {
    this.name = name;
    this.inputs = inputs;
    this.outputs = new Map(outputs);
  }

  /** Every node, operands before users; the order is a function of the graph alone. */
  get nodes(): readonly Node[] {
    return (this.#nodes ??= topological([...this.outputs.values()], (value) => value));
  }

  /** Every weight reached, in order of first use. */
  get weights(): readonly Value[] {
    return this.leaves().filter((value) => value.leaf?.kind === "weight");
  }

  /** Every leaf reached, each once, in order of first use. */
  leaves(): Value[] {
    const used = [...this.nodes.flatMap((node) => node.operands), ...this.outputs.values()];
    return [...new Set(used.filter((value) => value.leaf))];
  }

  /** For each value, how many operand places and outputs use it. */
  uses(): Map<Value, number> {
    const counts = new Map<Value, number>();
    const count = (value: Value): unknown => counts.set(value, (counts.get(value) ?? 0) + 1);
    for (const node of this.nodes) node.operands.forEach(count);
    for (const value of this.outputs.values()) count(value);
    return counts;
  }

  /** The graph whose every node is replaced by what `rebuild` makes of it, operands first, in the node's scope. */
  map(rebuild: Rebuild): Graph {
    return this.#rebuilt(rebuild, (value) => value);
  }

  /** The graph with each value that `substitution` names replaced, in its replacements too. */
  replace(substitution: ReadonlyMap<Value, Value>): Graph {
    return this.#rebuilt(withOperands, (value) => {
      let last = value;
      for (let next = substitution.get(last); next; next = substitution.get(last)) last = next;
      return last;
    });
  }

  #rebuilt(rebuild: Rebuild, resolve: (value: Value) => Value): Graph {
    const mapped = new Map<Value, Value>();
    const follow = (value: Value): Value => {
      const resolved = resolve(value);
      return mapped.get(resolved) ?? resolved;
    };
    for (const node of topological([...this.outputs.values()], resolve)) {
      const results = inScope(node.scope, () => rebuild(node, node.operands.map(follow)));
      for (const [i, result] of node.results.entries()) mapped.set(result, results[i] as Value);
    }
    return new Graph(
      this.name,
      this.inputs,
      [...this.outputs].map(([name, value]) => [name, follow(value)]),
    );
  }

  /** The graph with other outputs over the same inputs. */
  withOutputs(outputs: Iterable<readonly [string, Value]>): Graph {
    return new Graph(this.name, this.inputs, outputs);
  }

  /** The graph with only the outputs of the given names. */
  select(names: readonly string[]): Graph {
    return new Graph(
      this.name,
      this.inputs,
      [...this.outputs].filter(([name]) => names.includes(name)),
    );
  }
}

/** `node` with other operands; `node` itself when they are its own. */
export const withOperands: Rebuild = (node, operands) =>
  operands.every((value, i) => value === node.operands[i])
    ? node.results
    : node.op.apply(operands, node.attrs);

/**
 * Depth-first postorder from `roots`, where each value stands for what it resolves to.
 * Without recursion: programs may be thousands of nodes deep.
 */
function topological(roots: readonly Value[], resolve: (value: Value) => Value): Node[] {
  const order: Node[] = [];
  const opened = new Set<Node>();
  const stack: { readonly node: Node; next: number }[] = [];
  const open = (value: Value): void => {
    const { node } = resolve(value);
    if (!node || opened.has(node)) return;
    opened.add(node);
    stack.push({ node, next: 0 });
  };
  for (const root of roots) {
    open(root);
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const operand = top.node.operands[top.next++];
      if (operand) open(operand);
      else order.push((stack.pop() as typeof top).node);
    }
  }
  return order;
}
