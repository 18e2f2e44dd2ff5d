/** How tiles and the products that they are for read. */
import type { Product, Tile } from "../backends/webgpu/profile.ts";

/** Rows by columns of a block, inner steps held at once, and threads: `64x64 by 16, 64 threads`. */
export function showTile({ wx, wy, tm, tv, bk, split = 1, parts = 1 }: Tile): string {
  const threads = split > 1 ? `${wx * wy} x ${split}` : wx * wy;
  return `${wy * tm}x${4 * wx * tv}${bk ? ` by ${bk}` : ""}, ${threads} threads${parts > 1 ? `, ${parts} parts` : ""}`;
}

/** `[50, 512] x [512, 2048]`, and how many of them. */
export function showProduct({ M, N, K, batch, experts }: Product): string {
  const times = experts > 0 ? `, ${experts} experts` : batch > 1 ? `, ${batch} times` : "";
  return `[${M}, ${K}] x [${K}, ${N}]${times}`;
}
