/** Values, applications and `defineOp`: the one place where an operation is declared. */
import { CompileError } from "./error.ts";
import {
  type Attrs,
  bind,
  type Bound,
  type Named,
  type Operands,
  parseSignature,
  type Positional,
  type Results,
  type Signature,
  type Sizes,
  typeOf,
} from "./signature.ts";
import { type Numbers, Tensor } from "./tensor.ts";
import { showType, sizeOf, type TensorType } from "./type.ts";

/** What a program is given: inputs at every run, weights once. Both are named; neither is ever inlined. */
export interface Leaf {
  readonly kind: "input" | "weight";
  readonly name: string;
}

/** An SSA value: a leaf, or result `index` of `node`. Values are immutable and compared by identity. */
export interface Value {
  readonly type: TensorType;
  readonly leaf: Leaf | undefined;
  readonly node: Node | undefined;
  readonly index: number;
}

/** One application of an op. */
export interface Node {
  readonly op: AnyOp;
  readonly operands: readonly Value[];
  readonly attrs: Sizes;
  /** All that the application binds: axes, lists of axes, attributes, derived sizes. */
  readonly sizes: Sizes;
  /** Where in the model it stands, such as `Encoder/encoderblock_5/Moe`; for people, never for meaning. */
  readonly scope: string;
  readonly results: readonly Value[];
}

/** A named value that a program is given. */
export const leaf = (kind: Leaf["kind"], name: string, type: TensorType): Value => ({
  type,
  leaf: { kind, name },
  node: undefined,
  index: 0,
});
export const input = (name: string, type: TensorType): Value => leaf("input", name, type);
export const weight = (name: string, type: TensorType): Value => leaf("weight", name, type);

let currentScope = "";

/** Runs `build`; the applications it makes stand in `name` below the scope of the caller. */
export function scoped<T>(name: string, build: () => T): T {
  const outer = currentScope;
  currentScope = outer && name ? `${outer}/${name}` : outer || name;
  try {
    return build();
  } finally {
    currentScope = outer;
  }
}

/** The scope in which applications are made now. */
export const scope = (): string => currentScope;

/** Runs `build` in exactly the scope `name`, whatever the caller's. */
export function inScope<T>(name: string, build: () => T): T {
  const outer = currentScope;
  currentScope = "";
  try {
    return scoped(name, build);
  } finally {
    currentScope = outer;
  }
}

/** The type of a value that stands for any value, in a pattern; it has no dtype and no shape. */
export const unknownType: TensorType = {
  get dtype(): never {
    throw new Error("a pattern may not look at types");
  },
  get shape(): never {
    throw new Error("a pattern may not look at types");
  },
};

/** Whether an attribute stands for any value, in a pattern: it is a symbol there. */
const isOpen = (value: unknown): boolean => typeof value === "symbol";

/**
 * A legal choice of attributes for random operand sizes, drawn for the laws; `pick(n)` is a random integer of
 * 0 .. n-1. It may also set the operands' own sizes, where random ones would rarely agree.
 */
type Sample<S extends string> = (sizes: Bound<S>, pick: (n: number) => number) => Partial<Bound<S>>;

/** What an op's author writes. */
export interface OpSpec<S extends string = string> {
  /** Mnemonic in printed programs: snake_case. */
  readonly name: string;
  /** One sentence: what the results are. Routing ops say what is compared, the tie order and the weights. */
  readonly summary: string;
  /** Where the meaning comes from: a paper's equation, or a specification's section. */
  readonly source?: string;
  readonly signature: S;
  /** Constraints beyond the signature. The label appears in errors, docs and test names. */
  readonly where?: {
    readonly [label: `C${number}`]: readonly [text: string, holds: (sizes: Bound<S>) => boolean];
  };
  /** Sizes of the results that no operand binds. Called once `where` holds. */
  derive?(sizes: Bound<S>): Partial<Bound<S>>;
  /** Where random attributes would rarely be legal. */
  readonly sample?: Sample<S>;
  /** What passes and backends may ask; each trait is held by a law in test/ops.test.ts. */
  readonly traits?: readonly Trait[];
  /**
   * Where the result lies in the operand, where it does: its elements are the operand's from this one on, in the same
   * row-major order. Undefined for an application of which that is not so.
   */
  viewAt?(sizes: Bound<S>): number | undefined;
  /** Reference semantics: every result's elements in row-major order, before rounding to its dtype. */
  evaluate(operands: Named<Operands<S>, Tensor>, sizes: Bound<S>): Named<Results<S>, Numbers>;
  /** The same meaning in more primitive ops; a core op has none. */
  decompose?(operands: Named<Operands<S>, Value>, sizes: Bound<S>): Named<Results<S>, Value>;
}

/**
 * `elementwise`: each result element depends on the operands' elements at the same index alone.
 * `view`: the result's elements are the operand's, all of them, in the same row-major order.
 * `plan`: results `tokens` and `slots` are a consistent routing plan (docs/architecture.md).
 * `gates`: a plan whose result `weights` is, for each token, the k largest of E probabilities, largest first: those of
 * its choices, which are distinct experts.
 * `experts`: operands `w1` and `w2` hold one matrix for each expert, [E, D, F] and [E, F, D].
 * `discontinuous`: compares numbers that it has itself rounded, so near ties may fall either way.
 * `inexact`: discontinuous, and what is compared are sums of products, so that ties, too, may fall either way.
 */
