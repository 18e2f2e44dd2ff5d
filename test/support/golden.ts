/** Recorded inputs and outputs of the original implementation; see test/golden/README.md. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { type Shape, sizeOf, Tensor, type WeightSource } from "../../ir/index.ts";
import { type Json, mergeConfig } from "../../models/config.ts";

const folder = join(import.meta.dirname, "..", "golden");

const read = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), "utf8"));

/** The path of a golden file. */
export const goldenPath = (name: string): string => join(folder, name);

/** What a case of a golden file records. */
export interface GoldenCase {
  readonly config: Json;
  readonly logits: readonly number[];
  /** `[G]`, where given. */
  readonly auxiliaryLoss: readonly number[];
  /** Numbers per group by output name, such as `encoderblock_1/importance_loss`. */
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

/** Entries `rows` of a tensor along its first axis. */
function cut(tensor: Tensor, rows: readonly [number, number] | undefined): Tensor {
  if (!rows) return tensor;
  const { dtype, shape } = tensor.type;
  const size = sizeOf(shape.slice(1));
  const type = { dtype, shape: [rows[1] - rows[0], ...shape.slice(1)] };
  return new Tensor(type, tensor.data.slice(rows[0] * size, rows[1] * size));
}

const fromMemory = (tensors: ReadonlyMap<string, Tensor>): WeightSource => ({
  tensors: new Map([...tensors].map(([name, tensor]) => [name, tensor.type])),
  read: (name, rows) => Promise.resolve(cut(tensors.get(name)!, rows)),
  close: () => Promise.resolve(),
});

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

export function tinyVmoe(): Golden {
  const file = read("tiny_vmoe.json") as TinyFile;
  const tensors = new Map(
    Object.entries(file.params).map(([name, data]) => [name, f32(file.shapes[name]!, data)]),
  );
  const cases = Object.entries(file.outputs).map(([name, outputs]): [string, GoldenCase] => [
    name,
    {
      config: mergeConfig(file.config, tinyPatches[name]!),
      logits: outputs.logits.flat(),
      auxiliaryLoss: outputs.aux,
      metrics: new Map([
        ["encoderblock_1/importance_loss", outputs.importance],
        ["encoderblock_1/gshard_loss", outputs.gshard],
      ]),
      tokens: new Map(),
    },
  ]);
  return { image: f32(file.input_shape, file.input), weights: fromMemory(tensors), cases: new Map(cases) };
}

interface RecipeFile {
  readonly config: Json;
  readonly recipe: {
    readonly seed: number;
    readonly rules: readonly (readonly [suffix: string, scale: number, offset: number])[];
  };
  readonly shapes: Readonly<Record<string, Shape>>;
  readonly input_shape: Shape;
  readonly outputs: Readonly<
    Record<string, Json & { readonly logits: number[][]; readonly auxiliary_loss: number[] }>
  >;
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
  const outputs = file.outputs["vanilla_C1.05"]!;
  const groups = images / 2;
  const metrics = new Map<string, number[]>();
  const tokens = new Map<string, number[]>();
  for (const [block, recorded] of Object.entries(outputs)) {
    if (!block.startsWith("encoderblock")) continue;
    for (const [name, value] of Object.entries(recorded as Record<string, number[]>)) {
      if (name === "slots")
        tokens.set(`${block}/tokens`, (value.slice(0, groups) as unknown[]).flat(2) as number[]);
      else metrics.set(`${block}/${name}`, value.slice(0, groups));
    }
  }
  const golden: GoldenCase = {
    config: file.config,
    logits: outputs.logits.slice(0, images).flat(),
    auxiliaryLoss: outputs.auxiliary_loss.slice(0, groups),
    metrics,
    tokens,
  };
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
        auxiliaryLoss: perGroup,
        metrics: new Map(metrics),
        tokens: new Map(),
      },
    ];
  });
  return { noise: f32(file.noise_shape, file.noise), golden: { ...tiny, cases: new Map(cases) } };
}
