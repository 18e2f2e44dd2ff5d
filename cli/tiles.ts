/** How tiles and the products that they are for read. */
import { blockOf, type Product, type Tile } from "../backends/webgpu/profile.ts";

/** Rows by columns of a block, inner steps held at once, and threads: `64x64 by 16, 64 threads`. */
export function showTile(tile: Tile): string {
  const { wx, wy, bk, split = 1, parts = 1, matrix, strips } = tile;
  const threads = `${wx * wy * (matrix?.subgroup ?? 1)}${split > 1 ? ` x ${split}` : ""} threads`;
  const ways = [
    ...(parts > 1 ? [`${parts} parts`] : []),
    ...(matrix ? ["subgroup matrices"] : []),
    ...(strips ? ["strips"] : []),
  ];
  return [`${showBlock(tile)}${bk ? ` by ${bk}` : ""}`, threads, ...ways].join(", ");
}

/** Rows by columns of a block. */
export function showBlock(tile: Tile): string {
  const { rows, columns } = blockOf(tile);
  return `${rows}x${columns}`;
}

/** `[50, 512] x [512, 2048]`, how many of them, and of what. */
export function showProduct({ M, N, K, batch, bits, experts }: Product): string {
  const times = experts > 0 ? `, ${experts} experts` : batch > 1 ? `, ${batch} times` : "";
  return `[${M}, ${K}] x [${K}, ${N}]${times}${bits < 32 ? `, weights of ${bits} bits` : ""}`;
}
