/** Two sets of weights, tensor by tensor. */
import { sameShape, sizeOf, type Tensor, type TensorType, type WeightSource } from "../../ir/index.ts";
import { partsOf } from "./parts.ts";

/** How a tensor of `b` relates to that of the same name in `a`. */
export interface Comparison {
  readonly name: string;
  /** `missing` from b, `extra` in b; else the first of these that holds. */
  readonly verdict: "missing" | "extra" | "shape" | "dtype" | "values" | "equal";
  readonly a?: TensorType;
  readonly b?: TensorType;
  /** max |a - b|, infinite where one of two numbers is none; undefined where elements have no partners. */
  readonly maxError?: number;
  /** |a - b| / |a| in the Euclidean norm; infinite where a is 0 and b is not. */
  readonly relativeError?: number;
}

/**
 * Every tensor of either, in order of name, read part by part. Tensors of as many elements are compared in order, whatever
 * their shapes. `onProgress` is told of the share that is done, and of the tensor that is next.
 */
export async function* compareWeights(
  a: WeightSource,
  b: WeightSource,
  onProgress: (done: number, name: string) => void = () => undefined,
): AsyncGenerator<Comparison> {
  const names = [...new Set([...a.tensors.keys(), ...b.tensors.keys()])].toSorted();
  const total = names.reduce((sum, name) => sum + sizeOf(a.tensors.get(name)?.shape ?? [0]), 0);
  let done = 0;
  for (const name of names) {
    onProgress(done / Math.max(1, total), name);
    const [left, right] = [a.tensors.get(name), b.tensors.get(name)];
    if (left && right) yield { name, a: left, b: right, ...(await compared(name, a, b, left, right)) };
    else if (left) yield { name, verdict: "missing", a: left };
    else if (right) yield { name, verdict: "extra", b: right };
    done += sizeOf(left?.shape ?? [0]);
  }
}

async function compared(
  name: string,
  a: WeightSource,
  b: WeightSource,
  left: TensorType,
  right: TensorType,
): Promise<Pick<Comparison, "verdict" | "maxError" | "relativeError">> {
  const alike = sameShape(left.shape, right.shape);
  if (!alike && sizeOf(left.shape) !== sizeOf(right.shape)) return { verdict: "shape" };
  const sums = { most: 0, error: 0, norm: 0 };
  for (const rows of alike ? partsOf(left) : [undefined]) {
    addErrors(sums, await a.read(name, rows), await b.read(name, rows));
  }
  const maxError = sums.most;
  const relativeError = sums.error === 0 ? 0 : Math.sqrt(sums.error / sums.norm);
  const different = left.dtype === right.dtype ? (maxError > 0 ? "values" : "equal") : "dtype";
  return { verdict: alike ? different : "shape", maxError, relativeError };
}

interface Sums {
  most: number;
  error: number;
  norm: number;
}

function addErrors(sums: Sums, a: Tensor, b: Tensor): void {
  const [left, right] = [a.numbers(), b.numbers()];
  for (let i = 0; i < left.length; i++) {
    const [x, y] = [left[i] ?? 0, right[i] ?? 0];
    sums.norm += x * x;
    if (x === y || (Number.isNaN(x) && Number.isNaN(y))) continue;
    const error = Math.abs(x - y);
    const counted = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
    sums.most = Math.max(sums.most, counted);
    sums.error += counted * counted;
  }
}
