/** Attention: as products around a softmax, or in one launch that keeps no scores. */
import { ops, type Value } from "../../../ir/index.ts";
import { plus, times, whole } from "../gemm/description.ts";
import { gemm } from "../gemm/index.ts";
import { bind, type Context, kernel, launch, type Launch, type LaunchKernel, read } from "../kernel.ts";
import type { Profile } from "../profile.ts";
import { f32, lowest } from "../wgsl.ts";
import { softmaxRows } from "./rows.ts";

/** One of the operands of attention: its buffer, elements from token to token, and those before the first head. */
interface Heads {
  readonly value: Value;
  readonly stride: number;
  readonly offset: number;
}

interface AttentionSizes {
  readonly B: number;
  readonly T: number;
  readonly S: number;
  readonly H: number;
  readonly W: number;
}

type Operands = readonly [q: Heads, k: Heads, v: Heads];
type Surroundings = Pick<Context<never, never, never>, "profile" | "scratch" | "output">;

/** In one launch where the profile wants that and the heads' vectors allow it, else in three. */
const attend = (operands: Operands, sizes: AttentionSizes, context: Surroundings): readonly Launch[] =>
  canBeOne(operands, sizes, context.profile)
    ? [inOneLaunch(operands, sizes, context)]
    : inThree(operands, sizes, context);

/** Scores, softmax in place, mix. The rows of scores are padded so that they load as vectors. */
function inThree(
  [q, k, v]: Operands,
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

/** Keys, with their values, that a workgroup holds at once. */
const held = 16;

function canBeOne(operands: Operands, { W }: AttentionSizes, { attention: way, limits }: Profile): boolean {
  const aligned = whole(W) && operands.every(({ stride, offset }) => whole(stride) && whole(offset));
  return way === "one launch" && aligned && 8 * held * W <= limits.maxComputeWorkgroupStorageSize;
}

/**
 * A thread a query: it walks the keys in their order, held in workgroup memory in parts, and keeps the largest score,
 * the sum of powers and the mix so far, scaled anew whenever a larger score comes.
 * Source: Milakov and Gimelshein 2018, arXiv 1805.02867, algorithm 3; Dao et al. 2022, arXiv 2205.14135.
 */
function inOneLaunch(
  [q, k, v]: Operands,
  { B, T, S, H, W }: AttentionSizes,
  { profile, output }: Surroundings,
): Launch {
  const threads = profile.workgroup;
  const width = W / 4;
  const stored = output(4);
  const lines = (f: (i: number) => string): string => times(width, f).join("\n");
  const start = (rows: number, { stride, offset }: Omit<Heads, "value">): string =>
    plus(`(group.y / ${H}u) * ${(rows * stride) / 4}u + (group.y % ${H}u) * ${width}u`, offset / 4);
  // What holds several of them is bound once: a plan of memory may then let the launch write beside it.
  const bound = new Map([v, k, q].map(({ value }, i) => [value, ["v", "k", "q"][i] as string]));
  const bufferOf = ({ value }: Heads): string => bound.get(value) as string;
  const fill = (tile: string, from: string, part: Heads): string => `
        ${tile}[i] = vec4f();
        if (s0 + i / ${width}u < ${S}u) { ${tile}[i] = ${bufferOf(part)}[${from}Start + (s0 + i / ${width}u) * ${part.stride / 4}u + i % ${width}u]; }`;
  return launch({
    label: "attention",
    bindings: [
      ...[...bound].toReversed().map(([value, name]) => bind(name, value, "vec4f")),
      ...stored.extra,
      stored.binding,
    ],
    workgroups: [Math.ceil(T / threads), B * H, 1],
    workgroupSize: [threads],
    module: [
      ...stored.module,
      `var<workgroup> keys: array<vec4f, ${held * width}>;`,
      `var<workgroup> values: array<vec4f, ${held * width}>;`,
    ],
    body: `
      let kStart = ${start(S, k)};
      let vStart = ${start(S, v)};
      let row = group.x * ${threads}u + lane;
      let own = ${start(T, q)} + min(row, ${T - 1}u) * ${q.stride / 4}u;
      ${lines((i) => `let q${i} = ${bufferOf(q)}[own + ${i}u] * ${f32(1 / Math.sqrt(W))};`)}
      ${lines((i) => `var o${i} = vec4f();`)}
      var largest = ${lowest};
      var total = 0.0f;
      for (var s0 = 0u; s0 < ${S}u; s0 += ${held}u) {
        for (var i = lane; i < ${held * width}u; i += ${threads}u) {${fill("keys", "k", k)}${fill("values", "v", v)}
        }
        workgroupBarrier();
        for (var j = 0u; j < min(${held}u, ${S}u - s0); j++) {
          let at = j * ${width}u;
          var score = 0.0f;
          ${lines((i) => `score += dot(q${i}, keys[at + ${i}u]);`)}
          let most = max(largest, score);
          let scale = exp(largest - most);
          let power = exp(score - most);
          total = total * scale + power;
          largest = most;
          ${lines((i) => `o${i} = o${i} * scale + power * values[at + ${i}u];`)}
        }
        workgroupBarrier();
      }
      if (row >= ${T}u) { return; }
      let to = ${start(T, { stride: H * W, offset: 0 })} + row * ${(H * W) / 4}u;
      ${lines((i) => `result[to + ${i}u] = ${stored.finish(`o${i} / total`, `to + ${i}u`)};`)}`,
  });
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
