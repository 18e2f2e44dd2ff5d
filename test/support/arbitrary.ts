/** Generators derived from signatures: random sizes, then attributes, then operands within their domains. */
import fc from "fast-check";

import {
  type AnyOp,
  type AttrValue,
  classes,
  CompileError,
  type DType,
  dtypes,
  Graph,
  input,
  ops,
  opset,
  type Shape,
  type Signature,
  sizeOf,
  type Sizes,
  type Slot,
  Tensor,
  type TensorType,
  typeOf,
  type Value,
} from "../../ir/index.ts";
import { softmaxOf } from "../../ir/ops/numeric.ts";
import { bindOperands } from "../../ir/signature.ts";
import { patternOf, type Rule } from "../../passes/rewrite.ts";

/** One application with its operands' tensors. */
export interface Case {
  readonly attrs: Sizes;
  readonly types: readonly TensorType[];
  readonly params: readonly Value[];
  readonly tensors: readonly Tensor[];
}

/** How floats are drawn. `grid`: eighths, so that sums are exact and ties happen, see `reachOf`. `separated`: all
 * probabilities of a tensor, after a softmax of its rows, apart from each other; `tied`: rows of few kinds, most entries
 * of a row equal. */
export type Floats = "grid" | "separated" | "tied";

/**
 * The kinds of floats that an op is tried on: ops that round before they compare on scores that lie far apart and, where
 * backends must agree on them, on exact ties.
 */
export const floatsFor = (op: AnyOp): readonly Floats[] => {
  if (!op.has("discontinuous")) return ["grid"];
  return op.has("inexact") ? ["separated"] : ["separated", "tied"];
};

interface Options {
  readonly floats?: Floats;
  /** The dtypes that a class may stand for. */
  readonly dtypes?: readonly string[];
  readonly maxSize?: number;
}

type Pick = (n: number) => number;

/** A random integer below n, as a stream that shrinks with the case. */
const picks: fc.Arbitrary<Pick> = fc
  .infiniteStream(fc.nat(2 ** 20))
  .map((stream) => (n: number) => (stream.next().value as number) % n);

function randomSizes(
  { operands, attrs }: Signature,
  { dtypes: allowed, maxSize = 6 }: Options,
  pick: Pick,
): Sizes {
  const sizes: Record<string, Sizes[string]> = {};
  for (const slot of operands) {
    const options = classes[slot.dtype]?.filter((dtype) => allowed?.includes(dtype) ?? true);
    if (options) sizes[slot.dtype] ??= options[pick(options.length)]!;
    for (const axis of slot.axes) {
      if (axis.kind === "axis") sizes[axis.name] ??= 1 + pick(maxSize);
      if (axis.kind === "list") sizes[axis.name] ??= Array.from({ length: pick(4) }, () => 1 + pick(4));
    }
  }
  for (const { name, kind } of attrs) sizes[name] ??= randomAttr(kind, pick);
  return sizes;
}

function randomAttr(kind: Signature["attrs"][number]["kind"], pick: Pick): Sizes[string] {
  if (typeof kind === "object") return kind[pick(kind.length)]!;
  if (kind === "int") return pick(8);
  if (kind === "real") return pick(33) / 4 - 4;
  if (kind === "flag") return pick(2) === 1;
  if (kind === "dtype") return dtypes[pick(dtypes.length)]!;
  return Array.from({ length: pick(4) }, () => pick(6));
}

const attrsOf = ({ attrs }: Signature, sizes: Sizes): Sizes =>
  Object.fromEntries(attrs.map(({ name }) => [name, sizes[name]!]));

/** Random operand types and attributes for which `holds`. */
const shapes = (
  signature: Signature,
  complete: (sizes: Sizes, pick: Pick) => Sizes,
  holds: (sizes: Sizes) => boolean,
  options: Options,
): fc.Arbitrary<Sizes> =>
  picks.map((pick) => complete(randomSizes(signature, options, pick), pick)).filter(holds);

