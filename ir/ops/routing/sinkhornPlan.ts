/** Sinkhorn's algorithm: a balanced soft assignment of tokens to experts. */
import { defineOp, type Op, type Value } from "../../op.ts";
import { matmul } from "../contraction.ts";
import { add, divide, exp, log, multiply, subtract } from "../elementwise.ts";
import { constant, transpose } from "../movement.ts";
import { softmax } from "../normalization.ts";
import { logSumExp, rows } from "../numeric.ts";
import { reduceMax, reduceSum } from "../reduction.ts";
import { spread } from "../shorthand.ts";

const signature = "logits: f32[G, T, E]; iterations -> plan: f32[G, T, E]";

export const sinkhornPlan: Op<typeof signature> = defineOp({
  name: "sinkhorn_plan",
  summary:
    "diag(u) K diag(v) of each group, K = exp(logits): from u = 1, in each iteration v = (T / E) / (K^T u) and then u = 1 / (K v). Rows sum to 1 exactly, columns to T / E in the limit.",
  source: "Cuturi 2013, arXiv 1306.0895, algorithm 1; Peyre and Cuturi 2019, arXiv 1803.00567, section 4.2",
  signature,
  where: { C1: ["iterations >= 1", ({ iterations }) => iterations >= 1] },

  evaluate({ logits }, { G, T, E, iterations }) {
    // In logarithms, where no logits are too far apart.
    const plan: number[] = [];
    const all = rows(logits, E);
    for (let g = 0; g < G; g++) {
      const group = all.slice(g * T, (g + 1) * T);
      let u = new Float64Array(T);
      let v = new Float64Array(E);
      for (let i = 0; i < iterations; i++) {
        v = v.map(
          (_, e) => Math.log(T / E) - logSumExp(u.map((scale, t) => scale + (group[t]?.[e] as number))),
        );
        u = u.map((_, t) => -logSumExp(v.map((scale, e) => scale + (group[t]?.[e] as number))));
      }
      for (const [t, row] of group.entries()) {
        for (const [e, logit] of row.entries())
          plan.push(Math.exp((u[t] as number) + logit + (v[e] as number)));
      }
    }
    return { plan };
  },

  decompose({ logits }, { G, T, E, iterations }) {
    const swap = { perm: [0, 2, 1] };
    // The first iteration as two softmaxes, over tokens and over experts: exp(logits) itself may overflow.
    const columns = transpose(logits, swap);
    const kernel = softmax(transpose(logSoftmax(columns), swap));
    const turned = transpose(kernel, swap);
    const numbers = (value: number, length: number): Value =>
      constant({ value, to: "f32", shape: [G, length, 1] });
    let u = numbers(1, T);
    let v = numbers(1, E);
    for (let i = 1; i < iterations; i++) {
      v = divide(numbers(T / E, E), matmul(turned, u));
      u = divide(numbers(1, T), matmul(kernel, v));
    }
    const across = spread(transpose(v, swap), [G, T, E]);
    return { plan: multiply(multiply(kernel, spread(u, [G, T, E])), across) };
  },
});

function logSoftmax(x: Value): Value {
  const { shape } = x.type;
  const largest = reduceMax(x);
  const total = reduceSum(exp(subtract(x, spread(largest, shape))));
  return subtract(x, spread(add(log(total), largest), shape));
}
