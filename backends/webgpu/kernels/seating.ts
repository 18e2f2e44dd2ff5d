/**
 * Who sits where, in one launch: a choice's place is the number of choices of its expert that are served before it, counted
 * by one thread on CPU drivers, by several on GPUs. Nothing is exchanged between workgroups: each counts for itself what it
 * needs of the others, with integers, so that the result depends on no scheduling.
 */
import type { Value } from "../../../ir/index.ts";
import { smallestSubgroup } from "../exchange.ts";
import { bind, launch, type Launch, type LaunchSpec, type Resource, type Scratch, write } from "../kernel.ts";
import type { Profile } from "../profile.ts";

/** What is seated, and by which limits. */
export interface Seating {
  readonly sizes: {
    readonly G: number;
    readonly T: number;
    readonly k: number;
    readonly experts: number;
    readonly capacity: number;
  };
  /** The experts chosen, i32[G, T, k]. */
  readonly choices: Resource;
  /** Of which tokens of largest first entry are served first, f32[G, T, width]; by position when undefined. */
  readonly urgency: { readonly resource: Resource; readonly width: number } | undefined;
  /** `limits` of `assign_slots_within`; all choices, all slots and `urgency` when undefined. */
  readonly limits: Resource | undefined;
  readonly tokens: Value;
  readonly slots: Value;
  /** The kept choices of all groups as rows, expert by expert; where they are wanted. */
  readonly rows: ExpertRows | undefined;
}

/** The kept choices, expert by expert, as rows; and the rows in tiles of one expert each. */
export interface ExpertRows {
  /** Source row, group * T + token, of each row. */
  readonly sources: Scratch;
  /** Row of each choice of [G, T, k]; `noRow` of one that is dropped. */
  readonly places: Scratch;
  /** (expert, first row, rows, 0) of each tile; no rows in those left over. */
  readonly list: Scratch;
  readonly height: number;
  readonly bound: number;
}

export const noRow = "0xffffffffu";

/** Counters of one workgroup at a time: 4 KiB. */
const mostCounters = 1024;

/** Threads of a workgroup: enough that few workgroups count the same. */
const mostThreads = 256;

/** Threads that share the count before one choice, at most. */
const mostLanes = 32;

/** Workgroups that a device has use for: more of them would count the same only. */
const mostWorkgroups = 512;

/** The launch that seats all choices. O(G T k + T k) steps of a thread, each shared where threads share a choice. */
export function seat(seating: Seating, profile: Profile): Launch {
  const { choices, urgency, limits, tokens, slots, rows } = seating;
  return launch({
    label: rows ? "seat tokens, list rows" : "seat tokens",
    bindings: [
      bind("choices", choices, "i32"),
      ...(urgency ? [bind("urgency", urgency.resource, "f32")] : []),
      ...(limits ? [bind("limits", limits, "i32")] : []),
      write("tokens", tokens),
      write("slots", slots),
      ...(rows
        ? [
            bind("sources", rows.sources, "u32", "read_write"),
            bind("places", rows.places, "u32", "read_write"),
            bind("tiles", rows.list, "vec4u", "read_write"),
          ]
        : []),
    ],
    ...(profile.lanesPerRow > 1 ? seatTogether : seatAlone)(seating, countingOf(seating), profile),
  });
}

type Form = Pick<LaunchSpec, "workgroups" | "workgroupSize" | "directives" | "module" | "body">;

/** How many groups are counted, and in rounds of how many. */
interface Counting {
  readonly counted: number;
  readonly round: number;
}

function countingOf({ sizes: { G, experts: E }, rows }: Seating): Counting {
  // Without rows, other groups do not matter.
  const counted = rows ? G : 1;
  return { counted, round: Math.min(counted, Math.max(1, Math.floor(mostCounters / E))) };
}

const countersOf = ({ sizes: { experts: E }, rows }: Seating, { round }: Counting): string => `
var<workgroup> counts: array<atomic<u32>, ${round * E}>;
var<workgroup> own: array<u32, ${E}>;
${rows ? `var<workgroup> total: array<u32, ${E}>;\nvar<workgroup> first: array<u32, ${E}>;\n` : ""}`;

/** What the statements of both forms begin with: the limits in force. */
const limitsOf = ({ sizes: { k, capacity }, limits }: Seating): string => `
      ${limits ? `let most = u32(clamp(limits[0], 0, ${k}));` : `const most = ${k}u;`}
      ${limits ? `let room = u32(clamp(limits[1], 0, ${capacity}));` : `const room = ${capacity}u;`}`;

/** Statements that leave no token in the slots of group `group.y` that nobody takes; `stride` threads share them. */
const emptied = ({ sizes: { experts: E, capacity } }: Seating, stride: number): string => `
      for (var slot = id.x; slot < ${E * capacity}u; slot += ${stride}u) {
        if (slot % ${capacity}u >= own[slot / ${capacity}u]) { tokens[buffers + slot] = -1; }
      }`;

/** WGSL for how urgent the token `t` of the group is; undefined where tokens are served by position. */
const urgencyOf = ({ sizes: { T }, urgency }: Seating, t: string): string | undefined =>
  urgency && `urgency[(group.y * ${T}u + ${t}) * ${urgency.width}u]`;

