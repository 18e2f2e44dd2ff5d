/** Softmax and layer normalisation, over the last axis. */
import { defineOp, type Op, type Value } from "../op.ts";
import { add, divide, exp, multiply, sqrt, subtract } from "./elementwise.ts";
import { rows, softmaxOf } from "./numeric.ts";
import { reduceMax, reduceSum } from "./reduction.ts";
import { over, plus, spread } from "./shorthand.ts";

const rowwise = "x: float[..., N] -> y: float[..., N]";
const affine = "x: float[..., D], scale: float[D], bias: float[D]; epsilon: real -> y: float[..., D]";

export const softmax: Op<typeof rowwise> = defineOp({
  name: "softmax",
  summary: "exp(x) scaled to sum to 1 in each row.",
  signature: rowwise,
  evaluate: ({ x }, { N }) => ({ y: concatenated(rows(x, N).map(softmaxOf)) }),
  decompose({ x }) {
    const { shape } = x.type;
    const powers = exp(subtract(x, spread(reduceMax(x), shape)));
    return { y: divide(powers, spread(reduceSum(powers), shape)) };
  },
});

export const layerNorm: Op<typeof affine> = defineOp({
  name: "layer_norm",
  summary:
    "(x - mean) / sqrt(variance + epsilon) of each row, times scale, plus bias; the variance divides by D.",
  source: "Ba et al. 2016, arXiv 1607.06450, eq. 4",
  signature: affine,
  where: { C1: ["epsilon > 0", ({ epsilon }) => epsilon > 0] },
  sample: () => ({ epsilon: 1e-6 }),
  evaluate({ x, scale, bias }, { D, epsilon }) {
    const [gain, shift] = [scale.numbers(), bias.numbers()];
    const normal = rows(x, D).map((row) => {
      const mean = row.reduce((sum, v) => sum + v, 0) / D;
      const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / D;
      const factor = 1 / Math.sqrt(variance + epsilon);
      return row.map((v, d) => (v - mean) * factor * (gain[d] as number) + (shift[d] as number));
    });
    return { y: concatenated(normal) };
  },
  decompose({ x, scale, bias }, { D, epsilon }) {
    const { shape } = x.type;
    const mean = (v: Value): Value => over(reduceSum(v), D);
    const centred = subtract(x, spread(mean(x), shape));
    const deviation = sqrt(plus(mean(multiply(centred, centred)), epsilon));
    const normal = divide(centred, spread(deviation, shape));
    return { y: add(multiply(normal, spread(scale, shape)), spread(bias, shape)) };
  },
});

function concatenated(parts: readonly Float64Array[]): Float64Array {
  const all = new Float64Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
