/** The layers of a Vision Transformer, with the original's parameter names and initial values. */
import { ops, scoped, type Value } from "../ir/index.ts";
import { constant, gaussian, lecunNormal, xavierUniform } from "./init.ts";
import type { Parameters } from "./parameters.ts";

/** LayerNorm over the last axis. */
export const layerNorm = (name: string, x: Value, epsilon: number, parameters: Parameters): Value =>
  scoped(name, () => {
    const width = [x.type.shape.at(-1) ?? 1];
    const scale = parameters.weight("scale", width, constant(1));
    return ops.layerNorm(x, scale, parameters.weight("bias", width, constant(0)), { epsilon });
  });

/** Dense layer on the last axis, to `width` features; zero kernel on request. */
export const dense = (
  name: string,
  x: Value,
  width: number,
  parameters: Parameters,
  head?: { readonly bias: number; readonly zero: boolean },
): Value =>
  scoped(name, () => {
    const D = x.type.shape.at(-1) ?? 1;
    const kernel = parameters.weight("kernel", [D, width], head?.zero ? constant(0) : lecunNormal(D));
    return ops.linear(x, kernel, parameters.weight("bias", [width], constant(head?.bias ?? 0)));
  });

/** The hidden layer of an MLP. */
export interface Hidden {
  readonly width: number;
  /** GELU by its approximation with tanh, or exact. */
  readonly gelu: "tanh" | "none";
}

/** The MLP of a block: [..., D] to [..., D] through `width` features. */
export const mlp = (x: Value, { width, gelu }: Hidden, parameters: Parameters): Value => {
  const D = x.type.shape.at(-1) ?? 1;
  const layer = (name: string, v: Value, from: number, to: number): Value =>
    scoped(name, () => {
      const kernel = parameters.weight("kernel", [from, to], xavierUniform(from, to));
      return ops.linear(v, kernel, parameters.weight("bias", [to], gaussian(1e-6)));
    });
  return layer("Dense_1", ops.gelu(layer("Dense_0", x, D, width), { approximate: gelu }), width, D);
};

/** Multi-head attention of `query` [B, T, D] over `keys` [B, S, D]; `norm` normalises queries and keys per head. */
export function attention(
  query: Value,
  keys: Value,
  { heads, norm, epsilon }: { readonly heads: number; readonly norm: boolean; readonly epsilon: number },
  parameters: Parameters,
): Value {
  const D = query.type.shape[2] ?? 1;
  const W = D / heads;
  const project = (name: string, x: Value): Value =>
    scoped(name, () => {
      const kernel = parameters.weight("kernel", [D, heads, W], xavierUniform(D, D), { joined: 1 });
      const bias = parameters.weight("bias", [heads, W], constant(0), { joined: 0 });
      const [B = 1, T = 1] = x.type.shape;
      const y = ops.linear(x, ops.reshape(kernel, { shape: [D, D] }), ops.reshape(bias, { shape: [D] }));
      return ops.reshape(y, { shape: [B, T, heads, W] });
    });
  const normed = (name: string, x: Value): Value =>
    norm
      ? scoped(name, () => {
          const zero = ops.constant({ value: 0, to: "f32", shape: [W] });
          return ops.layerNorm(x, parameters.weight("scale", [W], constant(1)), zero, { epsilon });
        })
      : x;
  const q = normed("query_ln", project("query", query));
  const k = normed("key_ln", project("key", keys));
  const mixed = ops.attention(q, k, project("value", keys));
  return scoped("out", () => {
    const kernel = parameters.weight("kernel", [heads, W, D], xavierUniform(D, D), { joined: 0 });
    const bias = parameters.weight("bias", [D], constant(0));
    return ops.linear(
      ops.reshape(mixed, { shape: query.type.shape }),
      ops.reshape(kernel, { shape: [D, D] }),
      bias,
    );
  });
}
