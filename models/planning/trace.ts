/** What tokens ask for: the choices of a model that drops nothing, recorded so that capacities can be planned for them. */
import { CompileError, Tensor, type WeightSource } from "../../ir/index.ts";
import { type Json, mergeConfig } from "../config.ts";
import { tokensOf } from "../grid.ts";
import type { Model } from "../model.ts";

/** The choices of one sparse block, of every image of the trace. */
export interface LayerTrace {
  readonly experts: number;
  /** The expert of each choice, i32[images, T, k], T tokens an image; -1 for a choice that does not count. */
  readonly choices: Tensor;
  /** What the output of each choice is multiplied by, f32[images, T, k]. */
  readonly weights: Tensor;
}

/** The choices of each sparse block, by its name. */
export type RoutingTrace = ReadonlyMap<string, LayerTrace>;

/** The configuration with as many slots as tokens: what a trace is recorded with, since drops change later blocks. */
export const dropless = (config: Json): Json =>
  mergeConfig(config, {
    encoder: {
      moe: {
        router: { dispatcher: { capacity_policy: "dropless", capacity: null, capacity_factor: null } },
      },
    },
  });

/** Throws M3 where a model has nothing to trace: no sparse block, or tokens that do not choose. */
export function checkTraceable({ router, blocks }: Model, name: string): void {
  if (!router || blocks.length === 0) throw new CompileError("M3", name, "has no sparse block to plan for");
  if (router.choices > 0) return;
  throw new CompileError(
    "M3",
    name,
    `has no choices to plan for: ${router.name} fills its buffers by itself`,
  );
}

/** The trace of one run of a dropless model; `outputs` are those that `routeOutputs` names, of `images` images that count. */
export function traceOf(model: Model, outputs: ReadonlyMap<string, Tensor>, images: number): RoutingTrace {
  const tokens = tokensOf(model.grid);
  return new Map(
    model.blocks.map(({ name, experts, capacity, members }) => {
      const [slots, weights] = ["slots", "weights"].map((part) => outputs.get(`${name}/${part}`)) as [
        Tensor,
        Tensor,
      ];
      const k = slots.type.shape[2] ?? 1;
      const shape = [images, tokens * members, k];
      const count = images * tokens * members * k;
      const choices = Array.from(slots.numbers().subarray(0, count), (slot) => Math.floor(slot / capacity));
      return [
        name,
        {
          experts,
          choices: Tensor.from({ dtype: "i32", shape }, choices),
          weights: Tensor.from({ dtype: "f32", shape }, weights.numbers().subarray(0, count)),
        },
      ];
    }),
  );
}

/** Traces of the same model one after the other. */
export function joinTraces(traces: readonly RoutingTrace[]): RoutingTrace {
  const [first = new Map<string, LayerTrace>()] = traces;
  const joined = (block: string, part: "choices" | "weights"): Tensor => {
    const parts = traces.map((trace) => (trace.get(block) as LayerTrace)[part]);
    const { dtype, shape } = (parts[0] as Tensor).type;
    const images = parts.reduce((sum, { type }) => sum + (type.shape[0] ?? 0), 0);
    const numbers = parts.flatMap((tensor) => Array.from(tensor.numbers()));
    return Tensor.from({ dtype, shape: [images, ...shape.slice(1)] }, numbers);
  };
  return new Map(
    [...first].map(([block, { experts }]) => [
      block,
      { experts, choices: joined(block, "choices"), weights: joined(block, "weights") },
    ]),
  );
}

/** A trace as tensors, so that a safetensors file holds it. */
export function traceTensors(trace: RoutingTrace): WeightSource {
  const tensors = new Map(
    [...trace].flatMap(([block, { experts, choices, weights }]): [string, Tensor][] => [
      [`${block}/experts`, Tensor.from({ dtype: "i32", shape: [1] }, [experts])],
      [`${block}/choices`, choices],
      [`${block}/weights`, weights],
    ]),
  );
  return {
    tensors: new Map([...tensors].map(([name, { type }]) => [name, type])),
    read: (name) => Promise.resolve(tensors.get(name) as Tensor),
    close: () => Promise.resolve(),
  };
}

/** The trace that a file's tensors are. Throws W1 naming what is missing or not of its kind. */
export async function readTrace(source: WeightSource, name: string): Promise<RoutingTrace> {
  const wrong = (message: string): CompileError =>
    new CompileError("W1", name, `is not a routing trace: ${message}`);
  const part = async (block: string, what: string, dtype: string, rank: number): Promise<Tensor> => {
    const type = source.tensors.get(`${block}/${what}`);
    if (type?.dtype !== dtype || type.shape.length !== rank) {
      throw wrong(`${block}/${what} must be ${dtype} of ${rank} axes`);
    }
    return source.read(`${block}/${what}`);
  };
  const blocks = [...source.tensors.keys()].flatMap((tensor) =>
    tensor.endsWith("/choices") ? [tensor.slice(0, -"/choices".length)] : [],
  );
  if (blocks.length === 0) throw wrong("no tensor is named <block>/choices");
  const trace = new Map<string, LayerTrace>();
  for (const block of blocks) {
    const experts = (await part(block, "experts", "i32", 1)).at(0);
    const choices = await part(block, "choices", "i32", 3);
    const weights = await part(block, "weights", "f32", 3);
    if (String(choices.type.shape) !== String(weights.type.shape)) {
      throw wrong(`${block}/choices and ${block}/weights differ in shape`);
    }
    const stray = Array.from(choices.numbers()).find((expert) => expert < -1 || expert >= experts);
    if (stray !== undefined) throw wrong(`${block}/choices has ${stray}, of ${experts} experts`);
    trace.set(block, { experts, choices, weights });
  }
  return trace;
}