/** One thread a choice. */
function seatAlone(seating: Seating, counting: Counting, profile: Profile): Form {
  const { sizes, rows } = seating;
  const { G, T, k, experts: E, capacity } = sizes;
  const { maxComputeInvocationsPerWorkgroup } = profile.limits;
  const threads = Math.min(Math.ceil((T * k) / 8) * 8, mostThreads, maxComputeInvocationsPerWorkgroup);
  const across = Math.ceil((T * k) / threads);
  const subgroup = Math.min(smallestSubgroup(profile) ?? 1, threads, 8);
  return {
    workgroups: [across, G, 1],
    workgroupSize: [threads],
    directives: subgroup > 1 ? ["enable subgroups;"] : [],
    module: countersOf(seating, counting),
    body: `${limitsOf(seating)}
      ${countChoices(seating, counting, threads)}
      let base = group.y * ${T * k}u;
      let buffers = group.y * ${E * capacity}u;${emptied(seating, across * threads)}
      ${rows ? listRows(E, threads, rows) : ""}
      let i = ${(T * k) % threads === 0 ? "id.x" : `min(id.x, ${T * k - 1}u)`};
${choiceOf(seating)}
      var count = 0u;${countAhead(seating, "0u", subgroup, true)}
      if (id.x >= ${T * k}u) { return; }
      let place = select(room, count, expert >= 0 && mine < most);
${seated(seating, "let row = first[expert] + place;")}`,
  };
}

/** Statements that say what choice `i` of the group is. */
function choiceOf(seating: Seating): string {
  const { k } = seating.sizes;
  const urgent = urgencyOf(seating, "token");
  return `
      let token = i / ${k}u;
      let mine = i % ${k}u;
      let expert = choices[base + i];
      ${urgent ? `let urgent = ${urgent};` : ""}`;
}

/** Statements that seat the choice at `place`, where there is room; `row` defines `row`, its row among those of all experts. */
function seated({ sizes: { T, capacity }, rows }: Seating, row: string): string {
  return `
      let kept = place < room;
      slots[base + i] = select(-1, expert * ${capacity} + i32(place), kept);
      ${rows ? `places[base + i] = ${noRow};` : ""}
      if (kept) {
        tokens[buffers + u32(expert) * ${capacity}u + place] = i32(token);
        ${rows ? `${row}\n        places[base + i] = row;\n        sources[row] = group.y * ${T}u + token;` : ""}
      }`;
}

/**
 * Statements that add to `count` the choices of `expert` that are served before choice `mine` of `token`: of each token those
 * before that choice's place, and that at the same place where the token is served first. A thread counts every `step`th
 * token from `begin` on; or all, of which `step` threads of a subgroup load one each for the others.
 */
function countAhead(seating: Seating, begin: string, step: number, isShared = false): string {
  const { T, k } = seating.sizes;
  const subgroup = isShared ? step : 1;
  const theirs = urgencyOf(seating, "there");
  const from = (name: string, j: number): string =>
    subgroup === 1 ? name : `subgroupBroadcast(${name}, ${j}u)`;
  const each = (line: (j: number) => string): string =>
    Array.from({ length: subgroup }, (_, j) => line(j)).join("\n          ");
  const loaded = `choices[base + there * ${k}u + c]`;
  const chosen = T % subgroup === 0 ? loaded : `select(-1, ${loaded}, t + member < ${T}u)`;
  return `
      for (var t = ${begin}; t < ${T}u; t += ${step}u) {
        let there = ${subgroup === 1 ? "t" : `min(t + member, ${T - 1}u)`};
        ${theirs ? `let theirs = ${theirs};` : ""}
        ${theirs ? each((j) => `let other${j} = ${from("theirs", j)};`) : ""}
        ${each((j) => `let isFirst${j} = ${before(seating, j === 0 ? "t" : `t + ${j}u`, theirs && `other${j}`)};`)}
        for (var c = 0u; c < ${k}u; c++) {
          let chosen = ${chosen};
          ${each((j) => `let chosen${j} = ${from("chosen", j)};`)}
          ${each((j) => `count += select(0u, 1u, chosen${j} == expert && (c < mine || (c == mine && isFirst${j})));`)}
        }
      }`;
}

