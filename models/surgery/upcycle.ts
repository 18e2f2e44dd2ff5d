/** Sparse upcycling: a dense model's MLPs as the experts of a sparse one. Source: Komatsuzaki et al. 2022, arXiv 2212.05055. */
import { sizeOf, Tensor, type WeightSource } from "../../ir/index.ts";
import { type Json, mergeConfig, parseConfig } from "../config.ts";
import { tokensOf } from "../grid.ts";
import { constant, type Parameter, randomWeights } from "../init.ts";
import { routedBy } from "../routed.ts";
import { sparsity } from "../sparse.ts";
import { kept, type Made, madeOf } from "../weights/made.ts";
import { fitted, modelOf, refuse, type SurgeryOptions, type Trained } from "./trained.ts";

export interface UpcycleOptions extends SurgeryOptions {
  readonly experts: number;
  /** The blocks that become sparse, from 0. */
  readonly blocks: readonly number[];
  /** A router by name; V-MoE's by default, with the paper's two choices and capacities. */
  readonly router?: string;
  /** Whether combine weights sum to 1 for each token that is served: the model then starts as the dense one was. */
  readonly renormalise?: boolean;
  /** Of the router's parameters, drawn as the original initialises them; 0 by default. */
  readonly seed?: number;
  /** Keys of the configuration, merged in last. */
  readonly overrides?: readonly Json[];
}

/**
 * The sparse model of a dense one: every expert of a chosen block is its MLP, everything else is kept, routers are drawn.
 * Shared experts start without effect. Lazy: a tensor is read when it is asked for, in the dtype of the file. Throws U1
 * for a model that is sparse already, W2 for weights that do not fit, M1 to M6 for what cannot be built.
 */
export function upcycled(dense: Trained, options: UpcycleOptions): Trained {
  const { experts, blocks, router, renormalise = false, seed = 0, overrides = [], routers = [] } = options;
  if (parseConfig(dense.config).encoder.moe)
    refuse("upcycle", `needs a dense model; ${dense.name} is sparse already`);
  const {
    model: { grid },
    weights,
  } = fitted(dense, options);
  const layers = [...new Set(blocks)].toSorted((a, b) => a - b);
  const moe = sparsity({ experts, layers, tokens: tokensOf(grid), bfloat16: false });
  const sparse = mergeConfig(dense.config, {
    encoder: { moe: { ...moe, ...(renormalise && { renormalise }) } },
  });
  const config = overrides.reduce(
    mergeConfig,
    router === undefined ? sparse : routedBy(sparse, router, routers),
  );
  const { parameters } = modelOf({ config, weights }, options);
  const fresh = randomWeights(parameters.map(withoutEffect), seed);
  const tensors = parameters
    .filter(({ trained }) => trained)
    .map(({ name, shape }): [string, Made] => {
      if (weights.tensors.has(name)) return [name, kept(weights, name)];
      const own = name.replace("/Moe/Mlp/", "/Mlp/");
      return [name, own === name ? kept(fresh, name) : copies(weights, own, shape[0] ?? 1)];
    });
  return { ...dense, config, weights: madeOf(new Map(tensors), weights) };
}

/** A shared expert's last layer starts at zero. */
const withoutEffect = (parameter: Parameter): Parameter =>
  parameter.name.includes("/Moe/Shared/Dense_1/") ? { ...parameter, init: constant(0) } : parameter;

/** The tensor `name` so many times, along a new first axis. */
function copies(source: WeightSource, name: string, times: number): Made {
  const { type } = kept(source, name);
  return {
    type: { ...type, shape: [times, ...type.shape] },
    async read([start, stop] = [0, times]) {
      const { data } = await source.read(name);
      const size = sizeOf(type.shape);
      const all = Tensor.zeros({ ...type, shape: [stop - start, ...type.shape] });
      for (let i = 0; i < stop - start; i++) all.data.set(data, i * size);
      return all;
    },
  };
}
