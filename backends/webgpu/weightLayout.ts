/** How a program's weights lie on a device: joined where it only uses them side by side, packed, in strips or padded. */
import type { Graph, Value } from "../../ir/index.ts";
import { factorWeights } from "./factors.ts";
import { joinWeights, type WithJoinedWeights } from "./joinWeights.ts";
import { padWeights } from "./padWeights.ts";
import { type Profile, stripWidth } from "./profile.ts";
import { storedOf } from "./stored.ts";
import { canLieInStrips, entriesPerImage, type Strips, stripsOf } from "./strips.ts";
import { widenPacked } from "./widenPacked.ts";

/** A program on its weights as they lie on a device, and those of them that lie in strips. */
export interface LaidWeights extends WithJoinedWeights {
  readonly strips: ReadonlyMap<Value, Strips>;
}

/** The program on its weights as they lie on devices of `profile`. */
export function layWeights(given: Graph, profile: Profile): LaidWeights {
  const { graph, joins } = joinWeights(given);
  const whole = widenPacked(graph);
  const factors = factorWeights(whole);
  const strips = stripsAmong(factors, profile);
  const others = new Map([...factors].filter(([leaf]) => !strips.has(leaf)));
  return { ...padWeights({ graph: whole, joins }, others), strips };
}

/** Those of the factors that lie in strips on devices of a profile: where it has tiles for these, and images can hold them. */
function stripsAmong(factors: ReadonlyMap<Value, Value>, profile: Profile): ReadonlyMap<Value, Strips> {
  const width = stripWidth(profile);
  if (!width) return new Map();
  const laid = [...factors].flatMap(([leaf, factor]) => {
    const stored = storedOf(factor) ?? { bits: 32 };
    return canLieInStrips(factor.type, stored)
      ? [[leaf, stripsOf(factor.type, stored.bits, width)] as const]
      : [];
  });
  return new Map(laid.filter(([leaf, strips]) => entriesPerImage(leaf, strips, profile.limits) > 0));
}
