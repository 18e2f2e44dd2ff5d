/** Tokens' norm and their choice of experts by the threads of a workgroup, for GPUs. */
import type { DType } from "../../../ir/index.ts";
import { Exchange, smallestSubgroup } from "../exchange.ts";
import { type LaunchSpec, type Tail, workgroupGrid } from "../kernel.ts";
import { isPowerOfTwo, type Profile } from "../profile.ts";
import { block as indentedBy, f32s, guarded, lowest, named, partOf, plus, rounded, times } from "../wgsl.ts";
import { normOfRows } from "./norm.ts";

/** The sizes of `norm_and_gate`; of `norm_and_logits`, which leaves the choice to others, where there is no k. */
export interface GateSizes {
  readonly G: number;
  readonly T: number;
  readonly D: number;
  readonly E: number;
  readonly k?: number;
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

/** Entries of the router's kernel, or vectors of them, that a thread has, where fewer threads than `manyThreads` are enough. */
const fewSteps = 8;

/** As many as a thread loads before it needs them; it has no more where `mostThreads` are enough. */
const mostSteps = 16;

/** Threads of a workgroup from which on more of them cost more than longer sums. */
const manyThreads = 256;

/** Threads of a workgroup, at most: more would wait for one another longer than they work. */
const mostThreads = 512;

/** Tokens of a workgroup, where it has several: each is another use of what a thread loaded of the router's kernel. */
const tokenCounts = [4, 2] as const;

/** Entries of a router's kernel whose loads take longer than a core's only workgroup waits: then one for each core is enough. */
const manyEntries = 8192;

/** How the threads of a workgroup share its tokens. */
interface Shares {
  readonly tokens: 1 | 2 | 4;
  readonly threads: number;
  /** Experts, or vectors of them. */
  readonly columns: number;
  /** Threads that have the same column, and so among how many a sum is split, where there are not more columns than threads. */
  readonly split: number;
  /** Neighbours whose sums for a column become one by subgroup operations; `columns` where none do. */
  readonly block: number;
  /** Sums of an expert that are left for workgroup memory. */
  readonly parts: number;
  /** Whether workgroup memory has room for the rows. */
  readonly isHeld: boolean;
}

/**
 * One workgroup for one token or a few: threads share their entries for the norm, and entries and experts for the product,
 * whose sums are then added up in a fixed order, the same for each expert and token. An expert's rank is the number of those
 * before it.
 */
export function gateByWorkgroup(
  through: DType,
  sizes: GateSizes,
  { wide, tall }: GateVectors,
  profile: Profile,
  tail: Tail | undefined,
): Form {
  const { G, T, D, E } = sizes;
  const shares = sharesOf(sizes, wide, profile);
  const { tokens, threads, columns, parts, isHeld } = shares;
  const exchange = new Exchange(threads, profile);
  const { workgroups, head } = workgroupGrid(
    Math.ceil((G * T) / tokens),
    tokens === 1 ? "token" : "team",
    profile,
  );
  const width = tall ? D / 4 : D;
  const starts = times(tokens, (t) => named("start", t));
  // Where there are not tokens enough, the last one is several, and the same every time.
  const place = (t: number): string =>
    t === 0 ? "token" : (G * T) % tokens === 0 ? `(token + ${t}u)` : `min(token + ${t}u, ${G * T - 1}u)`;
  const { loads, norm } = normOfRows(sizes, threads, tall ? 4 : 1, exchange, starts, (values, at) =>
    [
      ...values.map((value, t) => `let ${named("n", t)} = ${value};`),
      ...values.map(
        (_, t) => `items[${starts[t]} + ${at}] = ${rounded(through, named("n", t), tall ? 4 : 1)};`,
      ),
      ...(isHeld ? held(at, tall, tokens) : []),
    ].join(" "),
  );
  const type = wide ? "vec4f" : "f32";
  const product = productOf(D, type, shares, isHeld ? (d) => `row[${d}]` : (d) => normed(d, tall));
  // Subgroups that have a thread for each expert need no memory to choose.
  const subgroup = Math.min(smallestSubgroup(profile) ?? 0, threads);
  const sum = (t: string, p: string): string => {
    const from = tokens === 1 ? p : `(${t} * ${parts}u + ${p})`;
    return `sums[${from} * ${columns}u + ${wide ? "e / 4u][e % 4u]" : "e]"}`;
  };
  const { k } = sizes;
  const isWithin = threads > 1 && E <= subgroup;
  const choice =
    k === undefined
      ? written(sizes, shares, sum, tail)
      : isWithin
        ? choiceWithin({ ...sizes, k }, subgroup, shares, sum)
        : choiceThrough({ ...sizes, k }, shares, sum);
  const names = k === undefined ? (tail ? ["gates"] : []) : isWithin ? [] : ["powers", "gates"];
  const body = `
        ${head.join("\n        ")}
        ${tokens === 1 ? "" : `let token = team * ${tokens}u;`}
        ${starts.map((start, t) => `let ${start} = ${place(t)} * ${width}u;`).join(" ")}${loads}
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
      ...(isHeld ? [`var<workgroup> row: array<${f32s(tokens)}, ${D}>;`] : []),
      `var<workgroup> sums: array<${type}, ${tokens * parts * columns}>;`,
      ...names.map((name) => `var<workgroup> ${name}: array<f32, ${tokens * E}>;`),
    ],
    body,
  };
}

/**
 * As many tokens a workgroup as leave two workgroups for each of the device's cores, or one, and fit into workgroup memory;
 * one where threads are not a power of two, since subgroups may not be full then.
 */
function sharesOf({ G, T, D, E }: GateSizes, wide: boolean, profile: Profile): Shares {
  const { lanesPerRow, limits, minWorkgroups } = profile;
  const columns = wide ? E / 4 : E;
  const most = Math.min(mostThreads, limits.maxComputeInvocationsPerWorkgroup);
  let threads = lanesPerRow;
  while (2 * threads <= most && threads * (threads < manyThreads ? fewSteps : mostSteps) < D * columns) {
    threads *= 2;
  }
  const split = Math.max(1, Math.min(Math.floor(threads / columns), D));
  threads = Math.min(threads, split * columns);
  const smallest = smallestSubgroup(profile) ?? 1;
  const subgroup = Math.min(smallest, threads);
  const areAligned = isPowerOfTwo(subgroup) && isPowerOfTwo(columns) && threads % subgroup === 0;
  const block = areAligned ? Math.max(subgroup, columns) : columns;
  const parts = Math.ceil(threads / block);
  // Rows, sums of parts, two numbers an expert, and two for each thread or subgroup that tells others of its own.
  const bytes = 4 * (D + parts * E + 2 * E + 2 * Math.ceil(threads / smallest));
  const fits = (tokens: number): boolean => tokens * bytes <= limits.maxComputeWorkgroupStorageSize;
  const mayBeSeveral = columns <= threads && isPowerOfTwo(threads);
  const enough = D * E < manyEntries ? minWorkgroups : minWorkgroups / 2;
  const isEnough = (n: number): boolean => n <= G * T && Math.ceil((G * T) / n) >= enough;
  const tokens = (mayBeSeveral && tokenCounts.find((n) => isEnough(n) && fits(n))) || 1;
  return { tokens, threads, columns, split, block, parts, isHeld: fits(tokens) };
}

/** Statements that keep `n` of all tokens for all threads, the entry or vector `at` of the rows. */
function held(at: string, tall: boolean, tokens: 1 | 2 | 4): readonly string[] {
  const entry = (part: string): string => {
    const entries = times(tokens, (t) => named("n", t) + part);
    return tokens === 1 ? entries.join() : `${f32s(tokens)}(${entries.join(", ")})`;
  };
  return tall
    ? [".x", ".y", ".z", ".w"].map((part, i) => `row[4u * (${at}) + ${i}u] = ${entry(part)};`)
    : [`row[${at}] = ${entry("")};`];
}

/** WGSL for entry `d` of the row, made once more of what it was made of. */
function normed(d: string, tall: boolean): string {
  const entry = (name: string, before = ""): string =>
    tall ? `${name}[${before}(${d}) / 4u][(${d}) % 4u]` : `${name}[${before}${d}]`;
  return `((${entry("x", "start + ")} - mean) * factor * ${entry("scale")} + ${entry("bias")})`;
}

/**
 * The product of the rows with `kernel`, whose entries or vectors are of `type`: thread `part * columns + column` adds up each
 * `split`-th entry, so that neighbours load neighbours, and then neighbours add up theirs. `loads` are of what is needed of
 * `kernel` first; `sums` leaves in `sums` what each block of threads has, token after token.
 */
function productOf(
  D: number,
  type: "f32" | "vec4f",
  { tokens, threads, columns, split, block, parts }: Shares,
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
  const each = times(tokens, (t) => named("own", t));
  /** Statements that add entry `d` of each token times `factor`. */
  const added = (d: string, factor: string): string =>
    tokens === 1
      ? `own += ${entry(d)} * ${factor};`
      : `let r = ${entry(d)}; let k = ${factor}; ${each.map((sum, t) => `${sum} += ${partOf("r", t, tokens)} * k;`).join(" ")}`;
  const steps = [...Array(Math.min(Math.ceil(D / split), mostSteps)).keys()];
  /** Whether a thread has something to do in step `s`; undefined where all have. */
  const when = (s: number): string | undefined =>
    (s + 1) * split > D ? `lane < ${(D - s * split) * columns}u` : undefined;
  const loads = steps.map((s) => {
    const from = `kernel[${plus("lane", s * threads)}]`;
    return when(s) ? `var k${s} = ${type}(); if (${when(s)}) { k${s} = ${from}; }` : `let k${s} = ${from};`;
  });
  const terms = steps.map((s) => {
    const term = added(plus("part", s * split), `k${s}`);
    return when(s) ? `if (${when(s)}) { ${term} }` : tokens === 1 ? term : `{ ${term} }`;
  });
  const first = steps.length * split;
  const others = `for (var d = ${plus("part", first)}; d < ${D}u; d += ${split}u) { ${added("d", `kernel[d * ${columns}u + lane % ${columns}u]`)} }`;
  const together = addedUp(each, columns, block);
  const ownPart = block === columns ? "part" : `lane / ${block}u`;
  const stores = together.left
    .map(([t, sum]) => {
      const before = tokens === 1 ? "" : `(${t}) * ${parts}u + `;
      return `sums[(${before}${ownPart}) * ${columns}u + lane % ${columns}u] = ${sum};`;
    })
    .join(" ");
  return {
    loads: loads.join("\n        "),
    sums: `let part = lane / ${columns}u;
        ${each.map((sum) => `var ${sum} = ${type}();`).join(" ")}
        ${terms.join("\n        ")}
        ${first < D ? others : ""}
        ${together.statements.join("\n        ")}
        ${together.lanes === block ? stores : `if (lane % ${block}u < ${together.lanes}u) { ${stores} }`}`,
  };
}

/**
 * Statements by which the threads of a block add up `sums`, a variable for each token, of their column. First each thread
 * leaves half of its tokens to another, which leaves it the others; so `left` are variables, each with the token that it is of,
 * in the first `lanes` threads of a block.
 */
function addedUp(
  sums: readonly string[],
  columns: number,
  block: number,
): {
  readonly statements: readonly string[];
  readonly left: readonly (readonly [token: string, sum: string])[];
  readonly lanes: number;
} {
  const statements: string[] = [];
  let left = sums;
  let lanes = columns;
  for (let offset = columns; offset < block; offset *= 2) {
    if (left.length === 1) {
      statements.push(`${left[0]} += subgroupShuffleXor(${left[0]}, ${offset}u);`);
      continue;
    }
    const odd = `(lane & ${offset}u) != 0u`;
    const pairs = left.flatMap((sum, i) => (i % 2 === 0 ? [[sum, left[i + 1]] as const] : []));
    for (const [sum, next] of pairs) {
      const [kept, given] = [`select(${sum}, ${next}, ${odd})`, `select(${next}, ${sum}, ${odd})`];
      statements.push(`${sum} = ${kept} + subgroupShuffleXor(${given}, ${offset}u);`);
    }
    left = pairs.map(([sum]) => sum);
    lanes *= 2;
  }
  const shared = lanes / columns;
  const token = (i: number): string =>
    plus(shared === 1 ? "0u" : `lane / ${columns}u % ${shared}u`, i * shared);
  return { statements, left: left.map((sum, i) => [token(i), sum]), lanes };
}

/** A loop over the tokens' experts, by a thread for each where there are as many, that adds up the `logit` of each. */
function overLogits(
  E: number,
  { tokens, threads, parts }: Shares,
  sum: (t: string, p: string) => string,
  statement: string,
): string {
  const [t, e] = tokens === 1 ? ["0u", "i"] : [`i / ${E}u`, `i % ${E}u`];
  return `for (var i = lane; i < ${tokens * E}u; i += ${threads}u) {
          let e = ${e};
          var logit = 0.0f;
          for (var p = 0u; p < ${parts}u; p++) { logit += ${sum(t, "p")}; }
          ${statement}
        }`;
}

/** Statements that write the logits; or by which a thread for each token does with them what `tail` says. */
function written(
  { G, T, E }: GateSizes,
  shares: Shares,
  sum: (t: string, p: string) => string,
  tail: Tail | undefined,
): string {
  const { tokens } = shares;
  const isThere = (t: string): string | undefined =>
    (G * T) % tokens === 0 ? undefined : `token + ${t} < ${G * T}u`;
  if (!tail) {
    const store = `logits[token * ${E}u + i] = logit;`;
    return overLogits(E, shares, sum, guarded(isThere(`i / ${E}u`), store));
  }
  return `${overLogits(E, shares, sum, "gates[i] = logit;")}
        workgroupBarrier();
        if (${[`lane < ${tokens}u`, isThere("lane") ?? []].flat().join(" && ")}) {
          for (var e = 0u; e < ${E}u; e++) { ${tail.array}[e] = gates[lane * ${E}u + e]; }
${indentedBy(10, [tail.statements("token + lane")])}
        }`;
}

// Gates are compared as they are, after the softmax; of equal ones the lower expert comes first.

/**
 * Softmax and choice where a subgroup, of at least `subgroup` threads, has one for each expert, or several that share the last
 * sums; all threads have an expert's logit, for the largest is among those of all. Subgroups take one token after the other;
 * those that are left over do the same for nothing.
 */
function choiceWithin(
  { G, T, E, k }: Required<GateSizes>,
  subgroup: number,
  { tokens, threads, parts }: Shares,
  sum: (t: string, p: string) => string,
): string {
  const each = Math.min(Math.floor(subgroup / E), parts);
  const shared = times(each, (c) => `subgroupShuffle(logit, ${plus("e", c * E)})`);
  const steps = Math.ceil(parts / each);
  const thread = tokens === 1 ? "lane" : "member";
  const conditions = [
    `${thread} < ${E}u`,
    ...(tokens === 1 ? [] : [`t < ${tokens}u`]),
    ...((G * T) % tokens === 0 ? [] : [`token + t < ${G * T}u`]),
    `rank < ${k}u`,
  ];
  // A constant number of steps lets all loads be at once.
  const choice = `
        let e = ${thread} % ${E}u;
        var logit = 0.0f;
        for (var step = 0u; step < ${steps}u; step++) {
          let p = ${each === 1 ? "step" : `${thread} / ${E}u % ${each}u + step * ${each}u`};
          ${parts % each === 0 ? "" : `if (p < ${parts}u) `}{ logit += ${sum(`(t % ${tokens}u)`, "p")}; }
        }
        ${each > 1 ? `logit = ${shared.join(" + ")};` : ""}
        let power = select(0.0f, exp(logit - subgroupMax(logit)), ${thread} < ${E}u);
        let gate = power / subgroupAdd(power);
        var rank = 0u;
        ${times(
          E,
          (c) =>
            `let gate${c} = subgroupBroadcast(gate, ${c}u); rank += select(0u, 1u, gate${c} > gate || (gate${c} == gate && ${c}u < ${thread}));`,
        ).join("\n        ")}
        if (${conditions.join(" && ")}) {
          let at = ${tokens === 1 ? "token" : "(token + t)"} * ${k}u + rank;
          weights[at] = gate;
          choices[at] = i32(${thread});
        }`;
  if (tokens === 1) return choice;
  return `for (var turn = 0u; turn < ${tokens}u; turn += max(1u, ${threads}u / members)) {
        let t = turn + lane / members;${choice}
        }`;
}

/** Softmax and choice through workgroup memory, by a thread for each token's expert where there are as many. */
function choiceThrough(
  { G, T, E, k }: Required<GateSizes>,
  shares: Shares,
  sum: (t: string, p: string) => string,
): string {
  const { tokens, threads } = shares;
  const overGates = `for (var i = lane; i < ${tokens * E}u; i += ${threads}u)`;
  const [t, e, first] = tokens === 1 ? ["0u", "i", "0u"] : [`i / ${E}u`, `i % ${E}u`, `i / ${E}u * ${E}u`];
  const overExperts = `for (var c = ${first}; c < ${first} + ${E}u; c++)`;
  const isThere = (G * T) % tokens === 0 ? "" : ` && token + ${t} < ${G * T}u`;
  return `
        ${overLogits(E, shares, sum, "gates[i] = logit;")}
        workgroupBarrier();
        ${overGates} {
          var largest = ${lowest};
          ${overExperts} { largest = max(largest, gates[c]); }
          powers[i] = exp(gates[i] - largest);
        }
        workgroupBarrier();
        ${overGates} {
          var total = 0.0f;
          ${overExperts} { total += powers[c]; }
          gates[i] = powers[i] / total;
        }
        workgroupBarrier();
        ${overGates} {
          let gate = gates[i];
          var rank = 0u;
          ${overExperts} { rank += select(0u, 1u, gates[c] > gate || (gates[c] == gate && c < i)); }
          if (rank < ${k}u${isThere}) {
            let at = (token${tokens === 1 ? "" : ` + ${t}`}) * ${k}u + rank;
            weights[at] = gate;
            choices[at] = i32(${e});
          }
        }`;
}
