/** A token's norm and its choice of experts by the threads of a workgroup, for GPUs. */
import type { DType } from "../../../ir/index.ts";
import { Exchange, smallestSubgroup } from "../exchange.ts";
import { type LaunchSpec, workgroupGrid } from "../kernel.ts";
import type { Profile } from "../profile.ts";
import { lowest, rounded } from "../wgsl.ts";
import { normOfRow } from "./norm.ts";

/** The sizes of `norm_and_gate`. */
export interface GateSizes {
  readonly G: number;
  readonly T: number;
  readonly D: number;
  readonly E: number;
  readonly k: number;
  readonly epsilon: number;
}

/** Which neighbours are vectors: experts (`wide`), and a token's entries (`tall`). */
export interface GateVectors {
  readonly wide: boolean;
  readonly tall: boolean;
}

/** The form of a launch, beside its bindings. */
export type Form = Pick<LaunchSpec, "workgroups" | "workgroupSize" | "directives" | "body"> & {
  readonly module: readonly string[];
};

/** Entries of the router's kernel, or vectors of them, that a thread has, where there are threads enough. */
const mostSteps = 16;

/** Threads of a workgroup, at most: more would wait for one another longer than they work. */
const mostThreads = 512;

/**
 * One workgroup a token: threads share its entries for the norm, and entries and experts for the product, whose sums are
 * then added up in a fixed order, the same for each expert. An expert's rank is the number of those before it.
 */
export function gateByWorkgroup(
  through: DType,
  sizes: GateSizes,
  { wide, tall }: GateVectors,
  profile: Profile,
): Form {
  const { G, T, D, E } = sizes;
  const columns = wide ? E / 4 : E;
  const { threads, split } = sharesOf(D, columns, profile);
  const exchange = new Exchange(threads, profile);
  const { workgroups, head } = workgroupGrid(G * T, "token", profile);
  // Beside the row: sums of parts, two numbers an expert, and two a thread.
  const bytes = 4 * (D + split * E + 2 * E + 2 * threads);
  const isHeld = bytes <= profile.limits.maxComputeWorkgroupStorageSize;
  const { loads, norm } = normOfRow(sizes, threads, tall ? 4 : 1, exchange, (value, at) =>
    [
      `let n = ${value}; items[start + ${at}] = ${rounded(through, "n", tall ? 4 : 1)};`,
      ...(isHeld ? held(at, tall) : []),
    ].join(" "),
  );
  const product = productOf(
    { D, columns, threads, split, type: wide ? "vec4f" : "f32" },
    isHeld ? (d) => `row[${d}]` : (d) => normed(d, tall),
  );
  // Subgroups that have a thread for each expert need no memory to choose.
  const subgroup = Math.min(smallestSubgroup(profile) ?? 0, threads);
  const sum = (p: string): string => `sums[${p} * ${columns}u + ${wide ? "e / 4u][e % 4u]" : "e]"}`;
  const isWithin = threads > 1 && E <= subgroup;
  const choice = isWithin
    ? choiceWithin(sizes, subgroup, split, sum)
    : choiceThrough(sizes, threads, split, sum);
  const body = `
        ${head.join("\n        ")}
        let start = token * ${tall ? D / 4 : D}u;${loads}
        ${product.loads}${norm}
        ${isHeld ? "workgroupBarrier();" : ""}
        ${product.sums}
        workgroupBarrier();
        ${choice}`;
  return {
    workgroups,
    workgroupSize: [threads],
    directives: exchange.directives,
    module: [
      ...exchange.module,
      ...(isHeld ? [`var<workgroup> row: array<f32, ${D}>;`] : []),
      `var<workgroup> sums: array<${wide ? "vec4f" : "f32"}, ${split * columns}>;`,
      ...(isWithin ? [] : ["powers", "gates"].map((name) => `var<workgroup> ${name}: array<f32, ${E}>;`)),
    ],
    body,
  };
}

/** The threads of a token, and among how many of them a sum is split, where there are not more columns than threads. */
function sharesOf(
  D: number,
  columns: number,
  { lanesPerRow, limits }: Profile,
): { readonly threads: number; readonly split: number } {
  const most = Math.min(mostThreads, limits.maxComputeInvocationsPerWorkgroup);
  let threads = lanesPerRow;
  while (2 * threads <= most && threads * mostSteps < D * columns) threads *= 2;
  const split = Math.max(1, Math.min(Math.floor(threads / columns), D));
  return { threads: Math.min(threads, split * columns), split };
}

/** Statements that keep `n` for all threads, the entry or vector `at` of the row. */
const held = (at: string, tall: boolean): readonly string[] =>
  tall
    ? ["x", "y", "z", "w"].map((part, i) => `row[4u * (${at}) + ${i}u] = n.${part};`)
    : [`row[${at}] = n;`];

/** WGSL for entry `d` of the row, made once more of what it was made of. */
function normed(d: string, tall: boolean): string {
  const entry = (name: string, before = ""): string =>
    tall ? `${name}[${before}${d} / 4u][${d} % 4u]` : `${name}[${before}${d}]`;
  return `((${entry("x", "start + ")} - mean) * factor * ${entry("scale")} + ${entry("bias")})`;
}

