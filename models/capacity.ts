/** How many slots an expert gets. */
import { CompileError } from "../ir/index.ts";

/** Either `capacity` slots, or `factor` times an even share, rounded. */
export interface CapacityPolicy {
  readonly capacity: number | null;
  readonly factor: number | null;
  readonly rounding: "ceil" | "round";
  /** The result is raised to a multiple of this; `null` or 0 is off. */
  readonly multipleOf: number | null;
}

/** The nearest integer, ties to even, as Python's `round`. */
function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return floor + (rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? 1 : 0);
}

/**
 * Slots per expert and group, for `choices` = tokens of the group times choices of a token, among `experts`.
 * In doubles and in the order choices * factor / experts, as the original. Throws M4 below one slot.
 * Source: google-research/vmoe, vmoe/moe.py, compute_capacity; the paper's is `round` with no multiple.
 */
export function capacityOf(
  { capacity, factor, rounding, multipleOf }: CapacityPolicy,
  choices: number,
  experts: number,
): number {
  if (capacity) return capacity;
  const share = (choices * (factor ?? 1)) / experts;
  const slots = rounding === "ceil" ? Math.ceil(share) : roundHalfEven(share);
  if (slots < 1) {
    const got = `${choices} choices, ${experts} experts and a factor of ${factor} give ${slots}`;
    throw new CompileError("M4", "capacity_factor", `must give at least one slot; ${got}`);
  }
  return multipleOf ? Math.ceil(slots / multipleOf) * multipleOf : slots;
}
