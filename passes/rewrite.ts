/** `rule`: a rewrite, declared as an equation between two programs over the same free variables. */
import {
  type AnyOp,
  type Attrs,
  type AttrValue,
  bindOperands,
  CompileError,
  type Graph,
  inScope,
  type Named,
  type Node,
  type Operands,
  parseSignature,
  printAttr,
  printNode,
  sameType,
  type Signature,
  unknownType,
  type Value,
} from "../ir/index.ts";
import type { Pass } from "./pass.ts";

type Free<S extends string> = Named<Operands<S>, Value> & Attrs<S>;

/** What a rule's author writes. */
export interface RuleSpec<S extends string> {
  /** kebab-case; printed when the rule fires. */
  readonly name: string;
  /** Free variables and their types, as the left side of a signature. */
  readonly given: S;
  /**
   * The left side. It is built once from holes, so it may only pass variables on: neither types nor attributes
   * can be looked at. Every root but the first must be a result of a node that the first one reaches.
   */
  from(free: Free<S>): readonly Value[];
  /** The right side, root for root; it sees the matched values and attributes. */
  to(free: Free<S>): readonly Value[];
  /** Where the equation holds, beyond what the types say. */
  when?(free: Free<S>): boolean;
}

type AnyFree = Readonly<Record<string, Value | AttrValue>>;

/** A rule with its types erased: what the rewriter and the tests handle. */
export interface Rule {
  readonly name: string;
  readonly given: Signature;
  from(free: AnyFree): readonly Value[];
  to(free: AnyFree): readonly Value[];
  when(free: AnyFree): boolean;
}

export function rule<const S extends string>(spec: RuleSpec<S>): Rule {
  const erased = spec as unknown as Omit<Rule, "given" | "when"> & Partial<Pick<Rule, "when">>;
  return {
    name: spec.name,
    given: parseSignature(spec.given),
    from: (free) => erased.from(free),
    to: (free) => erased.to(free),
    when: (free) => erased.when?.(free) ?? true,
  };
}

/** A rule's left side built from holes, with the names that its holes and attribute symbols stand for. */
export interface Pattern {
  readonly rule: Rule;
  readonly roots: readonly Value[];
  readonly holes: ReadonlyMap<Value, string>;
  readonly symbols: ReadonlyMap<unknown, string>;
}

export function patternOf(r: Rule): Pattern {
  const holes = new Map<Value, string>();
  const symbols = new Map<unknown, string>();
  const free: Record<string, Value | AttrValue> = {};
  for (const { name } of r.given.operands) {
    const hole: Value = { type: unknownType, leaf: undefined, node: undefined, index: 0 };
    holes.set(hole, name);
    free[name] = hole;
  }
  for (const { name } of r.given.attrs) {
    const symbol = Symbol(name);
    symbols.set(symbol, name);
    free[name] = symbol as unknown as AttrValue;
  }
  return { rule: r, roots: r.from(free), holes, symbols };
}

/** The free variables of one match, and which node each node of the pattern stands for. */
interface Match {
  readonly free: Record<string, Value | AttrValue>;
  readonly nodes: Map<Node, Node>;
}

function matches(pattern: Pattern, part: Value, value: Value, match: Match): boolean {
  const hole = pattern.holes.get(part);
  if (hole !== undefined) return (match.free[hole] ??= value) === value;
  if (!part.node || !value.node || part.index !== value.index) return false;
  const known = match.nodes.get(part.node);
  if (known) return known === value.node;
  if (part.node.op !== value.node.op) return false;
  match.nodes.set(part.node, value.node);
  return (
    Object.entries(part.node.attrs).every(([key, want]) => {
      const got = value.node?.attrs[key] as AttrValue;
      const name = pattern.symbols.get(want);
      const wanted = name === undefined ? want : ((match.free[name] ??= got) as AttrValue);
      return printAttr(wanted) === printAttr(got);
    }) && part.node.operands.every((p, i) => matches(pattern, p, value.node?.operands[i] as Value, match))
  );
}

/** Whether the values that a match bound are of the types that the rule is given. */
function isOfGiven({ name, given }: Rule, free: Match["free"]): boolean {
  const types = given.operands.map((operand) => (free[operand.name] as Value).type);
  const attrs = Object.fromEntries(given.attrs.map((attr) => [attr.name, free[attr.name] as AttrValue]));
  try {
    bindOperands(name, given, types, attrs);
    return true;
  } catch (error) {
    if (error instanceof CompileError) return false;
    throw error;
  }
}

