/** Weights made of other weights, tensor by tensor as they are read. */
import type { Tensor, TensorType, WeightSource } from "../../ir/index.ts";

/** Entries `start .. stop - 1` of a first axis. */
export type Rows = readonly [start: number, stop: number];

/** One tensor: its type, and how it, or some rows of it, comes about. */
export interface Made {
  readonly type: TensorType;
  readonly read: (rows?: Rows) => Promise<Tensor>;
}

/** The tensor `name` of `source` as it is. Throws RangeError where there is none. */
export function kept(source: WeightSource, name: string): Made {
  const type = source.tensors.get(name);
  if (!type) throw new RangeError(`no tensor ${name}`);
  return { type, read: (rows) => source.read(name, rows) };
}

/** The tensors as a source, which closes `source` when it is closed. */
export const madeOf = (tensors: ReadonlyMap<string, Made>, source: WeightSource): WeightSource => ({
  tensors: new Map([...tensors].map(([name, { type }]) => [name, type])),
  read(name, rows) {
    const made = tensors.get(name);
    return made ? made.read(rows) : Promise.reject(new RangeError(`no tensor ${name}`));
  },
  close: () => source.close(),
});
