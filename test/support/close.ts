/** Comparison of tensors: integers exactly, floats within a tolerance that belongs to the dtype. */
import { expect } from "vitest";

import type { Tolerance } from "../../backends/backend.ts";
import type { DType, Tensor } from "../../ir/index.ts";
import { farthest, rounding } from "../../testing/agreement.ts";

export { rounding, type Tolerance };

const isFloat = (dtype: DType): dtype is keyof Tolerance => dtype in rounding;

/** The largest distance of `got` from `want`, as a share of want's largest magnitude (at least 1). */
export const distance = (got: Tensor, want: Tensor): number => farthest(got.numbers(), want.numbers());

/**
 * Same types, integers equal, floats within `tolerance`: that of the result's dtype, or of a coarser one `through`
 * which the computation went.
 */
export function expectClose(
  got: readonly Tensor[],
  want: readonly Tensor[],
  tolerance: Tolerance = rounding,
  through: readonly unknown[] = [],
): void {
  const allowed = (dtype: keyof Tolerance): number =>
    [dtype, ...through].reduce<number>((most, d) => Math.max(most, tolerance[d as keyof Tolerance] ?? 0), 0);
  expect(got.map((t) => t.type)).toEqual(want.map((t) => t.type));
  for (const [r, tensor] of want.entries()) {
    const { dtype } = tensor.type;
    if (isFloat(dtype)) {
      const off = distance(got[r]!, tensor);
      if (!(off <= allowed(dtype))) {
        expect.fail(`result ${r} is off by ${off}; got ${show(got[r]!)}, want ${show(tensor)}`);
      }
    } else expect(Array.from(got[r]!.data), `result ${r}`).toEqual(Array.from(tensor.data));
  }
}

const show = (tensor: Tensor): string => `[${Array.from(tensor.numbers()).slice(0, 24).join(", ")}]`;