const after = (name: string, count: number): string => (count === 0 ? name : `${name} + ${count}u`);

/** A matrix [D, columns] of `type` by the threads of a workgroup. */
interface Matrix {
  readonly D: number;
  readonly columns: number;
  readonly type: string;
  readonly threads: number;
  readonly split: number;
}

/**
 * The product of the row with `kernel`, as far as one thread adds it up: number `part * columns + column` has each
 * `split`-th entry, so that neighbours load neighbours. `loads` are of what is needed of `kernel` first; `sums` leaves the
 * thread's sum in `sums`.
 */
function productOf(
  { D, columns, type, threads, split }: Matrix,
  entry: (d: string) => string,
): { readonly loads: string; readonly sums: string } {
  if (columns > threads) {
    const sums = `for (var c = lane; c < ${columns}u; c += ${threads}u) {
          var own = ${type}();
          for (var d = 0u; d < ${D}u; d++) { own += ${entry("d")} * kernel[d * ${columns}u + c]; }
          sums[c] = own;
        }`;
    return { loads: "", sums };
  }
  const steps = [...Array(Math.min(Math.ceil(D / split), mostSteps)).keys()];
  /** Whether a thread has something to do in step `s`; undefined where all have. */
  const when = (s: number): string | undefined =>
    (s + 1) * split > D ? `lane < ${(D - s * split) * columns}u` : undefined;
  const loads = steps.map((s) => {
    const from = `kernel[${after("lane", s * threads)}]`;
    return when(s) ? `var k${s} = ${type}(); if (${when(s)}) { k${s} = ${from}; }` : `let k${s} = ${from};`;
  });
  const terms = steps.map((s) => {
    const term = `own += ${entry(`d${s}`)} * k${s};`;
    return `let d${s} = ${after("part", s * split)}; ${when(s) ? `if (${when(s)}) { ${term} }` : term}`;
  });
  const first = steps.length * split;
  const others = `for (var d = ${after("part", first)}; d < ${D}u; d += ${split}u) { own += ${entry("d")} * kernel[d * ${columns}u + lane % ${columns}u]; }`;
  return {
    loads: loads.join("\n        "),
    sums: `let part = lane / ${columns}u;
        var own = ${type}();
        ${terms.join("\n        ")}
        ${first < D ? others : ""}
        sums[lane] = own;`,
  };
}

// Gates are compared as they are, after the softmax; of equal ones the lower expert comes first.

/**
 * Softmax and choice where the first subgroup, of at least `subgroup` threads, has one for each expert, or several that
 * share the last sums. All threads have an expert's logit, for the largest is among those of all; other subgroups do the same
 * for nothing.
 */
function choiceWithin(
  { E, k }: GateSizes,
  subgroup: number,
  split: number,
  sum: (p: string) => string,
): string {
  const each = Math.min(Math.floor(subgroup / E), split);
  const shared = Array.from(
    { length: each },
    (_, c) => `subgroupShuffle(logit, e${c === 0 ? "" : ` + ${c * E}u`})`,
  );
  return `
        let e = lane % ${E}u;
        var logit = 0.0f;
        for (var p = ${each === 1 ? "0u" : `lane / ${E}u % ${each}u`}; p < ${split}u; p += ${each}u) { logit += ${sum("p")}; }
        ${each > 1 ? `logit = ${shared.join(" + ")};` : ""}
        let power = select(0.0f, exp(logit - subgroupMax(logit)), lane < ${E}u);
        let gate = power / subgroupAdd(power);
        var rank = 0u;
        ${Array.from(
          { length: E },
          (_, c) =>
            `let gate${c} = subgroupBroadcast(gate, ${c}u); rank += select(0u, 1u, gate${c} > gate || (gate${c} == gate && ${c}u < lane));`,
        ).join("\n        ")}
        if (lane < ${E}u && rank < ${k}u) {
          weights[token * ${k}u + rank] = gate;
          choices[token * ${k}u + rank] = i32(lane);
        }`;
}

/** Softmax and choice through workgroup memory. */
function choiceThrough(
  { E, k }: GateSizes,
  threads: number,
  split: number,
  sum: (p: string) => string,
): string {
  const overExperts = `for (var e = lane; e < ${E}u; e += ${threads}u)`;
  return `
        ${overExperts} {
          var logit = 0.0f;
          for (var p = 0u; p < ${split}u; p++) { logit += ${sum("p")}; }
          gates[e] = logit;
        }
        workgroupBarrier();
        var largest = ${lowest};
        for (var e = 0u; e < ${E}u; e++) { largest = max(largest, gates[e]); }
        ${overExperts} { powers[e] = exp(gates[e] - largest); }
        workgroupBarrier();
        var total = 0.0f;
        for (var e = 0u; e < ${E}u; e++) { total += powers[e]; }
        ${overExperts} { gates[e] = powers[e] / total; }
        workgroupBarrier();
        ${overExperts} {
          let gate = gates[e];
          var rank = 0u;
          for (var c = 0u; c < ${E}u; c++) { rank += select(0u, 1u, gates[c] > gate || (gates[c] == gate && c < e)); }
          if (rank < ${k}u) {
            weights[token * ${k}u + rank] = gate;
            choices[token * ${k}u + rank] = i32(e);
          }
        }`;
}
