/** The filling of the experts' buffers, on plain numbers. */

/** Groups, tokens of a group, choices of a token, experts, and slots of an expert. */
export interface BufferSizes {
  readonly G: number;
  readonly T: number;
  readonly k: number;
  readonly experts: number;
  readonly capacity: number;
}

/**
 * The plan of `assign_slots`: `tokens` [G, experts, capacity] and `slots` [G, T, k].
 * @param choices the experts chosen, [G, T, k], -1 for none
 * @param order the tokens of each group in the order of service, [G, T]
 * @param room how many of an expert's slots may be filled
 */
export function fillBuffers(
  choices: ArrayLike<number>,
  order: ArrayLike<number>,
  { G, T, k, experts, capacity }: BufferSizes,
  room: number = capacity,
): { readonly tokens: Int32Array; readonly slots: Int32Array } {
  const tokens = new Int32Array(G * experts * capacity).fill(-1);
  const slots = new Int32Array(G * T * k).fill(-1);
  for (let g = 0; g < G; g++) {
    const load = new Int32Array(experts);
    for (let j = 0; j < k; j++) {
      for (let i = 0; i < T; i++) {
        const token = order[g * T + i] as number;
        const expert = choices[(g * T + token) * k + j] as number;
        const place = load[expert] ?? room;
        if (place >= room) continue;
        load[expert] = place + 1;
        tokens[(g * experts + expert) * capacity + place] = token;
        slots[(g * T + token) * k + j] = expert * capacity + place;
      }
    }
  }
  return { tokens, slots };
}