/** Random applications of `op` that are legal. */
export const legalCase = (op: AnyOp, options: Options = {}): fc.Arbitrary<Case> =>
  shapes(
    op,
    (sizes, pick) => ({ ...sizes, ...op.sample?.(sizes, pick) }),
    (sizes) => op.where.every((constraint) => constraint.holds(sizes)),
    options,
  ).chain((sizes) => withTensors(op, sizes, options));

/** Random applications of `op` that fit its signature but break the constraint `label` first. */
export const brokenCase = (op: AnyOp, label: string): fc.Arbitrary<Case> =>
  shapes(
    op,
    (sizes, pick) => (pick(2) ? sizes : { ...op.sample?.(sizes, pick), ...sizes }),
    (sizes) => op.where.find((constraint) => !constraint.holds(sizes))?.label === label,
    {},
  ).chain((sizes) => withTensors(op, sizes, {}));

/** Random values of a rule's free variables, such that its left side is legal and its condition holds. */
export interface RuleCase {
  readonly free: Readonly<Record<string, Value | AttrValue>>;
  /** The inputs that the free variables are made of. */
  readonly inputs: ReadonlyMap<Value, Tensor>;
}

export const ruleCase = (r: Rule): fc.Arbitrary<RuleCase> =>
  picks
    .map((pick) => {
      const drawn = randomSizes({ ...r.given, attrs: [] }, {}, pick);
      // A real plan numbers the very tokens that are dispatched.
      const sizes: Sizes = "N" in drawn && "T" in drawn ? { ...drawn, N: drawn["T"] } : drawn;
      const tensors = drawOperands(r.given, sizes, "grid", pick);
      const inputs = new Map(tensors.map((tensor, i) => [input(`p${i}`, tensor.type), tensor]));
      const free: Record<string, Value | AttrValue> = {};
      for (const [i, param] of [...inputs.keys()].entries()) free[r.given.operands[i]!.name] = param;
      if (r.given.operands.some((slot) => slot.domain?.kind === "occupied")) plan(sizes, free, inputs, pick);
      return chooseAttrs(r, free, pick) && r.when(free) ? { free, inputs } : undefined;
    })
    .filter((c) => c !== undefined);

/** Makes `tokens` and `slots` the results of a real plan. */
function plan(
  sizes: Sizes,
  free: Record<string, Value | AttrValue>,
  inputs: Map<Value, Tensor>,
  pick: Pick,
): void {
  const { G, T, k, E, capacity } = sizes as Record<string, number>;
  const bound = { G: G!, T: T!, k: k!, experts: E!, capacity: capacity! };
  const tensors = drawOperands(ops.assignSlots, bound, "grid", pick);
  const [choices, order] = tensors.map((tensor, i) => {
    const value = input(`plan${i}`, tensor.type);
    inputs.set(value, tensor);
    return value;
  });
  Object.assign(free, ops.assignSlots(choices!, order!, { experts: E!, capacity: capacity! }));
}

/** Draws the attributes of a rule's left side, op by op; false where it comes out illegal. */
function chooseAttrs(r: Rule, free: Record<string, Value | AttrValue>, pick: Pick): boolean {
  const { roots, holes, symbols } = patternOf(r);
  const concrete = (value: Value): Value => {
    const hole = holes.get(value);
    if (hole !== undefined) return free[hole] as Value;
    const { op, operands, attrs } = value.node!;
    const params = operands.map(concrete);
    const bound = bindOperands(
      op.name,
      op,
      params.map((p) => p.type),
      {},
    );
    const drawn = { ...bound, ...op.sample?.(bound, pick) };
    const chosen = Object.entries(attrs).map(([key, want]) => {
      const name = symbols.get(want);
      if (name === undefined) return [key, want];
      const { kind } = op.attrs.find((attr) => attr.name === key)!;
      return [key, (free[name] ??= drawn[key] ?? randomAttr(kind, pick))];
    });
    return op.apply(params, Object.fromEntries(chosen) as Sizes)[value.index]!;
  };
  try {
    roots.forEach(concrete);
    return true;
  } catch (error) {
    if (error instanceof CompileError) return false;
    throw error;
  }
}

