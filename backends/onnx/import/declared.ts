/** The types that a file declares for its inputs and outputs, with a size in place of the batch's name. */
import {
  type CompileError,
  type DType,
  sameShape,
  showType,
  type TensorType,
  type Value,
} from "../../../ir/index.ts";
import { elementName, isElement, numberOf, type ValueInfoProto } from "../proto.ts";
import { dtypeOf } from "./item.ts";
import { problem, type ProblemCode } from "./problem.ts";

/** The name of an axis of any size: that of the batch, or that and what it is multiplied or divided by. */
const symbolic = /^(.*?)(?:([*/])(\d+))?$/s;

type Dimension = NonNullable<
  NonNullable<NonNullable<NonNullable<ValueInfoProto["type"]>["tensorType"]>["shape"]>["dim"]
>[number];

export class Declarations {
  readonly #file: string;
  readonly #batch: number | undefined;
  /** The name that stands for the batch. */
  #symbol: string | undefined;

  /** @param batch the size of the one axis that has a name, or else that of the first input; by default 1 */
  constructor(file: string, batch: number | undefined) {
    this.#file = file;
    this.#batch = batch;
    if (batch !== undefined && !(Number.isSafeInteger(batch) && batch >= 1))
      throw this.#problem(`cannot have a batch of ${batch}`, "O4");
  }

  /** The type of an input. Throws O4 where programs have no such type, or the file a second name of an axis. */
  input(info: ValueInfoProto): TensorType {
    const { dtype, dims } = this.#declared(info, "input");
    if (!dims) throw this.#problem(`input ${info.name} has no shape`, "O4");
    const shape = dims.map((dim) => this.#size(dim, info));
    return { dtype, shape };
  }

  /** Throws O3 unless `value` is of the type that the file declares, as far as it says its sizes. */
  output(info: ValueInfoProto, value: Value): void {
    const { dtype, dims = value.type.shape.map((): Dimension => ({})) } = this.#declared(info, "output");
    const shape = dims.map(
      (dim, axis) => numberOf(dim.dimValue ?? undefined) ?? value.type.shape[axis] ?? -1,
    );
    if (dtype === value.type.dtype && sameShape(shape, value.type.shape)) return;
    const message = `output ${info.name} must be ${showType({ dtype, shape })}; it comes out as ${showType(value.type)}`;
    throw this.#problem(message);
  }

  /** Throws O4 where the file leaves no axis open, and is for another batch than was chosen. */
  finish([first]: readonly Value[]): void {
    if (this.#batch === undefined || this.#symbol !== undefined) return;
    const batch = first?.type.shape[0];
    if (batch !== this.#batch)
      throw this.#problem(`is for a batch of ${batch ?? "its own"}; got ${this.#batch}`, "O4");
  }

  #declared(
    { name, type }: ValueInfoProto,
    what: string,
  ): { readonly dtype: DType; readonly dims: readonly Dimension[] | undefined } {
    const code = type?.tensorType?.elemType;
    if (!type?.tensorType || !code) throw this.#problem(`${what} ${name} must be a tensor`, "O4");
    const dtype = isElement(code) ? dtypeOf.get(code) : undefined;
    if (!dtype)
      throw this.#problem(`${what} ${name} is of ${elementName(code)}, which is not supported here`, "O4");
    return { dtype, dims: type.tensorType.shape?.dim ?? undefined };
  }

  #size({ dimValue, dimParam }: Dimension, { name }: ValueInfoProto): number {
    const [, symbol, sign, digits = "1"] = symbolic.exec(dimParam ?? "") ?? [];
    if (!symbol) {
      const size = numberOf(dimValue ?? undefined);
      if (size !== undefined && size >= 1) return size;
      throw this.#problem(`input ${name} has an axis with neither a size nor a name`, "O4");
    }
    this.#symbol ??= symbol;
    if (this.#symbol !== symbol)
      throw this.#problem(`has axes of two names, ${this.#symbol} and ${symbol}: only a batch is read`, "O4");
    const batch = this.#batch ?? 1;
    const size = sign === "/" ? batch / Number(digits) : batch * Number(digits);
    if (Number.isSafeInteger(size) && size >= 1) return size;
    throw this.#problem(`input ${name} has an axis ${dimParam}: not for a batch of ${batch}`, "O4");
  }

  #problem(message: string, code?: ProblemCode): CompileError {
    return problem(this.#file, message, code);
  }
}
