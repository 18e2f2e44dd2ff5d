/** Tensors of a file under other names, cut, and with their axes in another order, still read part by part. */
import { fileError } from "../../files/bytes.ts";
import {
  byteLength,
  bytesOf,
  type Shape,
  sizeOf,
  stridesOf,
  Tensor,
  type TensorType,
  type WeightSource,
} from "../../ir/index.ts";

/** Where a tensor is found, and how it differs there. */
export interface View {
  /** The tensor that holds it. */
  readonly from: string;
  /** Which of how many equal parts of the holder's first axis it is; all of it by default. */
  readonly part?: readonly [index: number, of: number];
  /** The holder's axis that is each axis of it; the same by default. */
  readonly axes?: readonly number[];
}

/** Bytes of the holder that are at hand while axes are put in another order. */
const blockBytes = 2 ** 24;

/** `source`, which errors call `file`, seen through `views`, by new name. Throws W1 for a view that does not fit what it is of. */
export function rearranged(
  file: string,
  source: WeightSource,
  views: ReadonlyMap<string, View>,
): WeightSource {
  const fitting = new Map([...views].map(([name, view]) => [name, fitted(file, view, source)]));
  return {
    tensors: new Map([...fitting].map(([name, { type }]) => [name, type])),
    async read(name, rows) {
      const found = fitting.get(name);
      if (!found) return source.read(name, rows);
      const { from, first, axes, type } = found;
      if (axes) return gathered(source, found, rows ?? [0, type.shape[0] ?? 1]);
      const whole = !rows && sizeOf(type.shape) === sizeOf(source.tensors.get(from)?.shape ?? []);
      const [start, stop] = rows ?? [0, type.shape[0] ?? 1];
      return source.read(from, whole ? undefined : [first + start, first + stop]);
    },
    close: () => source.close(),
  };
}

interface Fitted {
  readonly from: string;
  /** Where it begins along the holder's first axis. */
  readonly first: number;
  readonly axes: readonly number[] | undefined;
  readonly type: TensorType;
}

function fitted(
  file: string,
  { from, part: [index, of] = [0, 1], axes }: View,
  { tensors }: WeightSource,
): Fitted {
  const { dtype, shape } = tensors.get(from) ?? { dtype: "f32", shape: [] };
  const [entries = 1, ...rest] = shape;
  const wanted = entries % of === 0 ? `${axes?.length} axes` : `a first axis of ${of} equal parts`;
  if (entries % of !== 0 || (axes && axes.length !== shape.length)) {
    throw fileError(file, `tensor ${from} must have ${wanted}; it is [${shape.join(", ")}]`);
  }
  const cut = shape.length === 0 ? [] : [entries / of, ...rest];
  const moved = axes?.some((axis, i) => axis !== i) ? axes : undefined;
  const seen = moved ? moved.map((axis) => cut[axis] ?? 1) : cut;
  return { from, first: (index * entries) / of, axes: moved, type: { dtype, shape: seen } };
}

/** Entries `rows` of a view with moved axes, from blocks of its holder. */
async function gathered(
  source: WeightSource,
  { from, first, axes = [], type }: Fitted,
  rows: readonly [number, number],
): Promise<Tensor> {
  const cut: TensorType = { ...type, shape: [rows[1] - rows[0], ...type.shape.slice(1)] };
  const result = Tensor.fromBytes(cut, new Uint8Array(byteLength(cut)));
  if (result.data.length === 0) return result;
  // Along each axis of the holder: its size, what is wanted of it, and how far apart its entries lie in the result.
  const sizes = axes.map((_, axis) => type.shape[axes.indexOf(axis)] ?? 1);
  const wanted = sizes.map((size, axis): readonly [number, number] => (axis === axes[0] ? rows : [0, size]));
  const strides = stridesOf(cut.shape);
  const steps = axes.map((_, axis) => strides[axes.indexOf(axis)] ?? 1);
  const [start, stop] = wanted[0] ?? [0, 1];
  const row = sizeOf(sizes.slice(1)) * bytesOf[type.dtype];
  const block = Math.max(1, Math.floor(blockBytes / Math.max(1, row)));
  for (let at = start; at < stop; at += block) {
    const end = Math.min(at + block, stop);
    const { data, type: held } = await source.read(from, [first + at, first + end]);
    const apart = stridesOf(held.shape);
    const skipped = wanted.reduce((n, [low], axis) => n + (axis === 0 ? 0 : low * (apart[axis] ?? 1)), 0);
    const extents = wanted.map(([low, high], axis) => (axis === 0 ? end - at : high - low));
    copy(
      { data, start: skipped, strides: apart },
      { data: result.data, start: (at - start) * (steps[0] ?? 1), strides: steps },
      extents,
    );
  }
  return result;
}

/** Elements that lie `strides` apart. */
interface Strided {
  readonly data: Tensor["data"];
  readonly start: number;
  readonly strides: readonly number[];
}

/** Copies so many elements along each axis. */
function copy(from: Strided, to: Strided, extents: Shape): void {
  const walk = (axis: number, source: number, target: number): void => {
    const [stride = 1, step = 1, last] = [from.strides[axis], to.strides[axis], axis === extents.length - 1];
    for (let i = 0; i < (extents[axis] ?? 0); i++) {
      if (last) to.data[target + i * step] = from.data[source + i * stride] ?? 0;
      else walk(axis + 1, source + i * stride, target + i * step);
    }
  };
  walk(0, from.start, to.start);
}