function withTensors(signature: Signature, sizes: Sizes, { floats = "grid" }: Options): fc.Arbitrary<Case> {
  const types = signature.operands.map((slot) => typeOf(slot, sizes));
  return picks.map((pick) => ({
    attrs: attrsOf(signature, sizes),
    types,
    params: types.map((type, n) => input(`p${n}`, type)),
    tensors: drawOperands(signature, sizes, floats, pick),
  }));
}

/**
 * The largest number of the grid. An op that sums may magnify rounding by the size of its terms: the exponent of an
 * attention score near 100 is off by 1e-5 in f32 however it is computed, and so is a normalised row of entries near 8
 * that are almost equal. No tolerance can be stated for such operands, so they stay small.
 */
const reachOf = (signature: Signature & Partial<AnyOp>): number => (signature.has?.("elementwise") ? 8 : 2);

function drawOperands(signature: Signature, sizes: Sizes, floats: Floats, pick: Pick): Tensor[] {
  const tensors: Tensor[] = [];
  const { operands } = signature;
  for (const slot of operands) {
    const type = typeOf(slot, sizes);
    const named = (name: string): Tensor | undefined =>
      tensors[operands.findIndex((other) => other.name === name)];
    tensors.push(Tensor.from(type, entries(slot, type, sizes, named, floats, reachOf(signature), pick)));
  }
  return tensors;
}

function entries(
  { dtype, domain }: Slot,
  { shape, dtype: actual }: TensorType,
  sizes: Sizes,
  operand: (name: string) => Tensor | undefined,
  floats: Floats,
  reach: number,
  pick: Pick,
): number[] {
  const length = sizeOf(shape);
  const fill = (f: (i: number) => number): number[] => Array.from({ length }, (_, i) => f(i));
  if (domain?.kind === "index") {
    const below = domain.below.reduce((n, name) => n * (sizes[name] as number), 1);
    return fill(() => pick(below + 1) - 1);
  }
  if (domain?.kind === "permutation") {
    const size = sizes[domain.of] as number;
    return Array.from({ length: length / size }, () => shuffled(size, pick)).flat();
  }
  if (domain?.kind === "occupied") return occupied(operand(domain.operand)!, shape, pick);
  if (actual === "bool") return fill(() => pick(2));
  if (actual === "i32" || actual === "u32")
    return fill(() => pick(8) + (actual === "i32" && dtype !== "u32" ? -3 : 0));
  const positive = domain?.kind === "positive";
  if (floats === "separated") return separated(shape, positive, pick);
  if (floats === "tied") {
    // Rows are equal or far apart: the sums of a row and of its permutation need not round to the same.
    const width = shape.at(-1) ?? 1;
    const kinds = [1, 1.7, 2.9].map((scale) =>
      Array.from({ length: width }, () => scale * (pick(3) + (positive ? 1 : -1))),
    );
    return Array.from({ length: length / width }, () => kinds[pick(kinds.length)]!).flat();
  }
  const steps = 8 * reach;
  return fill(() => {
    const value = (positive ? 1 + pick(steps) : pick(2 * steps + 1) - steps) / 8;
    return domain?.kind === "nonzero" && value === 0 ? 1 : value;
  });
}

/** Further apart than any device's softmax errs. */
const gap = 1e-5;

/** Entries within four units whose probabilities, after a softmax of each row, are apart in the whole tensor. */
function separated(shape: Shape, positive: boolean, pick: Pick): number[] {
  const width = shape.at(-1) ?? 1;
  const logs: number[] = [];
  const row = (): number[] => {
    // Evenly spaced entries would not do: rows of equal differences have nearly equal probabilities.
    const drawn = Array.from({ length: width }, () => (1 + pick(2 ** 20)) / 2 ** 18 - (positive ? 0 : 2));
    const found = Array.from(softmaxOf(Float64Array.from(drawn)), Math.log);
    // A row of one entry has the probability 1, exactly.
    const apart = found.every(
      (log, i) => log === 0 || [...logs, ...found.slice(0, i)].every((other) => Math.abs(log - other) > gap),
    );
    if (!apart) return row();
    logs.push(...found);
    return drawn;
  };
  return Array.from({ length: sizeOf(shape) / width }, row).flat();
}