export type Trait = "elementwise" | "view" | "plan" | "gates" | "experts" | "discontinuous" | "inexact";

type ByName = Readonly<Record<string, Value>>;

/** An op with its types erased: what passes, backends and tests handle. */
export interface AnyOp extends Signature {
  readonly name: string;
  readonly summary: string;
  readonly source: string | undefined;
  readonly signature: string;
  readonly where: readonly { label: string; text: string; holds: (sizes: Sizes) => boolean }[];
  readonly sample: ((sizes: Sizes, pick: (n: number) => number) => Sizes) | undefined;
  has(trait: Trait): boolean;
  /** The element of the operand from which on the result lies in it; 0 for views; undefined where it does not. */
  viewAt(sizes: Sizes): number | undefined;
  /** Binds the sizes of an application to operands of `types` and checks its constraints. */
  sizesOf(types: readonly TensorType[], attrs: Sizes): Sizes;
  evaluate(operands: readonly Tensor[], sizes: Sizes): readonly Tensor[];
  readonly decompose: ((operands: readonly Value[], sizes: Sizes) => readonly Value[]) | undefined;
  /** Every result of one application, in order. */
  apply(operands: readonly Value[], attrs: Sizes): readonly Value[];
}

type AttrArgs<S extends string> = keyof Attrs<S> extends never ? [] : [attrs: Attrs<S>];
type Outs<N extends readonly string[]> = N extends readonly [string] ? Value : Named<N, Value>;

/** An op is callable: `topK(scores, { k: 2 })` builds its application and returns its result or results. */
export interface Op<S extends string> extends AnyOp {
  (...args: [...Positional<Operands<S>, Value>, ...AttrArgs<S>]): Outs<Results<S>>;
}

type Erased = Omit<OpSpec, "where" | "derive" | "sample" | "viewAt" | "evaluate" | "decompose"> & {
  readonly where?: Readonly<Record<string, readonly [string, (sizes: Sizes) => boolean]>>;
  readonly sample?: AnyOp["sample"];
  derive?(sizes: Sizes): Sizes;
  viewAt?(sizes: Sizes): number | undefined;
  evaluate(operands: Readonly<Record<string, Tensor>>, sizes: Sizes): Readonly<Record<string, Numbers>>;
  decompose?(operands: ByName, sizes: Sizes): ByName;
};

export function defineOp<const S extends string>(spec: OpSpec<S>): Op<S> {
  const erased = spec as unknown as Erased;
  const parsed = parseSignature(spec.signature);
  const where = Object.entries(erased.where ?? {}).map(([label, [text, holds]]) => ({ label, text, holds }));
  const operandNames = parsed.operands.map((slot) => slot.name);
  const resultNames = parsed.results.map((slot) => slot.name);

  const fields: Omit<AnyOp, "name"> = {
    ...parsed,
    summary: spec.summary,
    source: spec.source,
    signature: spec.signature,
    where,
    sample: erased.sample,
    has: (trait) => spec.traits?.includes(trait) ?? false,
    viewAt: (sizes) => (spec.traits?.includes("view") ? 0 : erased.viewAt?.(sizes)),

    sizesOf(types, attrs) {
      const bound = bind(spec.name, parsed, types, attrs);
      for (const { label, text, holds } of where) {
        if (!holds(bound)) {
          const got = Object.entries(bound).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
          throw new CompileError(label, spec.name, `requires ${text}; got ${got.join(", ")}`);
        }
      }
      return { ...bound, ...erased.derive?.(bound) };
    },

    evaluate(operands, sizes) {
      const outs = erased.evaluate(named(operandNames, operands), sizes);
      return parsed.results.map((slot) => {
        const type = typeOf(slot, sizes);
        const numbers = outs[slot.name];
        if (numbers?.length !== sizeOf(type.shape)) {
          throw new RangeError(
            `${spec.name}: ${slot.name} is ${showType(type)}, evaluated to ${numbers?.length} elements`,
          );
        }
        return Tensor.from(type, numbers);
      });
    },

    decompose:
      erased.decompose &&
      ((operands, sizes) => {
        const outs = erased.decompose?.(named(operandNames, operands), sizes) ?? {};
        return resultNames.map((name) => outs[name] as Value);
      }),

    apply(operands, attrs) {
      const open = operands.some((value) => value.type === unknownType) || Object.values(attrs).some(isOpen);
      const sizes = open
        ? attrs
        : op.sizesOf(
            operands.map((value) => value.type),
            attrs,
          );
      const results: Value[] = [];
      const node: Node = { op, operands, attrs, sizes, scope: currentScope, results };
      for (const [index, slot] of parsed.results.entries()) {
        results.push({ type: open ? unknownType : typeOf(slot, sizes), leaf: undefined, node, index });
      }
      return results;
    },
  };

  const call = (...args: unknown[]): unknown => {
    const arity = operandNames.length;
    const outs = op.apply(args.slice(0, arity) as Value[], (args[arity] ?? {}) as Sizes);
    return outs.length === 1 ? outs[0] : named(resultNames, outs);
  };
  const op: AnyOp = Object.assign(Object.defineProperty(call, "name", { value: spec.name }), fields);
  return op as Op<S>;
}

const named = <V>(names: readonly string[], values: readonly V[]): Record<string, V> =>
  Object.fromEntries(names.map((name, i) => [name, values[i] as V]));
