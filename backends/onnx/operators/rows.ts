/** Ops over the last axis, matrix products, and attention. */
import { ops } from "../../../ir/index.ts";
import { elementOf, type Operator, operator } from "../operator.ts";
import { element } from "../proto.ts";

export const reduceSum: Operator = operator(ops.reduceSum, ({ x }, _, { body }) =>
  body.call("ReduceSum", [x, body.ints([-1])]),
);

export const reduceMax: Operator = operator(
  ops.reduceMax,
  ({ x }, _, { body }) => body.call("ReduceMax", [x, body.ints([-1])]),
  { moves: true, since: 18 },
);

export const cumsum: Operator = operator(ops.cumsum, ({ x }, _, { body }) =>
  body.call("CumSum", [x, body.scalar(-1, element.int64)]),
);

export const topK: Operator = operator(
  ops.topK,
  ({ x }, { k }, { body }) => {
    const [values = "", indices = ""] = body.calls("TopK", [x, body.ints([k])], ["values", "indices"]);
    return { values, indices: body.call("Cast", [indices], { to: { int: element.int32 } }) };
  },
  { moves: true },
);

export const softmax: Operator = operator(ops.softmax, ({ x }, _, { body }) =>
  body.call("Softmax", [x], { axis: { int: -1 } }),
);

export const layerNorm: Operator = operator(
  ops.layerNorm,
  ({ x, scale, bias }, { epsilon }, { body }) =>
    body.call("LayerNormalization", [x, scale, bias], { axis: { int: -1 }, epsilon: { float: epsilon } }),
  { since: 17 },
);

export const matmul: Operator = operator(ops.matmul, ({ x, y }, _, { body }) => body.call("MatMul", [x, y]));

export const linear: Operator = operator(ops.linear, ({ x, w, b }, _, { body }) =>
  body.call("Add", [body.call("MatMul", [x, w]), b]),
);

export const attention: Operator = operator(ops.attention, ({ q, k, v }, { W }, { body, node }) => {
  const heads = (x: string, ...perm: number[]): string =>
    body.call("Transpose", [x], { perm: { ints: perm } });
  const held = elementOf[node.results[0]?.type.dtype ?? "f32"];
  const queries = body.call("Mul", [heads(q, 0, 2, 1, 3), body.scalar(1 / Math.sqrt(W), held)]);
  const scores = body.call("MatMul", [queries, heads(k, 0, 2, 3, 1)]);
  const shares = body.call("Softmax", [scores], { axis: { int: -1 } });
  return heads(body.call("MatMul", [shares, heads(v, 0, 2, 1, 3)]), 0, 2, 1, 3);
});
