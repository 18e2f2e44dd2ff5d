/**
 * Counter-based random numbers: draw i of a stream depends on the stream's key and i alone, so that any part of
 * a tensor can be drawn without the rest, in any order, on any machine.
 */

/** Wang-style integer mixer `lowbias32` (Chris Wellons, "Prospecting for Hash Functions"). */
function mix(x: number): number {
  let h = x;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return h ^ (h >>> 16);
}

/** The key of the stream `name` under `seed`: FNV-1a of `seed/name` in UTF-8. */
export function streamKey(seed: number, name: string): number {
  let hash = 2166136261;
  for (const byte of new TextEncoder().encode(`${seed}/${name}`)) hash = Math.imul(hash ^ byte, 16777619);
  return hash;
}

/** Draw `i` of the stream, uniform in (0, 1). */
export const uniform = (key: number, i: number): number =>
  ((mix(mix(i) ^ mix(key + Math.floor(i / 2 ** 32))) >>> 0) + 0.5) / 2 ** 32;

const secondStream = 0x9e3779b9;

/** Draw `i` of the stream, standard normal, by Box and Muller's transform. */
const normal = (key: number, i: number): number =>
  Math.sqrt(-2 * Math.log(uniform(key, i))) * Math.cos(2 * Math.PI * uniform(key + secondStream, i));

/** Draw `i` of the stream, standard normal given that it lies in [-2, 2]: the first of a sequence that does. */
function truncatedNormal(key: number, i: number): number {
  for (let attempt = 0; ; attempt++) {
    const x = normal(key + mix(attempt), i);
    if (Math.abs(x) <= 2) return x;
  }
}

/*
 * Whole tensors are drawn by a loop for each distribution, in a function of its own: engines then inline the draw, and a
 * large model takes a fraction of the time.
 */

/** Draws from `start` on, one for each of `values`, uniform in (centre - limit, centre + limit). */
export function fillUniform(
  values: Float32Array,
  key: number,
  start: number,
  { limit, centre = 0 }: { readonly limit: number; readonly centre?: number },
): void {
  for (let i = 0; i < values.length; i++) values[i] = centre + limit * (2 * uniform(key, start + i) - 1);
}

/** Draws from `start` on, one for each of `values`, normal of deviation `std`. */
export function fillNormal(values: Float32Array, key: number, start: number, std: number): void {
  for (let i = 0; i < values.length; i++) values[i] = std * normal(key, start + i);
}

/** Draws from `start` on, one for each of `values`, of `truncatedNormal`, times `std`. */
export function fillTruncatedNormal(values: Float32Array, key: number, start: number, std: number): void {
  for (let i = 0; i < values.length; i++) values[i] = std * truncatedNormal(key, start + i);
}

/** Draws 0 .. length-1 of the stream `name` under `seed`, standard normal. */
export function normalDraws(seed: number, name: string, length: number): Float32Array {
  const values = new Float32Array(length);
  fillNormal(values, streamKey(seed, name), 0, 1);
  return values;
}
