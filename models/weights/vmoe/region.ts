/** Boxes of a tensor's elements, and copying between buffers that hold them. */
import { sizeOf } from "../../../ir/index.ts";

/** start and stop along each axis. */
export type Region = readonly (readonly [start: number, stop: number])[];

/** Elements along each axis. */
export const extentsOf = (region: Region): number[] => region.map(([start, stop]) => stop - start);

/** Elements of a region. */
export const elementsOf = (region: Region): number => sizeOf(extentsOf(region));

/** The part that two regions share; undefined when it is empty. */
export function overlap(a: Region, b: Region): Region | undefined {
  const common = a.map(([start, stop], axis): [number, number] => [
    Math.max(start, b[axis]?.[0] ?? 0),
    Math.min(stop, b[axis]?.[1] ?? 0),
  ]);
  return common.every(([start, stop]) => start < stop) ? common : undefined;
}

/** Copies the region `common` between two row-major buffers that hold the regions `from` and `to`. */
export function copyRegion(
  source: Uint8Array,
  from: Region,
  target: Uint8Array,
  to: Region,
  common: Region,
  itemBytes: number,
): void {
  const offset = (region: Region, index: readonly number[]): number =>
    region.reduce((flat, [start, stop], axis) => flat * (stop - start) + (index[axis] ?? 0) - start, 0) *
    itemBytes;
  const [last = [0, 1]] = common.slice(-1);
  const run = (last[1] - last[0]) * itemBytes;
  const index = common.map(([start]) => start);
  for (;;) {
    const start = offset(from, index);
    target.set(source.subarray(start, start + run), offset(to, index));
    let axis = common.length - 2;
    for (; axis >= 0; axis--) {
      const next = (index[axis] ?? 0) + 1;
      const [low = 0, high = 0] = common[axis] ?? [];
      index[axis] = next < high ? next : low;
      if (next < high) break;
    }
    if (axis < 0) return;
  }
}