/** Several threads a choice, each with a part of the tokens; no count waits for another, and one thread a choice adds up. */
function seatTogether(seating: Seating, counting: Counting, profile: Profile): Form {
  const { sizes, rows } = seating;
  const { G, T, k, experts: E, capacity } = sizes;
  const threads = Math.min(mostThreads, profile.limits.maxComputeInvocationsPerWorkgroup);
  let lanes = mostLanes;
  while (lanes > 1 && (lanes >= 2 * T || G * T * k * lanes > mostWorkgroups * threads)) lanes /= 2;
  const each = Math.floor(threads / lanes);
  const across = Math.ceil((T * k) / each);
  const rowOfAll = `var row = first[expert] + place;
        for (var e = 0; e < ${E}; e++) { row += select(0u, total[e], e < expert); }`;
  return {
    workgroups: [across, G, 1],
    workgroupSize: [each * lanes],
    module: `${countersOf(seating, counting)}var<workgroup> ahead: array<atomic<u32>, ${each}>;`,
    body: `${limitsOf(seating)}
      let base = group.y * ${T * k}u;
      let buffers = group.y * ${E * capacity}u;
      let one = group.x * ${each}u + lane / ${lanes}u;
      let part = lane % ${lanes}u;
      let i = ${(T * k) % each === 0 ? "one" : `min(one, ${T * k - 1}u)`};
${choiceOf(seating)}
      var count = 0u;${countAhead(seating, "part", lanes)}
      atomicAdd(&ahead[lane / ${lanes}u], count);
      ${countChoices(seating, counting, each * lanes)}${emptied(seating, across * each * lanes)}
      ${rows ? listTiles(E, each * lanes, rows) : ""}
      if (part > 0u || one >= ${T * k}u) { return; }
      let place = select(room, atomicLoad(&ahead[lane / ${lanes}u]), expert >= 0 && mine < most);
${seated(seating, rowOfAll)}`,
  };
}

/** Whether token `t`, as urgent as `other` where urgency matters, is served before `token`. */
function before({ limits }: Seating, t: string, other: string | undefined): string {
  const isEarlier = `${t} < token`;
  if (!other) return isEarlier;
  const ranked = `${other} > urgent || (${other} == urgent && ${isEarlier})`;
  return limits ? `select((${isEarlier}), ${ranked}, limits[2] == 1)` : ranked;
}

/**
 * Statements that count the kept choices of each expert: `own` in this group, and where rows are wanted `first`
 * those in the groups before it and `total` those in all.
 */
function countChoices(
  { sizes: { G, T, k, experts: E }, rows }: Seating,
  { counted, round }: Counting,
  threads: number,
): string {
  const start = rows ? "0u" : `group.y * ${T * k}u`;
  const once = `
      for (var i = lane; i < groups * ${T * k}u; i += ${threads}u) {
        let expert = choices[begin + i];
        if (expert >= 0 && i % ${k}u < most) { atomicAdd(&counts[${round > 1 ? `i / ${T * k}u * ${E}u + ` : ""}u32(expert)], 1u); }
      }
      workgroupBarrier();`;
  if (!rows) {
    return `
      let begin = ${start};
      const groups = 1u;${once}
      for (var e = lane; e < ${E}u; e += ${threads}u) { own[e] = min(atomicLoad(&counts[e]), room); }
      workgroupBarrier();`;
  }
  const add = `
      for (var e = lane; e < ${E}u; e += ${threads}u) {
        for (var g = 0u; g < groups; g++) {
          let count = min(atomicLoad(&counts[g * ${E}u + e]), room);
          total[e] += count;
          if (g0 + g < group.y) { first[e] += count; }
          if (g0 + g == group.y) { own[e] = count; }
        }
      }
      workgroupBarrier();`;
  if (round === counted) return `\nconst begin = 0u;\nconst g0 = 0u;\nconst groups = ${G}u;${once}${add}`;
  return `
      for (var g0 = 0u; g0 < ${G}u; g0 += ${round}u) {
        let begin = g0 * ${T * k}u;
        let groups = min(${round}u, ${G}u - g0);${once}${add}
        for (var c = lane; c < ${round * E}u; c += ${threads}u) { atomicStore(&counts[c], 0u); }
        workgroupBarrier();
      }`;
}

/** Statements that make `first` the row of the group's first choice of each expert; the first workgroup lists the tiles. */
const listRows = (E: number, threads: number, { height, bound }: ExpertRows): string => `
      for (var e = lane; e < ${E}u; e += ${threads}u) {
        var row = 0u;
        var tile = 0u;
        for (var c = 0u; c < e; c++) {
          row += total[c];
          tile += (total[c] + ${height - 1}u) / ${height}u;
        }
        first[e] += row;
        if (group.x == 0u && group.y == 0u) {
          for (var done = 0u; done < total[e]; done += ${height}u) {
            tiles[tile] = vec4u(e, row + done, min(${height}u, total[e] - done), 0u);
            tile++;
          }
          if (e == ${E - 1}u) {
            for (; tile < ${bound}u; tile++) { tiles[tile] = vec4u(); }
          }
        }
      }
      workgroupBarrier();`;

/** Statements by which the first workgroup lists the tiles, each thread its own: that of an expert, or none. */
const listTiles = (E: number, threads: number, { height, bound }: ExpertRows): string => `
      if (group.x == 0u && group.y == 0u) {
        for (var tile = lane; tile < ${bound}u; tile += ${threads}u) {
          var entry = vec4u();
          var row = 0u;
          var start = 0u;
          for (var e = 0u; e < ${E}u; e++) {
            let rows = total[e];
            let count = (rows + ${height - 1}u) / ${height}u;
            // Before the expert's first tile the difference wraps around.
            let at = tile - start;
            if (at < count) { entry = vec4u(e, row + at * ${height}u, min(${height}u, rows - at * ${height}u), 0u); }
            row += rows;
            start += count;
          }
          tiles[tile] = entry;
        }
      }`;
