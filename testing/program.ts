/** What a router makes of a case: a program, and its plan in plain numbers. */
import {
  type AnyOp,
  evaluate,
  Graph,
  input,
  ops,
  scoped,
  type Shape,
  sizeOf,
  type Sizes,
  Tensor,
  type TensorType,
  type Value,
} from "../ir/index.ts";
import {
  type Json,
  normalDraws,
  type Parameter,
  randomWeights,
  type Router,
  type RoutingPlan,
} from "../models/index.ts";
import { Parameters } from "../models/parameters.ts";
import type { Case, CaseSizes } from "./case.ts";

/** A plan, and the leaves that it is made of. */
export interface Routed {
  readonly plan: RoutingPlan;
  /** The tokens, then the noise that was asked for. */
  readonly inputs: readonly Value[];
  readonly parameters: Parameters;
}

/** The plan of `router` for tokens of these sizes. Throws what the router says of its options. */
export function route(
  router: Router,
  { G, T, D, E, members }: CaseSizes,
  options: Json,
  noisy: boolean,
): Routed {
  const parameters = new Parameters();
  const x = input("x", { dtype: "f32", shape: [G, T, D] });
  const inputs = [x];
  const noise = (shape: Shape = [G, T, E]): Value => {
    const draw = input(`noise/${inputs.length}`, { dtype: "f32", shape });
    inputs.push(draw);
    return draw;
  };
  const bound = router.bind(options, E, members);
  const given = { x, experts: E, members, parameters, noise: noisy ? noise : undefined };
  return { plan: scoped("Router", () => bound.route(given)), inputs, parameters };
}

/** A program, and what it is run on. */
export interface Program {
  readonly plan: RoutingPlan;
  /** Outputs `items`, `tokens`, `slots`, `weights`, `auxiliary_loss` and the metrics. */
  readonly graph: Graph;
  readonly inputs: ReadonlyMap<string, Tensor>;
  /** By name. */
  readonly weights: ReadonlyMap<string, Tensor>;
}

/** Outputs of a program besides those of its plan. */
type More = (routed: Routed) => Readonly<Record<string, Value>>;

/** The program in which `router` routes the tokens of `c`. */
export async function programOf(router: Router, c: Case, more: More = () => ({})): Promise<Program> {
  const routed = route(router, c, c.options, c.noisy);
  const { plan, inputs, parameters } = routed;
  const { items, tokens, slots, weights, metrics, auxiliaryLoss } = plan;
  const named = { items, tokens, slots, weights, ...Object.fromEntries(metrics) };
  const outputs = { ...named, auxiliary_loss: auxiliaryLoss, ...more(routed) };
  const values = await Promise.all(parameters.all.map((parameter) => valuesOf(parameter, c)));
  return {
    plan,
    graph: new Graph("routing", inputs, Object.entries(outputs)),
    inputs: new Map(
      inputs.map(({ leaf, type }, i) => {
        const name = leaf?.name ?? "";
        return [name, i === 0 ? Tensor.from(type, c.x) : noiseOf(name, type, c)];
      }),
    ),
    weights: new Map(parameters.all.map(({ name }, i) => [name, values[i] as Tensor])),
  };
}

/** Numbers rounded to eighths, none of them 0: sums of few of their products are exact in f32, in any order. */
export const eighths = (values: ArrayLike<number>): number[] =>
  Array.from(values, (value) => (Math.round(8 * value) || 1) / 8);

/** Noise whose draws for a group are the same whichever groups there are besides. */
function noiseOf(name: string, type: TensorType, { G, firstGroup, seed }: Case): Tensor {
  const size = sizeOf(type.shape) / G;
  const groups = Array.from({ length: G }, (_, g) =>
    eighths(normalDraws(seed, `${name}/${firstGroup + g}`, size)),
  );
  return Tensor.from(type, groups.flat());
}

/**
 * A parameter's values. A kernel from tokens to experts passes scores on as they were drawn, so that equal ones stay
 * equal; others are small, and none is without effect.
 */
async function valuesOf(parameter: Parameter, { D, E, seed }: Case): Promise<Tensor> {
  const { name, shape, init, trained } = parameter;
  if (!trained || (init.kind === "constant" && init.value !== 0))
    return randomWeights([parameter], seed).read(name);
  if (shape.length === 2 && shape[0] === D && shape[1] === E)
    return Tensor.of("f32", shape, (d, e) => (d === e ? 1 : 0));
  return Tensor.from({ dtype: "f32", shape }, eighths(normalDraws(seed, name, sizeOf(shape))));
}

/** Hidden width of an expert. */
const F = 2;

/** The output `y` of small experts behind a plan. */
export const experts: More = ({ plan: { items, tokens, slots, weights }, parameters }) => {
  const [E = 1, D = 1] = [tokens.type.shape[1], items.type.shape[2]];
  const weight = (name: string, ...shape: number[]): Value =>
    parameters.weight(name, [E, ...shape], { kind: "normal", std: 1 });
  const [w1, b1, w2, b2] = [
    weight("w1", D, F),
    weight("b1", F),
    weight("w2", F, D),
    weight("b2", D),
  ] as const;
  const outputs = ops.expertMlp(ops.dispatch(items, tokens), w1, b1, w2, b2, { approximate: "tanh" });
  return { y: ops.combine(outputs, slots, weights) };
};

/** The outputs of a program, or of another that is made of its graph, by their declared meaning. */
export const outputsOf = (
  { inputs, weights }: Pick<Program, "inputs" | "weights">,
  graph: Graph,
): Map<string, Tensor> =>
  evaluate(graph, ({ leaf }) => leaf && (leaf.kind === "input" ? inputs : weights).get(leaf.name));

/** The results of one application, on plain tensors. */
export const applied = (op: AnyOp, operands: readonly Tensor[], attrs: Sizes = {}): readonly Tensor[] =>
  op.evaluate(
    operands,
    op.sizesOf(
      operands.map(({ type }) => type),
      attrs,
    ),
  );

/** A plan in numbers. */
export interface Plan {
  readonly T: number;
  readonly k: number;
  readonly E: number;
  readonly capacity: number;
  /** Items of a group. */
  readonly N: number;
  /** Whether the items are the tokens themselves. */
  readonly ofTokens: boolean;
  /** [G, E, capacity], [G, T, k] and [G, T, k]. */
  readonly tokens: readonly number[];
  readonly slots: readonly number[];
  readonly weights: readonly number[];
  /** All that the program gives, by name. */
  readonly outputs: ReadonlyMap<string, Tensor>;
}

/** The plan that `router` makes of `c`, by its declared meaning. */
export async function planOf(router: Router, c: Case): Promise<Plan> {
  const program = await programOf(router, c);
  const outputs = outputsOf(program, program.graph);
  const numbers = (name: string): number[] => Array.from(outputs.get(name)?.numbers() ?? []);
  const { tokens, slots, items } = program.plan;
  const [, E = 0, capacity = 0] = tokens.type.shape;
  const [, T = 0, k = 0] = slots.type.shape;
  return {
    T,
    k,
    E,
    capacity,
    N: items.type.shape[1] ?? 0,
    ofTokens: items === program.graph.inputs[0],
    tokens: numbers("tokens"),
    slots: numbers("slots"),
    weights: numbers("weights"),
    outputs,
  };
}
