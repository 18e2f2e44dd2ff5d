/** How a program's weights lie on the device: joined where it only uses them side by side, packed, and padded. */
import type { Graph } from "../../ir/index.ts";
import { joinWeights, type WithJoinedWeights } from "./joinWeights.ts";
import { padWeights } from "./padWeights.ts";
import { widenPacked } from "./widenPacked.ts";

/** The program on its weights as they lie on the device. */
export function layWeights(given: Graph): WithJoinedWeights {
  const { graph, joins } = joinWeights(given);
  return padWeights({ graph: widenPacked(graph), joins });
}
