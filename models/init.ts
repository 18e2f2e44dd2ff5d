/** Initial values of parameters, as the original draws them. */
import { type Shape, sizeOf, Tensor, type TensorType, type WeightSource } from "../ir/index.ts";
import type { TokenGrid } from "./grid.ts";
import { fillNormal, fillTruncatedNormal, fillUniform, streamKey, uniform } from "./random.ts";

/**
 * How one parameter is initialised. `balanced`: [T, E], each row a rotation of E - 1, ..., 1, 0, each rotation as often
 * as the others to within one, in random order. `shared`: every entry of the first axis is the same. `seed`: draws
 * depend on this one, whatever the seed of all.
 */
export type Init = (
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "normal" | "truncated-normal"; readonly std: number }
  | { readonly kind: "uniform"; readonly limit: number; readonly centre?: number }
  | { readonly kind: "sincos2d"; readonly columns: number; readonly temperature: number }
  | { readonly kind: "balanced" }
) & { readonly shared?: boolean; readonly seed?: number };

/** A named parameter of a model. A parameter that is not trained is a function of the configuration. */
export interface Parameter {
  readonly name: string;
  readonly shape: Shape;
  readonly init: Init;
  readonly trained: boolean;
  /**
   * How files may hold it besides in its own shape: its elements in their order in any shape of as many, or with the axis
   * `joined` and the next one as one; or with a row for each token of another grid than this one, from which it is resized.
   */
  readonly stored?: "in any shape" | { readonly joined: number } | { readonly grid: TokenGrid };
}

export const constant = (value: number): Init => ({ kind: "constant", value });

export const gaussian = (std: number): Init => ({ kind: "normal", std });

/** Standard deviation of the standard normal truncated to [-2, 2]. */
const truncatedDeviation = 0.8796256610342398;

/** Truncated normal of variance 1 / fanIn; Flax's `lecun_normal`. */
export const lecunNormal = (fanIn: number): Init => ({
  kind: "truncated-normal",
  std: Math.sqrt(1 / fanIn) / truncatedDeviation,
});

/** Uniform of variance 2 / (fanIn + fanOut); Glorot and Bengio 2010, eq. 16. */
export const xavierUniform = (fanIn: number, fanOut: number): Init => ({
  kind: "uniform",
  limit: Math.sqrt(6 / (fanIn + fanOut)),
});

/** Elements `start .. stop - 1`, in row-major order, whole entries of a parameter of `shape` initialised by `init`. */
function draw(init: Init, shape: Shape, key: number, start: number, stop: number): Float32Array {
  const values = new Float32Array(stop - start);
  if (!init.shared) {
    fill(values, init, shape, key, start);
    return values;
  }
  // Entries that are the same are drawn once and copied.
  const fresh = Math.min(values.length, sizeOf(shape.slice(1)));
  fill(values.subarray(0, fresh), init, shape, key, 0);
  for (let i = fresh; i < values.length; i += fresh)
    values.copyWithin(i, 0, Math.min(fresh, values.length - i));
  return values;
}

/** Fills `values` with the elements from `start` on. */
function fill(values: Float32Array, init: Init, shape: Shape, key: number, start: number): void {
  switch (init.kind) {
    case "constant":
      values.fill(init.value);
      return;
    case "normal":
      fillNormal(values, key, start, init.std);
      return;
    case "truncated-normal":
      fillTruncatedNormal(values, key, start, init.std);
      return;
    case "uniform":
      fillUniform(values, key, start, init);
      return;
    case "sincos2d": {
      const at = sincos2d(shape.at(-1) ?? 1, init.columns, init.temperature);
      for (let i = 0; i < values.length; i++) values[i] = at(start + i);
      return;
    }
    case "balanced": {
      const at = balanced(shape, key);
      for (let i = 0; i < values.length; i++) values[i] = at(start + i);
    }
  }
}

/** A random balanced assignment of rows to columns, as a table whose row is largest at the row's own column. */
function balanced([rows = 1, columns = 1]: Shape, key: number): (i: number) => number {
  const draws = Array.from({ length: rows }, (_, row) => uniform(key, row));
  const order = [...draws.keys()].toSorted((a, b) => (draws[a] ?? 0) - (draws[b] ?? 0));
  const own = new Int32Array(rows);
  for (const [place, row] of order.entries()) own[row] = place % columns;
  return (i) => columns - 1 - (((i % columns) - (own[Math.floor(i / columns)] ?? 0) + columns) % columns);
}

/**
 * Fixed 2-D position embedding of width D: row n of the table is [sin x, cos x, sin y, cos y] of the patch's column
 * x and row y times D/4 frequencies temperature^(-i / (D/4 - 1)). Source: MoCo v3, arXiv 2104.02057.
 */
function sincos2d(D: number, columns: number, temperature: number): (i: number) => number {
  const quarter = D / 4;
  return (i) => {
    const n = Math.floor(i / D);
    const part = Math.floor((i % D) / quarter);
    const place = part < 2 ? n % columns : Math.floor(n / columns);
    const angle = place * temperature ** (-(i % quarter) / (quarter - 1));
    return part % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
  };
}

/**
 * The parameters, drawn so that none is without effect: experts differ, and what would start at a constant, or near
 * 0, is spread around it. For comparing backends; a model fresh from `randomWeights` has a head of zeros.
 */
export const probing = (parameters: readonly Parameter[]): Parameter[] =>
  parameters.map((parameter) => {
    const { init, shape } = parameter;
    const spread = init.kind === "constant" || (init.kind === "normal" && init.std < 0.01);
    if (!spread) return { ...parameter, init: { ...init, shared: false } };
    const matrix = parameter.name.endsWith("kernel");
    const centre = init.kind === "constant" ? init.value : 0;
    return {
      ...parameter,
      init: matrix ? lecunNormal(shape[0] ?? 1) : { kind: "uniform", limit: 0.1, centre },
    };
  });

/** Freshly initialised parameters; the same seed gives the same values in any order of reading. */
export function randomWeights(parameters: readonly Parameter[], seed: number): WeightSource {
  const byName = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  const typeOf = ({ shape }: Parameter): TensorType => ({ dtype: "f32", shape });
  return {
    tensors: new Map(parameters.map((parameter) => [parameter.name, typeOf(parameter)])),
    read(name, rows) {
      const parameter = byName.get(name);
      if (!parameter) return Promise.reject(new RangeError(`no parameter ${name}`));
      const { init, shape } = parameter;
      const [start, stop] = rows ?? [0, shape[0] ?? 1];
      const size = sizeOf(shape.slice(1));
      const values = draw(init, shape, streamKey(init.seed ?? seed, name), start * size, stop * size);
      const cut = rows ? [stop - start, ...shape.slice(1)] : shape;
      return Promise.resolve(new Tensor({ dtype: "f32", shape: cut }, values));
    },
    close: () => Promise.resolve(),
  };
}
