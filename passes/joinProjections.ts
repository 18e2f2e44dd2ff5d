/** Rules that make one product of the queries, keys and values of the same tokens. */
import { ops, type Value } from "../ir/index.ts";
import { type Rule, rule } from "./rewrite.ts";

const { attention, concat, linear, reshape, selfAttention } = ops;

const sideBySide = (parts: readonly [Value, Value, Value], axis: number): Value =>
  concat(concat(parts[0], parts[1], { axis }), parts[2], { axis });

export const joinProjections: readonly Rule[] = [
  // attention(x Wq + bq, x Wk + bk, x Wv + bv) = self_attention(x [Wq Wk Wv] + [bq bk bv])
  rule({
    name: "one-projection-of-tokens",
    given:
      "x: float[B, T, D], wq: float[D, F], bq: float[F], wk: float[D, F], bk: float[F], wv: float[D, F], bv: float[F]; heads: ints",
    from({ x, wq, bq, wk, bk, wv, bv, heads }) {
      const project = (w: Value, b: Value): Value => reshape(linear(x, w, b), { shape: heads });
      return [attention(project(wq, bq), project(wk, bk), project(wv, bv))];
    },
    to({ x, wq, bq, wk, bk, wv, bv, heads: [, , heads = 1, width = 1] }) {
      const qkv = linear(x, sideBySide([wq, wk, wv], 1), sideBySide([bq, bk, bv], 0));
      return [selfAttention(qkv, { heads, width })];
    },
    when: ({ x, heads: [B, T] }) => x.type.shape[0] === B && x.type.shape[1] === T,
  }),
];
