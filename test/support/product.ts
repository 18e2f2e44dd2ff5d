/** Matrix products as the choice of tiles sees them. */
import type { Product } from "../../backends/webgpu/profile.ts";

/** One product [M, K] x [K, N] of float32, row-major, but for what is said. */
export const productOf = (M: number, N: number, K: number, rest: Partial<Product> = {}): Product => ({
  M,
  N,
  K,
  batch: 1,
  transposed: false,
  strips: false,
  bits: 32,
  experts: 0,
  ...rest,
});
