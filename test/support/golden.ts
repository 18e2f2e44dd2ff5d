/** Recorded inputs and outputs of the original implementation; see test/golden/README.md. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { type Shape, sizeOf, Tensor, type WeightSource } from "../../ir/index.ts";
import { type Json, mergeConfig } from "../../models/config.ts";
import { cut, memoryWeights } from "./weights.ts";

const folder = join(import.meta.dirname, "..", "golden");

const read = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), "utf8"));

/** The path of a golden file. */
export const goldenPath = (name: string): string => join(folder, name);

/** What a case of a golden file records. */
export interface GoldenCase {
  readonly config: Json;
  readonly logits: readonly number[];
  /** Numbers by output name, such as `encoderblock_1/importance_loss`: per group and part of a group, or one mean. */
  readonly metrics: ReadonlyMap<string, readonly number[]>;
  /** Token in each slot by output name, such as `encoderblock_5/tokens`. */
  readonly tokens: ReadonlyMap<string, readonly number[]>;
}

export interface Golden {
  readonly image: Tensor;
  readonly weights: WeightSource;
  readonly cases: ReadonlyMap<string, GoldenCase>;
}

const f32 = (shape: Shape, numbers: ArrayLike<number>): Tensor =>
  Tensor.from({ dtype: "f32", shape }, numbers);

interface TinyFile {
  readonly config: Json;
  readonly shapes: Readonly<Record<string, Shape>>;
  readonly params: Readonly<Record<string, readonly number[]>>;
  readonly input_shape: Shape;
  readonly input: readonly number[];
  readonly outputs: Readonly<
    Record<string, Readonly<Record<"logits", number[][]> & Record<"aux" | "importance" | "gshard", number[]>>>
  >;
}

const dispatcher = (patch: Json): Json => ({ encoder: { moe: { router: { dispatcher: patch } } } });

/** The patches of test/golden/README.md. */
const tinyPatches: Readonly<Record<string, Json>> = {
  "vanilla_C1.05": {},
  "bpr_C1.05": dispatcher({ batch_priority: true }),
  "vanilla_C0.4": dispatcher({ capacity_factor: 0.4 }),
  "bpr_C0.4": dispatcher({ capacity_factor: 0.4, batch_priority: true }),
  "bpr_C0.3_nomult": dispatcher({ capacity_factor: 0.3, batch_priority: true, capacity_multiple_of: null }),
  "vanilla_C0.35_nomult_round": dispatcher({
    capacity_factor: 0.35,
    capacity_multiple_of: null,
    capacity_ceil_or_round: "round",
  }),
  "k1_C1.05": { encoder: { moe: { router: { num_selected_experts: 1 } } } },
  "bf16_C1.05": dispatcher({ bfloat16: true }),
  "bpr_bf16_C0.4": dispatcher({ capacity_factor: 0.4, batch_priority: true, bfloat16: true }),
  "indices_bpr_C0.4": dispatcher({ name: "indices", capacity_factor: 0.4, batch_priority: true }),
};

/** The parameters and the input that a file holds. */
function given(file: Pick<TinyFile, "shapes" | "params" | "input_shape" | "input">): Omit<Golden, "cases"> {
  const tensors = new Map(
    Object.entries(file.params).map(([name, data]) => [name, f32(file.shapes[name]!, data)]),
  );
  return { image: f32(file.input_shape, file.input), weights: memoryWeights(tensors) };
}

export function tinyVmoe(): Golden {
  const file = read("tiny_vmoe.json") as TinyFile;
  const cases = Object.entries(file.outputs).map(([name, outputs]): [string, GoldenCase] => [
    name,
    {
      config: mergeConfig(file.config, tinyPatches[name]!),
      logits: outputs.logits.flat(),
      metrics: new Map([
        ["auxiliary_loss", outputs.aux],
        ["encoderblock_1/importance_loss", outputs.importance],
        ["encoderblock_1/gshard_loss", outputs.gshard],
      ]),
      tokens: new Map(),
    },
  ]);
  return { ...given(file), cases: new Map(cases) };
}

/** What a file records of a case: numbers of the whole model, and of each sparse block, per group where they are lists. */
type Outputs = Readonly<Record<string, Numbers | Readonly<Record<string, Numbers>>>>;
type Numbers = number | readonly Numbers[];

const flat = (numbers: Numbers): number[] =>
  typeof numbers === "number" ? [numbers] : numbers.flatMap(flat);

/** The case that `outputs` records, of all its images and groups or of the first ones. */
function caseOf(
  config: Json,
  { logits = [], ...outputs }: Outputs,
  { images, groups }: { readonly images?: number; readonly groups?: number } = {},
): GoldenCase {
  const metrics = new Map<string, number[]>();
  const tokens = new Map<string, number[]>();
  const note = (name: string, numbers: Numbers): void => {
    const into = name.endsWith("/slots") ? tokens : metrics;
    into.set(
      name.replace(/slots$/, "tokens"),
      flat(typeof numbers === "number" ? numbers : numbers.slice(0, groups)),
    );
  };
  for (const [name, value] of Object.entries(outputs)) {
    if (typeof value === "number" || Array.isArray(value)) note(name, value as Numbers);
    else for (const [metric, numbers] of Object.entries(value)) note(`${name}/${metric}`, numbers);
  }
  return { config, logits: flat((logits as Numbers[]).slice(0, images)), metrics, tokens };
}

