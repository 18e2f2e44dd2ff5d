/** Random cases for the laws of routing. */
import type { Arbitrary } from "fast-check";

import { CompileError } from "../ir/index.ts";
import { type Json, mergeConfig, type Router } from "../models/index.ts";
import type { Case, CaseSizes } from "./case.ts";
import { fc } from "./fastCheck.ts";
import { route } from "./program.ts";
import { drawScores, type Pick, scoreKinds, shuffled } from "./scores.ts";

/** How cases are drawn. */
export interface CaseOptions {
  /** Options of the router that stay as they are. */
  readonly fixed: Json;
  /** For comparing ways to compute: rounding decides neither by noise nor between scores that are almost equal. */
  readonly exact: boolean;
}

/**
 * Random cases of `router`: one expert and one token, as many choices as experts, and every capacity are among them.
 * Undefined where the router refuses the sizes, whatever its options.
 */
export const cases = (router: Router, { fixed, exact }: CaseOptions): Arbitrary<Case | undefined> =>
  fc
    .record({
      G: fc.integer({ min: 1, max: 3 }),
      T: fc.integer({ min: 1, max: 9 }),
      E: fc.integer({ min: 1, max: 6 }),
      spare: fc.nat(2),
      choices: fc.integer({ min: 1, max: 6 }),
      slots: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.constantFrom("an even share", "all tokens")),
      kind: fc.constantFrom(...(exact && !router.keepsTies ? (["separated"] as const) : scoreKinds)),
      noisy: exact ? fc.constant(false) : fc.boolean(),
      stream: fc.infiniteStream(fc.nat(2 ** 20)),
    })
    .map(({ G, T, E, spare, choices, slots, kind, noisy, stream }) => {
      const pick: Pick = (n) => (stream.next().value ?? 0) % n;
      const shares = [1, 2, 3].filter((n) => T % n === 0 && E % n === 0);
      const members = pick(2) === 0 ? 1 : (shares[pick(shares.length)] ?? 1);
      const k = Math.min(choices, E / members);
      const even = slots === "an even share" ? Math.ceil((T * k) / E) : T;
      const capacity = typeof slots === "number" ? slots : even;
      const sizes = { G, T, D: E + spare, E, members };
      const options = optionsOf(router, sizes, { k, capacity, noisy, fixed }, pick);
      return (
        options && {
          ...sizes,
          options,
          x: drawScores(kind, [G, T, sizes.D], pick),
          noisy,
          seed: pick(2 ** 20),
          firstGroup: 0,
          order: shuffled(T, pick),
        }
      );
    });

interface Wanted {
  readonly k: number;
  readonly capacity: number;
  readonly noisy: boolean;
  readonly fixed: Json;
}

/** Options as wanted, or with less that is random where the router refuses these. */
function optionsOf(
  router: Router,
  sizes: CaseSizes,
  { k, capacity, noisy, fixed }: Wanted,
  pick: Pick,
): Json | undefined {
  const own = router.sample({ experts: sizes.E, choices: k }, pick);
  const dispatcher = { capacity, batch_priority: pick(2) === 1 };
  const most = { num_selected_experts: k, noise_std: noisy ? 1 : 0, dispatcher };
  // The gates of all experts may sum to 1 but for rounding, which would decide who is served first.
  const summing = {
    ...dispatcher,
    priority_by: k < sizes.E / sizes.members && pick(2) === 1 ? "sum" : "largest",
  };
  const attempts = [{ ...most, dispatcher: summing }, most, { dispatcher: { capacity } }].map(
    (more: Json): Json => {
      const known = Object.entries(more).filter(([key]) => router.keys.includes(key));
      return mergeConfig({ name: router.name, ...Object.fromEntries(known), ...own }, fixed);
    },
  );
  return attempts.find((options) => isLegal(router, sizes, options, noisy));
}

/** Whether a router takes its options, for these sizes; what else is wrong with it is for the laws to find. */
function isLegal(router: Router, sizes: CaseSizes, options: Json, noisy: boolean): boolean {
  try {
    route(router, sizes, options, noisy);
    return true;
  } catch (error) {
    return !(error instanceof CompileError && /^M[134]$/.test(error.code));
  }
}
