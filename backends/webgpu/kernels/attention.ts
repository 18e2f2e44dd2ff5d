/** Attention: as products around a softmax, or in one launch that keeps no scores. */
import { ops, type Value } from "../../../ir/index.ts";
import { whole } from "../gemm/description.ts";
import { gemm } from "../gemm/index.ts";
import { bind, type Context, kernel, type Launch, type LaunchKernel, read } from "../kernel.ts";
import { f32, plus } from "../wgsl.ts";
import {
  attentionBlocksFor,
  type AttentionOperands,
  type AttentionSizes,
  flashAttention,
  type Heads,
} from "./flashAttention.ts";
import { softmaxRows } from "./rows.ts";

type Surroundings = Pick<Context<never, never, never>, "profile" | "scratch" | "output">;

/** In one launch where the profile wants that and the heads' vectors allow it, else in three. */
function attend(
  operands: AttentionOperands,
  sizes: AttentionSizes,
  context: Surroundings,
): readonly Launch[] {
  const { profile } = context;
  const aligned = whole(sizes.W) && operands.every(({ stride, offset }) => whole(stride) && whole(offset));
  const blocks =
    aligned && profile.attention === "one launch" ? attentionBlocksFor(sizes, profile) : undefined;
  return blocks
    ? [flashAttention(operands, sizes, context.output, blocks)]
    : inThree(operands, sizes, context);
}

/** Scores, softmax in place, mix. The rows of scores are padded so that they load as vectors. */
function inThree(
  [q, k, v]: AttentionOperands,
  { B, T, S, H, W }: AttentionSizes,
  { profile, scratch, output }: Surroundings,
): readonly Launch[] {
  const stride = Math.ceil(S / 4) * 4;
  const scores = scratch("vec4f", (B * H * T * stride) / 4);
  // Batch group.z is head group.z % H of image group.z / H.
  const head = (
    rows: number,
    { stride: step, offset }: Omit<Heads, "value">,
  ): { stride: number; start: (unit: number) => string; aligned: boolean } => ({
    stride: step,
    start: (unit) =>
      plus(`(group.z / ${H}u) * ${(rows * step) / unit}u + (group.z % ${H}u) * ${W / unit}u`, offset / unit),
    aligned: whole(W) && whole(offset),
  });
  const ofScores = { stride, start: (unit: number): string => `group.z * ${(T * stride) / unit}u` };
  const scoresOf = (
    name: string,
    access: "read" | "read_write",
  ): { name: string; resource: typeof scores; access: typeof access } => ({ name, resource: scores, access });
  return [
    ...gemm(
      {
        label: "attention scores",
        M: T,
        N: S,
        K: W,
        batch: B * H,
        left: { binding: read("left", q.value), ...head(T, q) },
        right: { binding: read("right", k.value), ...head(S, k), transposed: true },
        result: { binding: scoresOf("result", "read_write"), ...ofScores },
        finish: (sum) => `(${sum}) * ${f32(1 / Math.sqrt(W))}`,
      },
      profile,
      scratch,
    ),
    softmaxRows(undefined, bind("y", scores, "f32", "read_write"), "f32", [B * H * T, S, stride], profile),
    ...gemm(
      {
        label: "attention mix",
        M: T,
        N: W,
        K: S,
        batch: B * H,
        left: { binding: scoresOf("left", "read"), ...ofScores },
        right: { binding: read("right", v.value), ...head(S, v) },
        result: { output, ...head(T, { stride: H * W, offset: 0 }) },
      },
      profile,
      scratch,
    ),
  ];
}

export const attention: LaunchKernel = kernel(
  ops.attention,
  ({ operands: { q, k, v }, sizes, ...context }) => {
    const heads = (value: Value): Heads => ({ value, stride: sizes.H * sizes.W, offset: 0 });
    return attend([heads(q), heads(k), heads(v)], sizes, context);
  },
  { epilogue: 4 },
);

export const selfAttention: LaunchKernel = kernel(
  ops.selfAttention,
  ({ operands: { qkv }, sizes: { B, T, F, heads, width }, ...context }) => {
    const part = (n: number): Heads => ({ value: qkv, stride: F, offset: n * heads * width });
    return attend([part(0), part(1), part(2)], { B, T, S: T, H: heads, W: width }, context);
  },
  { epilogue: 4 },
);
