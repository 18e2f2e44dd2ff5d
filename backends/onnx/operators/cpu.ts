/**
 * Ops as ONNX Runtime's CPU engine does them best. It lays a matrix out for its kernels once, when it loads a program,
 * but the matrices of a batched product in every run: so experts stand one by one, each with weights of its own. And
 * its own attention moves heads about while it computes.
 */
import { type AnyOp, ops, type Value } from "../../../ir/index.ts";
import { type Context, elementOf, type Operator, operator } from "../operator.ts";
import { element, microsoft } from "../proto.ts";
import { entryTensor } from "../weights.ts";
import { settled } from "./elementwise.ts";
import { operators } from "./index.ts";
import { expertMlp } from "./routing.ts";
import { attention } from "./rows.ts";

const isWeight = ({ leaf }: Value): boolean => leaf?.kind === "weight";

/** Whether each entry of a value's first axis can be had apart: of a weight, or of what one op makes of weights entry by entry. */
function hasEntries(value: Value): boolean {
  const { node } = value;
  if (!node) return isWeight(value);
  const isApart = node.op.has("elementwise") || operators.get(node.op)?.entry !== undefined;
  return isApart && node.operands.every(isWeight);
}

/** The name of entry `e` of a value that has entries. */
function entryOf(value: Value, e: number, context: Context): string {
  const { node } = value;
  const own = (weight: Value): string => context.derived(entryTensor(weight, e));
  if (!node) return own(value);
  const { entry, write } = operators.get(node.op) as Operator;
  const inner = { ...context, node };
  if (entry) return entry(e, inner);
  const operands = node.op.operands.map(({ name }, i) => [name, own(node.operands[i] as Value)]);
  const [out] = write(Object.fromEntries(operands), node.sizes, inner);
  return settled(context.body, out as string, value.type.dtype);
}

const experts: Operator = operator(
  ops.expertMlp,
  ({ x, ...given }, { E, capacity, D, approximate }, context) => {
    const { body, node } = context;
    const weights = node.operands.slice(1);
    // Weights that are computed in a run have nothing that could be laid out before.
    if (!weights.every(hasEntries)) return expertMlp.write({ x, ...given }, node.sizes, context)[0] as string;
    const names = Array.from({ length: E }, (_, e) => String(e));
    const buffers = body.calls("Split", [x], names, { axis: { int: 1 }, num_outputs: { int: E } });
    const outputs = buffers.map((buffer, e) => {
      const [w1, b1, w2, b2] = weights.map((weight) => entryOf(weight, e, context));
      const affine = (v: string, w = "", b = ""): string =>
        body.call("Add", [body.call("MatMul", [v, w]), b]);
      const rows = body.call("Reshape", [buffer, body.ints([-1, D])]);
      const hidden = body.call("Gelu", [affine(rows, w1, b1)], { approximate: { text: approximate } });
      return body.call("Reshape", [affine(hidden, w2, b2), body.ints([-1, 1, capacity, D])]);
    });
    return body.call("Concat", outputs, { axis: { int: 1 } });
  },
  { since: expertMlp.since },
);

const heads: Operator = operator(ops.attention, (operands, { H, W }, context) => {
  const { body, node } = context;
  if (node.operands.some(({ type }) => elementOf[type.dtype] !== element.float))
    return attention.write(operands, node.sizes, context)[0] as string;
  const joined = [operands.q, operands.k, operands.v].map((x) =>
    body.call("Reshape", [x, body.ints([0, 0, H * W])]),
  );
  const [y = ""] = body.calls("MultiHeadAttention", joined, [""], { num_heads: { int: H } }, microsoft);
  return body.call("Reshape", [y, body.ints([0, 0, H, W])]);
});

/** The operators of ONNX Runtime's CPU engine. */
export const cpuOperators: ReadonlyMap<AnyOp, Operator> = new Map([
  ...operators,
  [experts.op, experts],
  [heads.op, heads],
]);
