/** Activation functions. */
import { defineOp, type Op } from "../op.ts";
import { add, divide, erf, exp, multiply, tanh } from "./elementwise.ts";
import { geluOf, geluSlope } from "./numeric.ts";
import { filled, plus, times } from "./shorthand.ts";

const squashing = "x: float[...] -> y: float[...]";
const signature = 'x: float[...]; approximate: "tanh" | "none" -> y: float[...]';

export const gelu: Op<typeof signature> = defineOp({
  name: "gelu",
  summary: "x times the standard normal distribution function at x, or its approximation by tanh.",
  source: "Hendrycks and Gimpel 2016, arXiv 1606.08415, section 2",
  signature,
  traits: ["elementwise"],
  evaluate: ({ x }, { approximate }) => ({
    y: Float64Array.from(x.numbers(), (v) => geluOf(v, approximate)),
  }),
  decompose({ x }, { approximate }) {
    const cube = multiply(x, multiply(x, x));
    const bend =
      approximate === "tanh"
        ? tanh(times(add(x, times(cube, 0.044715)), geluSlope))
        : erf(times(x, Math.SQRT1_2));
    return { y: times(multiply(x, plus(bend, 1)), 0.5) };
  },
});

export const sigmoid: Op<typeof squashing> = defineOp({
  name: "sigmoid",
  summary: "1 / (1 + e to the power of -x).",
  signature: squashing,
  traits: ["elementwise"],
  evaluate: ({ x }) => ({ y: Float64Array.from(x.numbers(), (v) => 1 / (1 + Math.exp(-v))) }),
  decompose: ({ x }) => ({ y: divide(filled(1, x), plus(exp(times(x, -1)), 1)) }),
});
