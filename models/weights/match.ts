/** Fitting a file's tensors to a model's parameters. */
import {
  CompileError,
  sameShape,
  type Shape,
  sizeOf,
  Tensor,
  type TensorType,
  type WeightSource,
} from "../../ir/index.ts";
import { type Parameter, randomWeights } from "../init.ts";
import { partsOf } from "./parts.ts";
import { onGrids } from "./positions.ts";

const floats = ["f32", "f16", "bf16"];
/** Of each kind of problem, that many are named. */
const listed = 3;

/**
 * `given` as the weights of a model with `parameters`: in f32, with the tables that no file holds, position embeddings
 * of another resolution resized. Throws W2 listing what is missing, stray or misshapen; reading throws W3 for a number that is not finite.
 */
export function matchWeights(
  parameters: readonly Parameter[],
  given: WeightSource,
  name: string,
): WeightSource {
  const source = onGrids(parameters, given);
  checkFit(parameters, source, name);
  const tables = randomWeights(parameters, 0);
  const held = shapedAs(parameters, source);
  return {
    tensors: tables.tensors,
    async read(tensor, rows) {
      if (!held.tensors.has(tensor)) return tables.read(tensor, rows);
      const read = await held.read(tensor, rows);
      const numbers = read.numbers();
      if (!numbers.every(Number.isFinite))
        throw new CompileError("W3", name, `tensor ${tensor} has a NaN or infinity`);
      return read.type.dtype === "f32" ? read : Tensor.from({ ...read.type, dtype: "f32" }, numbers);
    },
    close: () => source.close(),
  };
}

/** Throws W2 listing what `source` lacks of the trained ones of `parameters`, what it has besides, and what has another shape. */
export function checkFit(parameters: readonly Parameter[], source: WeightSource, name: string): void {
  const trained = parameters.filter((parameter) => parameter.trained);
  const missing = trained.filter((parameter) => !source.tensors.has(parameter.name));
  const kinds = [
    missing.map((parameter) => `${parameter.name} is missing`),
    trained.flatMap((parameter) => misfit(parameter, source)),
    strays(trained, source),
  ];
  const shown = kinds.flatMap((problems) => problems.slice(0, listed));
  if (shown.length === 0) return;
  const more = kinds.flat().length - shown.length;
  const rest = more > 0 ? `; and ${more} more` : "";
  throw new CompileError("W2", name, `does not fit the model: ${shown.join("; ")}${rest}`);
}

/** `source`, which fits the trained ones of `parameters`, in their shapes. */
export function shapedAs(parameters: readonly Parameter[], source: WeightSource): WeightSource {
  const trained = parameters.filter((parameter) => parameter.trained);
  const own = new Map(trained.map((parameter) => [parameter.name, parameter]));
  const typeOf = ({ name, shape }: Parameter): TensorType => ({
    dtype: source.tensors.get(name)?.dtype ?? "f32",
    shape,
  });
  return {
    tensors: new Map(trained.map((parameter) => [parameter.name, typeOf(parameter)])),
    read(name, rows) {
      const parameter = own.get(name);
      return parameter ? readShaped(source, parameter, rows) : source.read(name, rows);
    },
    close: () => source.close(),
  };
}

/** The parameter, or entries `rows` of its first axis, from a file that holds it in its own or any other shape. */
async function readShaped(
  source: WeightSource,
  { name, shape }: Parameter,
  rows?: readonly [number, number],
): Promise<Tensor> {
  const { dtype, shape: held } = source.tensors.get(name) ?? { dtype: "f32", shape };
  if (sameShape(held, shape)) return source.read(name, rows);
  const [entries = 1, ...rest] = shape;
  const [start, stop] = rows ?? [0, entries];
  const { data } = await source.read(name);
  const size = sizeOf(rest);
  return new Tensor({ dtype, shape: [stop - start, ...rest] }, data.slice(start * size, stop * size));
}

/** What is wrong with a parameter that the file has. */
function misfit({ name, shape, stored }: Parameter, source: WeightSource): string[] {
  const type: TensorType | undefined = source.tensors.get(name);
  if (!type) return [];
  if (!floats.includes(type.dtype)) return [`${name} is ${type.dtype}, not a float`];
  return sameShape(type.shape, shape) || mayBeStoredAs(type.shape, shape, stored)
    ? []
    : [`${name} is [${type.shape.join(", ")}], not [${shape.join(", ")}]`];
}

/** Whether a file may hold a parameter of `shape` as `held`, the same elements in the same order. */
function mayBeStoredAs(held: Shape, shape: Shape, stored: Parameter["stored"]): boolean {
  if (stored === "in any shape") return sizeOf(held) === sizeOf(shape);
  if (stored === undefined || !("joined" in stored)) return false;
  const [first = 1, second = 1] = shape.slice(stored.joined);
  return sameShape(held, shape.toSpliced(stored.joined, 2, first * second));
}

function strays(parameters: readonly Parameter[], source: WeightSource): string[] {
  const known = new Set(parameters.map((parameter) => parameter.name));
  return [...source.tensors.keys()]
    .filter((name) => !known.has(name))
    .map((name) => `${name} is not a parameter`);
}

/** Reads all of `source`, part by part, so that what is wrong with a file is found before it is used. */
export async function checkFinite(source: WeightSource, onProgress: (done: number) => void): Promise<void> {
  for (const [i, [name, type]] of [...source.tensors].entries()) {
    onProgress(i / source.tensors.size);
    for (const rows of partsOf(type)) await source.read(name, rows);
  }
}
