/** A token's norm and its choice of experts, read once: one thread a token on CPU drivers, one workgroup on GPUs. */
import { ops, type Value } from "../../../ir/index.ts";
import { type Binding, grid, kernel, launch, type LaunchKernel, read, write } from "../kernel.ts";
import type { Profile } from "../profile.ts";
import { acrossLanes, f32, lowest, rounded, roundingModule, sharedLoop } from "../wgsl.ts";

interface Sizes {
  readonly G: number;
  readonly T: number;
  readonly D: number;
  readonly E: number;
  readonly k: number;
  readonly epsilon: number;
}

export const normAndGate: LaunchKernel = kernel(
  ops.normAndGate,
  ({ operands: { x, scale, bias, kernel: factor }, results, sizes, profile }) => {
    const { items, choices, weights } = results;
    const { D, E } = sizes;
    const isShared = profile.lanesPerRow > 1;
    const [wide, tall] = [!isShared && E % 4 === 0, !isShared && D % 4 === 0];
    const element = tall ? "vec4f" : "f32";
    const bound = (binding: Binding): Binding => ({ ...binding, element });
    const { dtype } = items.type;
    return [
      launch({
        label: "norm and gate",
        bindings: [
          bound(read("x", x)),
          bound(read("scale", scale)),
          bound(read("bias", bias)),
          { ...read("kernel", factor), element: wide ? "vec4f" : "f32" },
          bound(write("items", items)),
          write("choices", choices),
          write("weights", weights),
        ],
        ...(isShared ? byWorkgroup(items, sizes, profile) : byThread(items, sizes, { wide, tall }, profile)),
        module: [roundingModule(dtype, tall ? 4 : 1), ...(isShared ? [shared(sizes, profile)] : [])].join(
          "\n",
        ),
      }),
    ];
  },
);

type Form = Pick<Parameters<typeof launch>[0], "workgroups" | "workgroupSize" | "body">;

/** Experts, in vectors or single, whose sums one pass over the token keeps in registers. */
const mostSums = 8;

/** The numbers of `v`, a vector or one of them. */
const parts = (v: string, isVector: boolean): string[] =>
  isVector ? ["x", "y", "z", "w"].map((part) => `${v}.${part}`) : [v];

/** One thread a token. Sums are added up as matrix products and norms add them up, so that the bits are theirs. */
function byThread(
  { type }: Value,
  { G, T, D, E, k, epsilon }: Sizes,
  { wide, tall }: { readonly wide: boolean; readonly tall: boolean },
  profile: Profile,
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
  const entries = (c: number): string =>
    parts(`s${c}`, wide)
      .map((s, i) => `gates[${wide ? 4 : 1}u * (first + ${c}u) + ${i}u] = ${s};`)
      .join(" ");
  return {
    workgroups,
    workgroupSize: [profile.workgroup],
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
      var gates: array<f32, ${E}>;
      for (var first = 0u; first < ${columns}u; first += ${sums}u) {
        ${each.map((c) => `var s${c} = ${wide ? "vec4f" : "f32"}();`).join(" ")}
        for (var d = 0u; d < ${width}u; d++) {
          let n = (x[start + d] - mean) * factor * scale[d] + bias[d];
          if (first == 0u) { items[start + d] = ${rounded(type.dtype, "n", tall ? 4 : 1)}; }
          let at = d * ${(tall ? 4 : 1) * columns}u + first;
          ${each.map(added).join("\n          ")}
        }
        ${each.map(entries).join("\n        ")}
      }
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
      }`,
  };
}

const plus = (a: string, b: string): string => `${a} + ${b}`;

/** Threads to which the sum of one expert is split. */
const splitOf = (E: number, lanes: number): number => Math.max(1, Math.floor(lanes / E));

const shared = ({ E }: Sizes, { lanesPerRow: lanes }: Profile): string => `
var<workgroup> partial: array<f32, ${lanes}>;
var<workgroup> sums: array<f32, ${splitOf(E, lanes) * E}>;
var<workgroup> gates: array<f32, ${E}>;`;

/**
 * One workgroup a token: threads share its entries for the norm, and entries and experts for the product, whose sums are
 * then added up in a fixed order. An expert's rank is the number of those before it.
 */
function byWorkgroup({ type }: Value, { G, T, D, E, k, epsilon }: Sizes, profile: Profile): Form {
  const lanes = profile.lanesPerRow;
  const rows = G * T;
  const down = Math.ceil(rows / profile.limits.maxComputeWorkgroupsPerDimension);
  const across = Math.ceil(rows / down);
  const split = splitOf(E, lanes);
  const overExperts = `for (var e = lane; e < ${E}u; e += ${lanes}u)`;
  return {
    workgroups: [across, down, 1],
    workgroupSize: [lanes],
    body: `
        ${down === 1 ? "let row = group.x;" : `let row = group.x + group.y * ${across}u;\n        if (row >= ${rows}u) { return; }`}
        let start = row * ${D}u;
        var mean = 0.0f;
        ${sharedLoop(D, lanes)} { mean += x[start + j]; }${acrossLanes("mean", lanes, plus)}
        mean /= ${f32(D)};
        var variance = 0.0f;
        ${sharedLoop(D, lanes)} { let centred = x[start + j] - mean; variance += centred * centred; }${acrossLanes("variance", lanes, plus)}
        let factor = 1.0f / sqrt(variance / ${f32(D)} + ${f32(epsilon)});
        ${sharedLoop(D, lanes)} {
          let n = (x[start + j] - mean) * factor * scale[j] + bias[j];
          items[start + j] = ${rounded(type.dtype, "n")};
        }
        for (var q = lane; q < ${split * E}u; q += ${lanes}u) {
          var sum = 0.0f;
          for (var d = q / ${E}u; d < ${D}u; d += ${split}u) {
            let n = (x[start + d] - mean) * factor * scale[d] + bias[d];
            sum += n * kernel[d * ${E}u + q % ${E}u];
          }
          sums[q] = sum;
        }
        workgroupBarrier();
        ${overExperts} {
          var logit = 0.0f;
          for (var q = e; q < ${split * E}u; q += ${E}u) { logit += sums[q]; }
          gates[e] = logit;
        }
        workgroupBarrier();
        var largest = ${lowest};
        for (var e = 0u; e < ${E}u; e++) { largest = max(largest, gates[e]); }
        ${overExperts} { sums[e] = exp(gates[e] - largest); }
        workgroupBarrier();
        var total = 0.0f;
        for (var e = 0u; e < ${E}u; e++) { total += sums[e]; }
        ${overExperts} { gates[e] = sums[e] / total; }
        workgroupBarrier();
        // Gates are compared as they are, after the softmax; of equal ones the lower expert comes first.
        ${overExperts} {
          let gate = gates[e];
          var rank = 0u;
          for (var c = 0u; c < ${E}u; c++) { rank += select(0u, 1u, gates[c] > gate || (gates[c] == gate && c < e)); }
          if (rank < ${k}u) {
            weights[row * ${k}u + rank] = gate;
            choices[row * ${k}u + rank] = i32(e);
          }
        }`,
  };
}
