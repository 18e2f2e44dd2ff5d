/**
 * MoE layers as nodes of com.microsoft.MoE, ONNX Runtime's own op, which knows neither capacities nor orders of
 * service: it gives each token the k experts of largest probability. After the layer's experts stand k of zeros, and
 * a token's probabilities over all of them are made from its routing: a kept choice has its weight, a dropped one
 * gives its weight to an expert of zeros, so that the op chooses what the routing chose and adds nothing for drops.
 */
import { type AnyOp, CompileError, type Node, type Op, ops, type Value } from "../../../ir/index.ts";
import type { Body } from "../body.ts";
import { type Context, type Operator, operator } from "../operator.ts";
import { element, microsoft } from "../proto.ts";
import { expertsTensor } from "../weights.ts";
import { operators } from "./index.ts";

/** Logarithm of a probability that rounds to 0 beside any other; GPUs need not have infinities. */
const never = -1e4;

const refusal = (node: Node, must: string, got: string): CompileError =>
  new CompileError("O1", node.scope || node.op.name, `must ${must} for ${microsoft}.MoE; got ${got}`);

const operand = (node: Node, name: string): Value =>
  node.operands[node.op.operands.findIndex((slot) => slot.name === name)] as Value;

/** Throws O1 where the op computes something else than the `routed_mlp` in `node`. */
function check(node: Node): void {
  const { N, T, approximate, through } = node.sizes;
  if (through !== "f32")
    throw refusal(node, "leave tokens and outputs in f32", `both rounded to ${String(through)}`);
  if (approximate !== "tanh") throw refusal(node, "have GELU in its tanh form", "its erf form");
  if (N !== T)
    throw refusal(node, "dispatch its tokens themselves", `${String(N)} items for ${String(T)} tokens`);
  const parts = ["tokens", "slots", "weights"].map((name) => ({ name, value: operand(node, name) }));
  const plan = parts[0]?.value.node;
  const whole = parts.every(
    ({ name, value }) => value.node === plan && plan?.op.results[value.index]?.name === name,
  );
  if (!whole || !plan?.op.has("gates")) {
    const got = parts
      .map(({ name, value }) => `${name} by ${value.node?.op.name ?? "the caller"}`)
      .join(", ");
    throw refusal(node, "have one plan whose weights are the k largest of a token's probabilities", got);
  }
}

/**
 * The logarithms of each token's probabilities over E + k experts, [G * T, E + k]. What its choices leave of 1 is
 * spread evenly over the E others. The choices are the k largest of E probabilities, so that each other gets at most
 * (E - k) / E of the least choice: the op, too, chooses them, and its order among equals, from the last, is never asked.
 * @param slots int32 [G, T, k]
 * @param weights f32 [G, T, k]
 */
function probabilities(
  body: Body,
  { slots, weights }: { readonly slots: string; readonly weights: string },
  { E, k, capacity }: { readonly E: number; readonly k: number; readonly capacity: number },
): string {
  const f32 = (value: number): string => body.scalar(value, element.float);
  const slot = body.call("Cast", [slots], { to: { int: element.int64 } });
  const dropped = body.call("Less", [slot, body.scalar(0, element.int64)]);
  const expert = body.call("Div", [slot, body.scalar(capacity, element.int64)]);
  const zeros = body.ints(Array.from({ length: k }, (_, j) => E + j));
  const chosen = body.call("Where", [dropped, zeros, expert]);

  const total = body.call("ReduceSum", [weights, body.ints([-1])]);
  const rest = body.call("Max", [body.call("Sub", [f32(1), total]), f32(0)]);
  const least = body.call("Slice", [weights, body.ints([k - 1]), body.ints([k]), body.ints([2])]);
  // Equal but for rounding, by which the least of many choices could fall below the others.
  const share = body.call("Min", [
    body.call("Mul", [rest, f32(1 / E)]),
    body.call("Mul", [least, f32((E - k) / E)]),
  ]);
  const others = body.call("Expand", [share, body.ints([1, 1, E + k])]);
  const all = body.call("ScatterElements", [others, chosen, weights], { axis: { int: 2 } });
  const logarithms = body.call("Max", [body.call("Log", [all]), f32(never)]);
  return body.call("Reshape", [logarithms, body.ints([-1, E + k])]);
}

const routedMlp: Operator = operator(
  ops.routedMlp,
  ({ x, slots, weights, ...experts }, { E, k, capacity }, context) => {
    const { body, node } = context;
    check(node);
    const moe = [
      x,
      probabilities(body, { slots, weights }, { E, k, capacity }),
      widened("w1", true),
      widened("b1", false),
      widened("w2", true),
      widened("b2", false),
    ];
    const attributes = {
      k: { int: k },
      activation_type: { text: "gelu" },
      normalize_routing_weights: { int: 0 },
    };
    const [y = ""] = body.calls("MoE", moe, [""], attributes, microsoft);
    // ONNX Runtime 1.30 may hold y where x was, and clears it before it reads x: here x is read once more, after.
    return body.call("Where", [body.scalar(0, element.bool), x, y]);

    /** The experts' weights as the op takes them, k experts of zeros after them. */
    function widened(name: "w1" | "b1" | "w2" | "b2", transposed: boolean): string {
      const value = operand(node, name);
      if (value.leaf?.kind === "weight")
        return context.derived(expertsTensor(value, { nulls: k, transposed }));
      const swapped = { perm: { ints: [0, 2, 1] } };
      const turned = transposed ? body.call("Transpose", [experts[name]], swapped) : experts[name];
      const none = value.type.shape.map(() => 0);
      return body.call("Pad", [turned, body.ints([...none, k, ...none.slice(1)])]);
    }
  },
);

/** An op that only parts of an MoE layer are made of: where one is left, the layer has not become one op. */
const part = <S extends string>(op: Op<S>): Operator =>
  operator(op, (_operands, _sizes, { node }: Context) => {
    throw refusal(node, "be one dispatch, expert_mlp and combine by one plan", `${op.name} apart from these`);
  });

/** The operators, with MoE layers as one node each. */
export const contribOperators: ReadonlyMap<AnyOp, Operator> = new Map([
  ...operators,
  ...[routedMlp, part(ops.dispatch), part(ops.expertMlp), part(ops.combine)].map(
    (each): [AnyOp, Operator] => [each.op, each],
  ),
]);
