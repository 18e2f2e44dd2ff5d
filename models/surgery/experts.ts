/** Some experts of a model, in any order and as often as they are named; its routers with them. */
import { CompileError, type Shape } from "../../ir/index.ts";
import { type Json, mergeConfig, parseConfig } from "../config.ts";
import { kept, type Made, madeOf } from "../weights/made.ts";
import { fitted, modelOf, picked, refuse, type SurgeryOptions, type Trained } from "./trained.ts";

/**
 * The model whose experts are `experts` of `trained`'s, in every sparse block alike. A router keeps what it has learned of
 * each, so that one named twice is chosen twice as often; of its choices, a token makes as many as there are experts left,
 * if fewer. Throws U1 for an expert that is not there and for a router of which no one axis is that of experts.
 */
export function withExperts(
  trained: Trained,
  experts: readonly number[],
  options: SurgeryOptions = {},
): Trained {
  const { config } = trained;
  const { moe } = parseConfig(config).encoder;
  if (!moe) return refuse("experts", `are what ${trained.name} has none of: its model is dense`);
  const { num_experts: E } = moe;
  const stray = experts.find((expert) => !(expert >= 0 && expert < E));
  if (experts.length === 0 || stray !== undefined)
    return refuse("experts", `must be some of 0 to ${E - 1}; got ${stray ?? "none"}`);
  const { model, weights } = fitted(trained, options);
  const { parameters, router } = model;
  const twice = modelOf({ config: withCount(config, 2 * E), weights }, options);
  const shapes = new Map(twice.parameters.map(({ name, shape }) => [name, shape]));
  const tensors = parameters
    .filter((parameter) => parameter.trained)
    .map(({ name, shape }): [string, Made] => {
      const axis = axisOf(name, shape, shapes.get(name) ?? shape, E);
      return [name, axis === undefined ? kept(weights, name) : picked(weights, name, axis, experts)];
    });
  const choices = Math.min(router?.choices ?? 0, experts.length);
  const fewer = choices > 0 && choices !== router?.choices && { num_selected_experts: choices };
  const changed = withCount(config, experts.length, fewer || {});
  return { ...trained, config: changed, weights: madeOf(new Map(tensors), weights) };
}

const withCount = (config: Json, num_experts: number, router: Json = {}): Json =>
  mergeConfig(config, { encoder: { moe: { num_experts, router } } });

/** The axis of the experts: the one of E entries that grows with them; undefined where none does. */
function axisOf(name: string, shape: Shape, twice: Shape, E: number): number | undefined {
  const grown = shape.flatMap((size, axis) => (size === twice[axis] ? [] : [axis]));
  const [axis] = grown;
  if (axis === undefined) return undefined;
  if (grown.length === 1 && shape[axis] === E) return axis;
  const got = `[${shape.join(", ")}] of ${E}, [${twice.join(", ")}] of ${2 * E}`;
  throw new CompileError("U1", name, `must have one axis of ${E} experts to pick them from; it is ${got}`);
}
