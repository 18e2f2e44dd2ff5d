/** The keys of a configuration that routers share, by the original's names where it has them. */
import { z } from "zod";

import { capacityPolicies } from "../capacity.ts";

const policies = [...capacityPolicies.keys()] as [string, ...string[]];

/** How a configuration sizes and fills buffers. */
export interface Dispatcher {
  readonly name: "einsum" | "indices";
  readonly capacity: number | null;
  readonly capacity_factor: number | null;
  readonly capacity_ceil_or_round: "ceil" | "round";
  readonly capacity_policy: string | null;
  readonly capacity_multiple_of?: number | null | undefined;
  readonly batch_priority: boolean;
  readonly priority_by: "largest" | "sum";
  readonly bfloat16: boolean;
}

/** What can change between runs of one program; what is left out is as configured. */
export interface Knobs {
  /** Experts that each token chooses. */
  readonly k?: number;
  /** Capacity factor: slots as a multiple of an even share, turned to slots as a configuration's is. */
  readonly capacity?: number;
  /** Who is served first: tokens in order of position, or those that the configuration's `priority_by` puts first. */
  readonly priority?: "token" | "gate";
}

/** The schema of a dispatcher. */
export const dispatcher: z.ZodType<Dispatcher> = z
  .strictObject({
    /** Both name one function; it is always compiled in its index form. */
    name: z.enum(["einsum", "indices"]).default("einsum"),
    capacity: z.int().min(1).nullable().default(null),
    capacity_factor: z.number().positive().nullable().default(null),
    capacity_ceil_or_round: z.enum(["ceil", "round"]).default("ceil"),
    /** A policy of another system's, in place of `capacity_ceil_or_round`; see models/capacity.ts. */
    capacity_policy: z.enum(policies).nullable().default(null),
    /** The original's is 4, that of other policies none. */
    capacity_multiple_of: z.int().min(0).nullable().optional(),
    batch_priority: z.boolean().default(false),
    /** What batch priority serves first: the largest entry that the choice compared, or the largest sum of the gates chosen. */
    priority_by: z.enum(["largest", "sum"]).default("largest"),
    bfloat16: z.boolean().default(false),
    /** How the original lays data out over a TPU mesh, and in which precision; without meaning here. */
    partition_spec: z.unknown().optional(),
    einsum_precision: z.unknown().optional(),
  })
  .prefault({});

/** Keys of routers that may add noise. */
export const noiseKeys = (std: number): z.ZodRawShape => ({
  /** Standard deviation of the noise on the logits, times the number of experts. */
  noise_std: z.number().min(0).default(std),
  /** false: the noise is on in evaluation too. */
  deterministic: z.boolean().default(true),
});

/** Losses that a router whose tokens choose may add to training's, with the weights that a configuration gives. */
export type Loss = "importance_loss" | "load_loss" | "gshard_loss" | "z_loss";
export const losses: readonly Loss[] = ["importance_loss", "load_loss", "gshard_loss", "z_loss"];

/** Keys of routers whose tokens choose. */
export interface Selection {
  readonly num_selected_experts: number;
  readonly noise_std: number;
  readonly deterministic: boolean;
  readonly dispatcher: Dispatcher;
}

const weight = z.number().min(0);

/** The schema of keys of routers whose tokens choose, with a router's own defaults. */
export const selectionKeys = (
  choices: number,
  noise: number,
  weights: Readonly<Partial<Record<Loss, number>>>,
): z.ZodRawShape => ({
  num_selected_experts: z.int().min(1).default(choices),
  ...noiseKeys(noise),
  ...Object.fromEntries(losses.map((loss) => [`${loss}_weight`, weight.default(weights[loss] ?? 0)])),
  dispatcher,
});
