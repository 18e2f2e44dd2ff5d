/** Operators: how one op of the IR is written in ONNX. */
import type {
  AnyOp,
  Bound,
  DType,
  Named,
  Node,
  Op,
  Operands,
  Results,
  Sizes,
  Value,
} from "../../ir/index.ts";
import type { AttributeValues, Body } from "./body.ts";
import { type Element, element } from "./proto.ts";
import type { WeightTensor } from "./weights.ts";

/**
 * How values of a dtype are held in a program. Engines compute in few types: bfloat16 is held as float32, rounded
 * after every op; unsigned integers as int64, wrapped after every op.
 */
export const elementOf: Readonly<Record<DType, Element>> = {
  f32: element.float,
  f16: element.float16,
  bf16: element.float,
  i32: element.int32,
  u32: element.int64,
  bool: element.bool,
};

/** How values of a dtype enter and leave a program: as they are held, but for unsigned integers. */
export const outsideOf: Readonly<Record<DType, Element>> = { ...elementOf, u32: element.uint32 };

/** A result whose shape broadcasts to that of its value. */
export interface Loose {
  readonly loose: string;
}

type Out = string | Loose;

/** What an operator is given besides its operands. */
export interface Context {
  readonly body: Body;
  readonly node: Node;
  /** The shape of `value` as `Reshape` takes it, with -1 for what grows with a symbolic batch. */
  readonly shape: (value: Value) => string;
  /**
   * The name of a tensor that the file holds beside the program's weights, or in place of those that nothing else reads;
   * one name, element and shape stand for one tensor.
   */
  readonly derived: (tensor: WeightTensor) => string;
}

/** How one op is written. */
export interface Operator {
  readonly op: AnyOp;
  /** The first opset in which it can be. */
  readonly since: number;
  /** Whether the results' elements are operands' own, so that nothing has to be rounded. */
  readonly moves: boolean;
  /** Whether operands may come in any shape that broadcasts to their value's. */
  readonly broadcasts: boolean;
  /** Whether the op can be written in this application of it; where it cannot, it is decomposed. */
  readonly takes: (node: Node) => boolean;
  /** Whether entry `axis` of an attribute is a size that is left open where the batch is. */
  open(attribute: string, axis: number, sizes: Sizes): boolean;
  readonly write: (
    operands: Readonly<Record<string, string>>,
    sizes: Sizes,
    context: Context,
  ) => readonly Out[];
  /**
   * Writes entry `e` of the first axis of the one result, from the same entry of its operands, all of which are weights;
   * unset where it needs more of them.
   */
  readonly entry?: (e: number, context: Context) => string;
  /** Set where an application becomes a call of a model-local function. */
  readonly routine?: Routine;
}

/** A model-local function, and how it is called. */
export interface Routine {
  /** Its name for an application of these sizes, such as `Dispatch`. */
  readonly name: (sizes: Sizes) => string;
  /** Values of its attributes. */
  readonly attributes: (sizes: Sizes) => AttributeValues;
  /** Its results for `operands`, in order; sees sizes only as attributes, and as shapes at run time. */
  readonly write: (body: Body, operands: Readonly<Record<string, string>>, name: string) => readonly string[];
}

/** What else an author may say; `open` and `entry` as in `Operator`, with the sizes' types. */
interface Options<B> extends Partial<Pick<Operator, "since" | "moves" | "broadcasts" | "takes">> {
  open?(attribute: string, axis: number, sizes: B): boolean;
  readonly entry?: (e: number, sizes: B, context: Context) => string;
}

/** How an author writes an op with operands `O`, sizes `B` and results `R`; one result may be given bare. */
type Write<O, B, R> = (operands: O, sizes: B, context: Context) => Out | R;
type Names = Readonly<Record<string, string>>;
type Outs = Readonly<Record<string, Out>>;

/** An operator by nodes. */
export function operator<S extends string>(
  op: Op<S>,
  write: Write<Named<Operands<S>, string>, Bound<S>, Named<Results<S>, Out>>,
  options: Options<Bound<S>> = {},
): Operator {
  const { since = 1, moves = false, broadcasts = op.has("elementwise"), takes = () => true, entry } = options;
  const erased = write as unknown as Write<Names, Sizes, Outs>;
  return {
    op,
    since,
    moves,
    broadcasts,
    takes,
    ...(entry && { entry: (e, context) => entry(e, context.node.sizes as Bound<S>, context) }),
    open: (attribute, axis, sizes) => options.open?.(attribute, axis, sizes as Bound<S>) ?? false,
    write(operands, sizes, context) {
      const out = erased(operands, sizes, context);
      const isBare = typeof out === "string" || (op.results.length === 1 && "loose" in out);
      return isBare ? [out as Out] : op.results.map(({ name }) => (out as Outs)[name] as Out);
    },
  };
}

/** What an author writes for a function with operands `O` of an op with sizes `B` and results `R`. */
interface RoutineSpec<O, B, R> {
  readonly since?: number;
  readonly name: (sizes: B) => string;
  readonly attributes: (sizes: B) => AttributeValues;
  readonly write: (body: Body, operands: O, name: string) => R;
}

/** An operator by a model-local function. */
export function routine<S extends string>(
  op: Op<S>,
  spec: RoutineSpec<Named<Operands<S>, string>, Bound<S>, Named<Results<S>, string>>,
): Operator {
  const { since = 1, name, attributes, write } = spec as unknown as RoutineSpec<Names, Sizes, Names>;
  const results = (body: Body, operands: Names, as: string): string[] => {
    const outs = write(body, operands, as);
    return op.results.map((slot) => outs[slot.name] as string);
  };
  return {
    op,
    since,
    moves: false,
    broadcasts: false,
    takes: () => true,
    open: () => false,
    routine: { name, attributes, write: results },
    write: (operands, sizes, { body }) =>
      body.inline(attributes(sizes), () => results(body, operands, name(sizes))),
  };
}