interface RecordedFile extends Omit<TinyFile, "outputs"> {
  readonly overrides: Readonly<Record<string, Json>>;
  readonly outputs: Readonly<Record<string, Outputs>>;
}

/** A file whose cases are patches of one configuration, such as `e3.json`. */
export function recorded(name: string): Golden {
  const file = read(name) as RecordedFile;
  const cases = Object.entries(file.overrides).map(([key, patch]): [string, GoldenCase] => [
    key,
    caseOf(mergeConfig(file.config, patch), file.outputs[key]!),
  ]);
  return { ...given(file), cases: new Map(cases) };
}

interface RecipeFile {
  readonly config: Json;
  readonly recipe: {
    readonly seed: number;
    readonly rules: readonly (readonly [suffix: string, scale: number, offset: number])[];
  };
  readonly shapes: Readonly<Record<string, Shape>>;
  readonly input_shape: Shape;
  readonly outputs: Readonly<Record<string, Outputs>>;
}

/** Element i of a tensor by the recipe of test/golden/README.md, scaled and shifted. */
function byRecipe(seed: number, name: string, shape: Shape, scale: number, offset: number): Tensor {
  let hash = 2166136261;
  for (const byte of new TextEncoder().encode(`${seed}/${name}`)) hash = Math.imul(hash ^ byte, 16777619);
  const values = new Float32Array(sizeOf(shape));
  for (let i = 0; i < values.length; i++) {
    let x = (hash + i) | 0;
    x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
    x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
    x ^= x >>> 16;
    values[i] = offset + scale * ((x >>> 8) / 8388608 - 1);
  }
  return new Tensor({ dtype: "f32", shape }, values);
}

/** V-MoE-S/32 at full size; `images` of its four, which must be whole groups of two. */
export function s32(images: number): Golden {
  const file = read("s32.json") as RecipeFile;
  const { seed, rules } = file.recipe;
  const weights: WeightSource = {
    tensors: new Map(Object.entries(file.shapes).map(([name, shape]) => [name, { dtype: "f32", shape }])),
    read(name, rows) {
      const [, scale, offset] = rules.find(([suffix]) => name.endsWith(suffix))!;
      return Promise.resolve(cut(byRecipe(seed, name, file.shapes[name]!, scale, offset), rows));
    },
    close: () => Promise.resolve(),
  };
  const whole = byRecipe(seed, "input", file.input_shape, 1, 0);
  const shape = [images, ...file.input_shape.slice(1)];
  const golden = caseOf(file.config, file.outputs["vanilla_C1.05"]!, { images, groups: images / 2 });
  return {
    image: new Tensor({ dtype: "f32", shape }, whole.data.slice(0, sizeOf(shape))),
    weights,
    cases: new Map([["vanilla_C1.05", golden]]),
  };
}

interface TrainFile {
  readonly noise_shape: Shape;
  readonly noise: readonly number[];
  readonly cases: Readonly<
    Record<
      string,
      Readonly<
        Record<"logits", number[][]> & Record<"layer1" | "layer3", Record<string, number[]>> & { aux: number }
      >
    >
  >;
}

const routerPatch = (router: Json | null): Json => ({ encoder: { moe: { router } } });

/** The configuration of the tiny model with another router. */
export function tinyWith(router: Json): Json {
  const { config } = tinyVmoe().cases.get("vanilla_C1.05")!;
  return mergeConfig(mergeConfig(config, routerPatch(null)), routerPatch(router));
}

/** Training mode of the tiny model: the noise of both sparse blocks, and what came of it. */
export function tinyVmoeNoisy(): { readonly noise: Tensor; readonly golden: Golden } {
  const file = read("tiny_vmoe_train.json") as TrainFile;
  const tiny = tinyVmoe();
  const cases = Object.entries(file.cases).map(([name, outputs]): [string, GoldenCase] => {
    const metrics = [
      ["encoderblock_1", outputs.layer1] as const,
      ["encoderblock_3", outputs.layer3] as const,
    ].flatMap(([block, layer]) =>
      Object.entries(layer).map(([metric, values]) => [`${block}/${metric}`, values] as const),
    );
    const perGroup = outputs.layer1["auxiliary_loss"]!.map(
      (v, g) => v + outputs.layer3["auxiliary_loss"]![g]!,
    );
    const { config } = tiny.cases.get(name)!;
    return [
      name,
      {
        config,
        logits: outputs.logits.flat(),
        metrics: new Map([...metrics, ["auxiliary_loss", perGroup]]),
        tokens: new Map(),
      },
    ];
  });
  return { noise: f32(file.noise_shape, file.noise), golden: { ...tiny, cases: new Map(cases) } };
}