/** Flat indices, within their group, of entries of `of` that are not -1; or -1. */
function occupied(of: Tensor, shape: Shape, pick: Pick): number[] {
  const [groups = 1] = shape;
  const all = Array.from(of.numbers());
  const size = all.length / groups;
  return Array.from({ length: groups }, (_, g) => {
    const full = all.slice(g * size, (g + 1) * size).flatMap((v, i) => (v >= 0 ? [i] : []));
    return Array.from({ length: sizeOf(shape) / groups }, () => [-1, ...full][pick(full.length + 1)]!);
  }).flat();
}

function shuffled(size: number, pick: Pick): number[] {
  const rest = [...Array(size).keys()];
  return rest.map(() => 0).map(() => rest.splice(pick(rest.length), 1)[0]!);
}

/** A random program of a few applications, each on earlier values where their types allow, else on new inputs. */
export interface RandomProgram {
  readonly graph: Graph;
  readonly inputs: ReadonlyMap<string, Tensor>;
}

interface ProgramOptions {
  readonly maxNodes?: number;
  readonly dtypes?: readonly DType[];
  /** The ops to choose from, those listed twice twice as often; by default each once. */
  readonly among?: readonly AnyOp[];
}

const programDtypes: readonly DType[] = ["f32", "i32", "bool"];

export const randomProgram = ({
  maxNodes = 8,
  dtypes: allowed = programDtypes,
  among = [...opset.values()],
}: ProgramOptions = {}): fc.Arbitrary<RandomProgram> =>
  picks
    .map((pick) => {
      const pool: Value[] = [];
      const inputs = new Map<string, Tensor>();
      const leaves: Value[] = [];
      const give = (tensor: Tensor): Value => {
        const value = input(`p${leaves.length}`, tensor.type);
        leaves.push(value);
        inputs.set(value.leaf!.name, tensor);
        return value;
      };
      const candidates = among.filter((op) => !op.has("discontinuous"));
      for (let n = 1 + pick(maxNodes); n > 0; n--) {
        const op = candidates[pick(candidates.length)]!;
        const results = applyToPool(op, pool, { give, pick, allowed });
        pool.push(...(results ?? []));
      }
      const used = new Set(pool.flatMap((value) => value.node!.operands));
      const ends = pool.filter((value) => !used.has(value));
      return {
        graph: new Graph(
          "random",
          leaves,
          ends.map((value, i) => [`r${i}`, value]),
        ),
        inputs,
      };
    })
    .filter(({ graph }) => graph.outputs.size > 0);

/** One application of `op` whose operands are values of `pool` where one fits, else new; undefined if none is legal. */
function applyToPool(
  op: AnyOp,
  pool: readonly Value[],
  {
    give,
    pick,
    allowed,
  }: {
    readonly give: (tensor: Tensor) => Value;
    readonly pick: Pick;
    readonly allowed: readonly DType[];
  },
): readonly Value[] | undefined {
  let known: Sizes = {};
  const chosen: (Value | undefined)[] = op.operands.map((slot) => {
    // Values that must lie in a domain are drawn, never computed.
    const fitting = slot.domain
      ? []
      : pool.flatMap((value) => {
          try {
            return [
              { value, sizes: bindOperands(op.name, { ...op, operands: [slot] }, [value.type], known) },
            ];
          } catch {
            return [];
          }
        });
    const found = fitting[pick(fitting.length || 1)];
    if (found) known = found.sizes;
    return found?.value;
  });
  const drawn = { ...randomSizes(op, { dtypes: allowed }, pick), ...known };
  const sizes = { ...drawn, ...op.sample?.(drawn, pick), ...known };
  if (!op.where.every((constraint) => constraint.holds(sizes))) return undefined;
  if (op.operands.some((slot) => !allowed.includes(typeOf(slot, sizes).dtype))) return undefined;
  const tensors = drawOperands(op, sizes, "grid", pick);
  const operands = chosen.map((value, i) => value ?? give(tensors[i]!));
  try {
    return op.apply(operands, attrsOf(op, sizes));
  } catch (error) {
    if (error instanceof CompileError) return undefined;
    throw error;
  }
}
