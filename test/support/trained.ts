/** Small trained models in memory, and what they answer. */
import { reference } from "../../backends/reference/index.ts";
import { sizeOf, Tensor } from "../../ir/index.ts";
import {
  createModel,
  type Json,
  type ModelOptions,
  normalDraws,
  probing,
  randomWeights,
  type Trained,
} from "../../models/index.ts";
import { matchWeights } from "../../models/weights/match.ts";
import { memoryWeights } from "./weights.ts";

/** Of three pictures; the grid is no square. */
export const imageSize: readonly [number, number] = [8, 12];
const size = { batch: 3, imageSize };

/** A dense model of a few small blocks. */
export const denseConfig = (layers = 2, more: Json = {}): Json => ({
  num_classes: 5,
  patch_size: [4, 4],
  hidden_size: 8,
  representation_size: 6,
  encoder: { num_layers: layers, mlp_dim: 7, num_heads: 2 },
  ...more,
});

/** Weights of every parameter of a model, none of them without effect; `change` replaces some by name. */
export async function trainedOf(
  config: Json,
  seed = 0,
  change: (name: string, tensor: Tensor) => Tensor = (_, tensor) => tensor,
): Promise<Trained> {
  const parameters = probing(createModel(config, size).parameters).filter(({ trained }) => trained);
  const source = randomWeights(parameters, seed);
  const tensors = new Map<string, Tensor>();
  for (const { name } of parameters) tensors.set(name, change(name, await source.read(name)));
  return { config, weights: memoryWeights(tensors), name: "trained" };
}

/** The outputs of a model for three random pictures, by name. */
export async function answers(
  { config, weights, name }: Trained,
  outputs: readonly string[] = ["logits"],
  options: ModelOptions = {},
): Promise<Map<string, number[]>> {
  const { graph, parameters } = createModel(config, { ...size, ...options });
  const engine = await reference.open();
  const program = await engine.compile(graph, matchWeights(parameters, weights, name), { outputs });
  const { type } = graph.inputs[0]!;
  const image = new Tensor(type, normalDraws(1, "image", sizeOf(type.shape)));
  const results = await program.run(new Map([["image", image]]));
  return new Map([...results].map(([output, tensor]) => [output, Array.from(tensor.numbers())]));
}

/** Largest difference of two lists as a share of the largest magnitude. */
export function distance(a: readonly number[] = [], b: readonly number[] = []): number {
  const scale = Math.max(1e-30, ...b.map(Math.abs));
  return a.length === b.length ? Math.max(...a.map((v, i) => Math.abs(v - b[i]!))) / scale : Number.NaN;
}

/** Every tensor of a model as numbers, by name. */
export async function numbersOf({ weights }: Trained): Promise<Map<string, readonly number[]>> {
  const all = new Map<string, readonly number[]>();
  for (const name of weights.tensors.keys()) all.set(name, Array.from((await weights.read(name)).numbers()));
  return all;
}