/** The values that `pattern` replaces when its first root is `value`, with their replacements. */
function apply(pattern: Pattern, value: Value): [Value, Value][] | undefined {
  const match: Match = { free: {}, nodes: new Map() };
  const [first] = pattern.roots;
  if (!first || !matches(pattern, first, value, match)) return undefined;
  if (!isOfGiven(pattern.rule, match.free) || !pattern.rule.when(match.free)) return undefined;
  const replacements = inScope(value.node?.scope ?? "", () => pattern.rule.to(match.free));
  return pattern.roots.map((root, i) => {
    const old = root === first ? value : root.node && match.nodes.get(root.node)?.results[root.index];
    const next = replacements[i];
    if (!old || !next || !sameType(old.type, next.type)) {
      throw new CompileError("R1", pattern.rule.name, `must replace root ${i} by a value of the same type`);
    }
    return [old, next];
  });
}

const sweepLimit = 100;

const known = new WeakMap<Rule, Pattern>();

/** The patterns of `rules`, in their order, by the op of their first root. */
function patternsByOp(rules: readonly Rule[]): ReadonlyMap<AnyOp | undefined, readonly Pattern[]> {
  const patterns = new Map<AnyOp | undefined, Pattern[]>();
  for (const r of rules) {
    const pattern = known.get(r) ?? patternOf(r);
    known.set(r, pattern);
    const op = pattern.roots[0]?.node?.op;
    const alike = patterns.get(op);
    if (alike) alike.push(pattern);
    else patterns.set(op, [pattern]);
  }
  return patterns;
}

export interface RewriteOptions {
  readonly onFire?: (rule: Rule, before: Node, after: Value) => void;
  /** Whether right sides may use an op; a match that would create another is left alone. */
  readonly accepts?: (op: AnyOp) => boolean;
}

/**
 * Applies `rules` wherever they match until none does; throws R2 when they do not come to an end.
 * A value that has users outside a match stays alive for them. O(sweeps x nodes x rules of one op).
 */
export function rewrite(graph: Graph, rules: readonly Rule[], options: RewriteOptions = {}): Graph {
  const patterns = patternsByOp(rules);
  let current = graph;
  for (let sweep = 0; sweep < sweepLimit; sweep++) {
    const substitution = new Map<Value, Value>();
    const existing = new Set(current.nodes);
    for (const value of current.nodes.flatMap((node) => node.results)) {
      for (const pattern of patterns.get(value.node?.op) ?? []) {
        if (substitution.has(value)) break;
        const pairs = apply(pattern, value);
        if (!pairs || pairs.some(([old]) => substitution.has(old))) continue;
        const created = pairs.flatMap(([, next]) => nodesBehind(next, existing));
        if (!created.every((node) => options.accepts?.(node.op) ?? true)) continue;
        for (const [old, next] of pairs) substitution.set(old, next);
        options.onFire?.(pattern.rule, value.node as Node, pairs[0]?.[1] as Value);
      }
    }
    if (substitution.size === 0) return current;
    current = current.replace(substitution);
  }
  throw new CompileError("R2", rules.map((r) => r.name).join(", "), `still fire after ${sweepLimit} sweeps`);
}

/** The nodes that `value` needs beyond `existing`. */
function nodesBehind({ node }: Value, existing: ReadonlySet<Node>): Node[] {
  if (!node || existing.has(node)) return [];
  return [node, ...node.operands.flatMap((operand) => nodesBehind(operand, existing))];
}

/** The pass that applies `rules`. */
export const rewritePass = (
  name: string,
  summary: string,
  rules: readonly Rule[],
  accepts: (op: AnyOp) => boolean = () => true,
): Pass => ({
  name,
  summary,
  rules,
  run: (graph, trace) =>
    rewrite(graph, rules, {
      accepts,
      onFire: (r, before, after) =>
        trace({
          pass: name,
          rule: r.name,
          at: before.scope,
          before: printNode(before, new Map()),
          after: after.node ? printNode(after.node, new Map()) : (after.leaf?.name ?? ""),
        }),
    }),
});
