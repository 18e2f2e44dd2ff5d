/** How many slots an expert gets: the policies of the field, by name. */
import { CompileError } from "../ir/index.ts";

/** What a policy is asked: slots of each of `experts` for `tokens` of which each makes `choices`. */
export interface Demand {
  readonly tokens: number;
  readonly choices: number;
  readonly experts: number;
  /** Capacity factor: slots as a multiple of an even share. */
  readonly factor: number;
}

/** A rule for the number of slots. Evaluated in doubles, in the order that its source evaluates it. */
export interface CapacityPolicy {
  readonly name: string;
  readonly summary: string;
  readonly source: string;
  /** Before `multiple_of`; below one slot is an error of the caller's. */
  slots(demand: Demand): number;
  /** No fewer and no more slots than this, for any demand. */
  bounds(demand: Demand): readonly [least: number, most: number];
}

/** The nearest integer, ties to even, as Python's `round`. */
function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return floor + (rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? 1 : 0);
}

const share = ({ tokens, choices, experts, factor }: Demand): number => (tokens * choices * factor) / experts;

export const capacityPolicies: ReadonlyMap<string, CapacityPolicy> = new Map(
  [
    {
      name: "ceil",
      summary: "The even share times the factor, rounded up.",
      source: "google-research/vmoe, vmoe/moe.py, compute_capacity",
      slots: (demand: Demand) => Math.ceil(share(demand)),
      bounds: (demand: Demand) => [share(demand), share(demand) + 1] as const,
    },
    {
      name: "round",
      summary: "The even share times the factor, rounded half to even.",
      source: "Riquelme et al. 2021, arXiv 2106.05974, section 2.3",
      slots: (demand: Demand) => roundHalfEven(share(demand)),
      bounds: (demand: Demand) => [share(demand) - 0.5, share(demand) + 0.5] as const,
    },
    {
      name: "tutel",
      summary: "Choices times the factor times the even share of tokens rounded up, rounded down.",
      source: "Hwang et al. 2022, arXiv 2206.03382; microsoft/Tutel, tutel/impls/fast_dispatch.py",
      slots: ({ tokens, choices, experts, factor }: Demand) =>
        choices * Math.floor(factor * Math.ceil(tokens / experts)),
      bounds: (demand: Demand) =>
        [share(demand) - demand.choices, share(demand) + demand.choices * demand.factor] as const,
    },
    {
      name: "deepspeed",
      summary: "The even share times the factor, rounded up, but at least 4.",
      source:
        "Rajbhandari et al. 2022, arXiv 2201.05596; deepspeedai/DeepSpeed, deepspeed/moe/sharded_moe.py",
      slots: ({ tokens, choices, experts, factor }: Demand) =>
        Math.max(4, Math.ceil((tokens / experts) * factor * choices)),
      bounds: (demand: Demand) => [Math.max(4, share(demand) - 1), Math.max(4, share(demand) + 1)] as const,
    },
    {
      name: "gshard",
      summary: "Tokens times the factor, rounded up, times choices, over experts, rounded down.",
      source: "Lepikhin et al. 2020, arXiv 2006.16668; laekov/fastmoe, fmoe/gates/gshard_gate.py",
      slots: ({ tokens, choices, experts, factor }: Demand) =>
        Math.floor((Math.ceil(factor * tokens) * choices) / experts),
      bounds: (demand: Demand) =>
        [share(demand) - 1, share(demand) + demand.choices / demand.experts] as const,
    },
    {
      name: "megablocks",
      summary: "The even share times the factor, rounded down.",
      source: "Gale et al. 2022, arXiv 2211.15841; databricks/megablocks, megablocks/layers/moe.py",
      slots: ({ tokens, choices, experts, factor }: Demand) =>
        Math.floor((factor * choices * tokens) / experts),
      bounds: (demand: Demand) => [share(demand) - 1, share(demand) + 1] as const,
    },
    {
      name: "dropless",
      summary: "As many slots as tokens: nothing is ever dropped.",
      source: "Gale et al. 2022, arXiv 2211.15841, section 3",
      slots: ({ tokens }: Demand) => tokens,
      bounds: ({ tokens }: Demand) => [tokens, tokens] as const,
    },
  ].map((policy) => [policy.name, policy]),
);

/** A capacity as a configuration gives it. */
export interface CapacityChoice {
  /** So many slots, whatever the demand. */
  readonly capacity: number | null;
  readonly factor: number | null;
  /** The name of a policy. */
  readonly policy: string;
  /** The result is raised to a multiple of this; `null` or 0 is off. */
  readonly multipleOf: number | null;
}

/** Slots per expert and group. Throws M4 below one slot. */
export function capacityOf(
  { capacity, factor, policy, multipleOf }: CapacityChoice,
  demand: Omit<Demand, "factor">,
): number {
  if (capacity) return capacity;
  const full = { ...demand, factor: factor ?? 1 };
  const slots = capacityPolicies.get(policy)?.slots(full) ?? 0;
  if (slots < 1) {
    const { tokens, choices, experts } = demand;
    const got = `${tokens * choices} choices, ${experts} experts and a factor of ${factor} give ${slots}`;
    throw new CompileError("M4", "capacity_factor", `must give at least one slot; ${got}`);
  }
  return multipleOf ? Math.ceil(slots / multipleOf) * multipleOf : slots;
}
