/** A token's norm and its choice of experts, read once: one thread a token on CPU drivers, one workgroup on GPUs. */
import { type DType, ops, type Value } from "../../../ir/index.ts";
import {
  type Binding,
  grid,
  kernel,
  launch,
  type Launch,
  type LaunchKernel,
  read,
  type Tail,
  write,
} from "../kernel.ts";
import type { Profile } from "../profile.ts";
import { block, f32, lowest, rounded, roundingModule } from "../wgsl.ts";
import { type Form, gateByWorkgroup, type GateSizes, type GateVectors } from "./gateByWorkgroup.ts";

export const normAndGate: LaunchKernel = kernel(
  ops.normAndGate,
  ({ operands, results: { items, choices, weights }, sizes, profile }) => [
    gate(
      {
        label: "norm and gate",
        operands,
        items,
        written: [write("choices", choices), write("weights", weights)],
        sizes,
      },
      profile,
    ),
  ],
);

export const normAndLogits: LaunchKernel = kernel(
  ops.normAndLogits,
  ({ operands, results: { items, logits }, sizes, profile, tail }) => [
    gate(
      {
        label: "norm and logits",
        operands,
        items,
        written: tail?.bindings ?? [write("logits", logits)],
        sizes,
        tail,
      },
      profile,
    ),
  ],
  { tail: "logits" },
);

/** What is made of tokens. */
interface Gating {
  readonly label: string;
  readonly operands: Readonly<Record<"x" | "scale" | "bias" | "kernel", Value>>;
  readonly items: Value;
  /** What is bound besides. */
  readonly written: readonly Binding[];
  readonly sizes: GateSizes;
  readonly tail?: Tail | undefined;
}

function gate({ label, operands, items, written, sizes, tail }: Gating, profile: Profile): Launch {
  const { x, scale, bias, kernel: factor } = operands;
  const vectors = { wide: sizes.E % 4 === 0, tall: sizes.D % 4 === 0 };
  const bound = (binding: Binding): Binding => ({ ...binding, element: vectors.tall ? "vec4f" : "f32" });
  const { dtype } = items.type;
  const form = (profile.lanesPerRow > 1 ? gateByWorkgroup : gateByThread)(
    dtype,
    sizes,
    vectors,
    profile,
    tail,
  );
  return launch({
    ...form,
    label,
    bindings: [
      bound(read("x", x)),
      bound(read("scale", scale)),
      bound(read("bias", bias)),
      { ...read("kernel", factor), element: vectors.wide ? "vec4f" : "f32" },
      bound(write("items", items)),
      ...written,
    ],
    module: [roundingModule(dtype, vectors.tall ? 4 : 1), ...form.module, ...(tail?.module ?? [])],
  });
}

/** Experts, in vectors or single, whose sums one pass over the token keeps in registers. */
const mostSums = 8;

/** The numbers of `v`, a vector or one of them. */
const parts = (v: string, isVector: boolean): string[] =>
  isVector ? ["x", "y", "z", "w"].map((part) => `${v}.${part}`) : [v];

/** One thread a token. Sums are added up as matrix products and norms add them up, so that the bits are theirs. */
function gateByThread(
  through: DType,
  { G, T, D, E, k, epsilon }: GateSizes,
  { wide, tall }: GateVectors,
  profile: Profile,
  tail: Tail | undefined,
): Form {
  const { workgroups, index } = grid(G * T, profile);
  const [width, columns] = [tall ? D / 4 : D, wide ? E / 4 : E];
  const sums = [...Array(mostSums + 1).keys()].findLast((n) => n > 0 && columns % n === 0) ?? 1;
  const each = [...Array(sums).keys()];
  const over = (statement: (v: string) => string): string =>
    parts("v", tall)
      .map((v) => `${statement(v)};`)
      .join(" ");
  // One by one, as matrix products add them.
  const added = (c: number): string =>
    parts("n", tall)
      .map((n, i) => `s${c} += ${n} * kernel[at + ${i * columns + c}u];`)
      .join(" ");
  const to = k !== undefined ? "gates[" : tail ? `${tail.array}[` : `logits[i * ${E}u + `;
  const entries = (c: number): string =>
    parts(`s${c}`, wide)
      .map((s, i) => `${to}${wide ? 4 : 1}u * (first + ${c}u) + ${i}u] = ${s};`)
      .join(" ");
  return {
    workgroups,
    workgroupSize: [profile.workgroup],
    module: [],
    body: `
      ${index}
      if (i >= ${G * T}u) { return; }
      let start = i * ${width}u;
      var mean = 0.0f;
      for (var d = 0u; d < ${width}u; d++) { let v = x[start + d]; ${over((v) => `mean += ${v}`)} }
      mean /= ${f32(D)};
      var variance = 0.0f;
      for (var d = 0u; d < ${width}u; d++) { let v = x[start + d] - mean; ${over((v) => `variance += ${v} * ${v}`)} }
      let factor = 1.0f / sqrt(variance / ${f32(D)} + ${f32(epsilon)});
      ${k === undefined ? "" : `var gates: array<f32, ${E}>;`}
      for (var first = 0u; first < ${columns}u; first += ${sums}u) {
        ${each.map((c) => `var s${c} = ${wide ? "vec4f" : "f32"}();`).join(" ")}
        for (var d = 0u; d < ${width}u; d++) {
          let n = (x[start + d] - mean) * factor * scale[d] + bias[d];
          if (first == 0u) { items[start + d] = ${rounded(through, "n", tall ? 4 : 1)}; }
          let at = d * ${(tall ? 4 : 1) * columns}u + first;
          ${each.map(added).join("\n          ")}
        }
        ${each.map(entries).join("\n        ")}
      }${k === undefined ? "" : choice(E, k)}
${tail ? block(6, [tail.statements("i")]) : ""}`,
  };
}

/** Statements for softmax and choice. */
const choice = (E: number, k: number): string => `
      var largest = ${lowest};
      for (var e = 0u; e < ${E}u; e++) { largest = max(largest, gates[e]); }
      var total = 0.0f;
      for (var e = 0u; e < ${E}u; e++) {
        gates[e] = exp(gates[e] - largest);
        total += gates[e];
      }
      for (var e = 0u; e < ${E}u; e++) { gates[e] /= total; }
      // Gates are compared as they are, after the softmax; of equal ones the lower expert comes first.
      for (var j = 0u; j < ${k}u; j++) {
        var best = 0u;
        var gate = -1.0f;
        for (var e = 0u; e < ${E}u; e++) {
          if (gates[e] > gate) { best = e; gate = gates[e]; }
        }
        weights[i * ${k}u + j] = gate;
        choices[i * ${k}u + j] = i32(best);
        gates[best] = -1.0f;
      }`;
