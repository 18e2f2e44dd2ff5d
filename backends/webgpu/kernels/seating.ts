/**
 * Who sits where, in one launch: a choice's place is the number of choices of its expert that are served before it, counted
 * by one thread on CPU drivers, by several out of workgroup memory on GPUs. Nothing is exchanged between workgroups: each
 * counts for itself what it needs of the others, with integers, so that the result depends on no scheduling.
 */
import type { Value } from "../../../ir/index.ts";
import { smallestSubgroup } from "../exchange.ts";
import { bind, launch, type Launch, type LaunchSpec, type Resource, type Scratch, write } from "../kernel.ts";
import type { Profile } from "../profile.ts";
import { plus, times } from "../wgsl.ts";

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

/** Counters of one expert at most, where threads share the count: neighbours seldom wait for one another then. */
const mostCopies = 8;

/** Bytes of workgroup memory at most: several workgroups find room on a core. */
const mostMemory = 24 * 1024;

/** Threads of a workgroup: enough that few workgroups count the same. */
const mostThreads = 256;

/** Threads that share the count before one choice, at most. */
const mostLanes = 32;

/** Workgroups that a device has use for: more of them would load and count the same only. */
const mostWorkgroups = 256;

/** Loads of a thread that wait for none of the others, where their number is not known. */
const mostLoads = 8;

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
    ...((profile.lanesPerRow > 1 && seatTogether(seating, profile)) || seatAlone(seating, profile)),
  });
}

type Form = Pick<LaunchSpec, "workgroups" | "workgroupSize" | "directives" | "module" | "body">;

/** What a workgroup counts. */
interface Counting {
  /** Whether it counts the choices of all groups, for the rows of all experts; those of its own group otherwise. */
  readonly ofAll: boolean;
  /** Groups that are counted, and in rounds of how many. */
  readonly groups: number;
  readonly round: number;
  /** Counters of one expert, which threads take by turns. */
  readonly copies: number;
}

function countingOf({ sizes: { G, experts: E } }: Seating, ofAll: boolean, mostOfOne: number): Counting {
  const groups = ofAll ? G : 1;
  const round = Math.min(groups, Math.max(1, Math.floor(mostCounters / E)));
  let copies = mostOfOne;
  while (copies > 1 && round * E * copies > mostCounters) copies /= 2;
  return { ofAll, groups, round, copies };
}

/** Arrays in workgroup memory: of each its element and its length. */
type Arrays = Readonly<Record<string, readonly [element: string, length: number]>>;

const countersOf = ({ sizes: { experts: E } }: Seating, { ofAll, round, copies }: Counting): Arrays => ({
  counts: ["atomic<u32>", round * E * copies],
  own: ["u32", E],
  ...(ofAll ? { total: ["u32", E], first: ["u32", E] } : {}),
});

const declared = (arrays: Arrays): string =>
  Object.entries(arrays)
    .map(([name, [element, length]]) => `var<workgroup> ${name}: array<${element}, ${length}>;\n`)
    .join("");

/** Bytes of workgroup memory, as WebGPU counts them. */
const bytesOf = (arrays: Arrays): number =>
  Object.values(arrays).reduce((sum, [, length]) => sum + 16 * Math.ceil(length / 4), 0);

/** WGSL lines, one for each of `count` steps. */
const lines = (count: number, line: (j: number) => string, indent = 6): string =>
  times(count, line).join(`\n${" ".repeat(indent)}`);

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
function seatAlone(seating: Seating, profile: Profile): Form {
  const { sizes, rows } = seating;
  const counting = countingOf(seating, rows !== undefined, 1);
  const { G, T, k, experts: E, capacity } = sizes;
  const { maxComputeInvocationsPerWorkgroup } = profile.limits;
  const threads = Math.min(Math.ceil((T * k) / 8) * 8, mostThreads, maxComputeInvocationsPerWorkgroup);
  const across = Math.ceil((T * k) / threads);
  const subgroup = Math.min(smallestSubgroup(profile) ?? 1, threads, 8);
  return {
    workgroups: [across, G, 1],
    workgroupSize: [threads],
    directives: subgroup > 1 ? ["enable subgroups;"] : [],
    module: declared(countersOf(seating, counting)),
    body: `${limitsOf(seating)}
      ${countChoices(seating, counting, threads)}
      let base = group.y * ${T * k}u;
      let buffers = group.y * ${E * capacity}u;${emptied(seating, across * threads)}
      ${rows ? listRows(E, threads, rows) : ""}
      let i = ${(T * k) % threads === 0 ? "id.x" : `min(id.x, ${T * k - 1}u)`};
${choiceOf(seating)}
      var count = 0u;${countAhead(seating, subgroup)}
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
 * before that choice's place, and that at the same place where the token is served first. Threads of a `subgroup` load a
 * token each for the others.
 */
function countAhead(seating: Seating, subgroup: number): string {
  const { T, k } = seating.sizes;
  const theirs = urgencyOf(seating, "there");
  const from = (name: string, j: number): string =>
    subgroup === 1 ? name : `subgroupBroadcast(${name}, ${j}u)`;
  const each = (line: (j: number) => string): string => lines(subgroup, line, 10);
  const loaded = `choices[base + there * ${k}u + c]`;
  const chosen = T % subgroup === 0 ? loaded : `select(-1, ${loaded}, t + member < ${T}u)`;
  return `
      for (var t = 0u; t < ${T}u; t += ${subgroup}u) {
        let there = ${subgroup === 1 ? "t" : `min(t + member, ${T - 1}u)`};
        ${theirs ? `let theirs = ${theirs};` : ""}
        ${theirs ? each((j) => `let other${j} = ${from("theirs", j)};`) : ""}
        ${each((j) => `let isFirst${j} = ${before(seating, plus("t", j), theirs && `other${j}`)};`)}
        for (var c = 0u; c < ${k}u; c++) {
          let chosen = ${chosen};
          ${each((j) => `let chosen${j} = ${from("chosen", j)};`)}
          ${each((j) => `count += select(0u, 1u, chosen${j} == expert && (c < mine || (c == mine && isFirst${j})));`)}
        }
      }`;
}

/**
 * Several threads a choice, each with a part of the tokens, which the workgroup holds in its memory, as many at once as there
 * is room for; no count waits for another, and one thread a choice adds up. Undefined where there is no room.
 */
function seatTogether(seating: Seating, profile: Profile): Form | undefined {
  const { sizes, rows } = seating;
  const { G, T, k, experts: E, capacity } = sizes;
  const { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize } = profile.limits;
  const threadsAtMost = Math.min(mostThreads, maxComputeInvocationsPerWorkgroup);
  let lanes = mostLanes;
  while (lanes > 1 && (lanes >= 2 * T || G * T * k * lanes > mostWorkgroups * threadsAtMost)) lanes /= 2;
  const each = Math.floor(threadsAtMost / lanes);
  const threads = each * lanes;
  const across = Math.ceil((T * k) / each);
  const counting = countingOf(seating, rows !== undefined && G > 1, mostCopies);
  const counters: Arrays = { ...countersOf(seating, counting), ahead: ["u32", threads] };
  const memory = Math.min(mostMemory, maxComputeWorkgroupStorageSize) - bytesOf(counters);
  const held = tokensHeld(seating, lanes, memory);
  if (held === 0) return undefined;
  const ahead = `${countHeld(seating, counting, { held, lanes, threads })}
      ahead[lane] = count;`;
  const all = counting.ofAll ? "total" : "own";
  const rowOfAll = `var row = ${counting.ofAll ? "first[expert] + " : ""}place;
        for (var e = 0; e < ${E}; e++) { row += select(0u, ${all}[e], e < expert); }`;
  return {
    workgroups: [across, G, 1],
    workgroupSize: [threads],
    module: [declared({ ...counters, ...tokenArrays(seating, held) }), sumOfCopies(counting)],
    body: `${limitsOf(seating)}
      let base = group.y * ${T * k}u;
      let buffers = group.y * ${E * capacity}u;
      let one = group.x * ${each}u + lane / ${lanes}u;
      let part = lane % ${lanes}u;
      let i = ${(T * k) % each === 0 ? "one" : `min(one, ${T * k - 1}u)`};
${choiceOf(seating)}
      var count = 0u;${countAround(ahead, seating, counting, threads)}${emptied(seating, across * threads)}
      ${rows ? listTiles(E, threads, rows, all) : ""}
      if (part > 0u || one >= ${T * k}u) { return; }
      var served = 0u;
      for (var j = 0u; j < ${lanes}u; j++) { served += ahead[lane + j]; }
      let place = select(room, served, expert >= 0 && mine < most);
${seated(seating, rowOfAll)}`,
  };
}

/** What a workgroup holds of `held` tokens: their choices, by their places, and how urgent they are. */
const tokenArrays = ({ sizes: { k }, urgency }: Seating, held: number): Arrays => ({
  chosen: ["i32", k * held],
  ...(urgency ? { urgencies: ["f32", held] } : {}),
});

/** Tokens that `memory` bytes hold at once, in as few rounds as can be, as many for each of `lanes`; 0 where none fit. */
function tokensHeld(seating: Seating, lanes: number, memory: number): number {
  const turn = bytesOf(tokenArrays(seating, lanes));
  const turns = Math.ceil(seating.sizes.T / lanes);
  const rounds = Math.ceil(turns / Math.floor(Math.max(memory, 0) / turn));
  return Math.ceil(turns / rounds) * lanes;
}

/**
 * Statements that hold the group's tokens, and add to `count` the choices of `expert` among them that are served before choice
 * `mine` of `token`: those before that choice's place, and those at the same place of tokens that are served first. Where
 * only this group is counted, they count the kept choices of each expert, too.
 */
function countHeld(
  seating: Seating,
  counting: Counting,
  { held, lanes, threads }: Readonly<Record<"held" | "lanes" | "threads", number>>,
): string {
  const { sizes, urgency } = seating;
  const { T, k } = sizes;
  const isWhole = held >= T;
  const turns = Math.ceil((k * held) / threads);
  const turnsOfTokens = urgency ? Math.ceil(held / threads) : 0;
  const loaded = (j: number): string => {
    const at = isWhole ? `at${j}` : `t0 * ${k}u + at${j}`;
    if (isWhole && (j + 1) * threads <= T * k) return `choices[base + ${at}]`;
    // What is held beyond the last token is nobody's choice.
    return `select(-1, choices[base + min(${at}, ${T * k - 1}u)], ${at} < ${T * k}u)`;
  };
  const there = (j: number): string => {
    const at = isWhole ? `at${j}` : `t0 + at${j}`;
    return isWhole && (j + 1) * threads <= T ? at : `min(${at}, ${T - 1}u)`;
  };
  const within = (j: number, length: number, statements: string): string =>
    (j + 1) * threads <= length ? statements : `if (at${j} < ${length}u) { ${statements} }`;
  const hold = (j: number): string =>
    `chosen[at${j} % ${k}u * ${held}u + at${j} / ${k}u] = chosen${j};` +
    (counting.ofAll ? "" : `\n      ${counted(seating, counting, `at${j}`, `chosen${j}`)}`);
  const statements = `
      ${lines(turns, (j) => `let at${j} = ${plus("lane", j * threads)};`)}
      ${lines(turns, (j) => `let chosen${j} = ${loaded(j)};`)}
      ${lines(turnsOfTokens, (j) => `let urgency${j} = ${urgencyOf(seating, there(j))};`)}
      ${lines(turns, (j) => within(j, k * held, hold(j)))}
      ${lines(turnsOfTokens, (j) => within(j, held, `urgencies[at${j}] = urgency${j};`))}
      workgroupBarrier();
      for (var t = 0u; t < mine * ${held}u; t += ${lanes}u) { count += select(0u, 1u, chosen[t + part] == expert); }
      for (var t = 0u; t < ${held}u; t += ${lanes}u) {
        let there = t + part;
        ${urgency ? "let theirs = urgencies[there];" : ""}
        let isFirst = ${before(seating, isWhole ? "there" : "t0 + there", urgency && "theirs")};
        count += select(0u, 1u, chosen[mine * ${held}u + there] == expert && isFirst);
      }`;
  if (isWhole) return statements;
  return `
      for (var t0 = 0u; t0 < ${T}u; t0 += ${held}u) {${statements}
      workgroupBarrier();
      }`;
}

/**
 * Statements that count the kept choices of each expert around `ahead`, which has a barrier: before it, where `ahead` does
 * not count them itself; after it in rounds, where the counters are too few for all groups at once.
 */
function countAround(ahead: string, seating: Seating, counting: Counting, threads: number): string {
  const { G, T, k } = seating.sizes;
  const sum = addUp(seating, counting, threads);
  if (!counting.ofAll) return `${ahead}${sum}`;
  const turns = Math.min(mostLoads, Math.ceil((counting.round * T * k) / threads));
  const count = `
      for (var i = lane; i < groups * ${T * k}u; i += ${turns * threads}u) {
      ${lines(turns, (j) => `let at${j} = ${plus("i", j * threads)};`)}
      ${lines(turns, (j) => `let chosen${j} = choices[min(begin + at${j}, ${G * T * k - 1}u)];`)}
      ${lines(turns, (j) => `if (at${j} < groups * ${T * k}u) { ${counted(seating, counting, `at${j}`, `chosen${j}`)} }`)}
      }`;
  return counting.round === counting.groups
    ? inRounds(seating, counting, threads, `${count}${ahead}${sum}`)
    : `${ahead}${inRounds(seating, counting, threads, `${count}\n      workgroupBarrier();${sum}`)}`;
}

/** Whether token `t`, as urgent as `other` where urgency matters, is served before `token`. */
function before({ limits }: Seating, t: string, other: string | undefined): string {
  const isEarlier = `${t} < token`;
  if (!other) return isEarlier;
  const ranked = `${other} > urgent || (${other} == urgent && ${isEarlier})`;
  return limits ? `select((${isEarlier}), ${ranked}, limits[2] == 1)` : ranked;
}

/** Statements that count choice `i`, one of `expert`, where it is kept. */
function counted(seating: Seating, { round, copies }: Counting, i: string, expert: string): string {
  const { T, k, experts: E } = seating.sizes;
  const counter = `${round > 1 ? `${i} / ${T * k}u * ${E}u + ` : ""}u32(${expert})`;
  const own =
    copies === 1 ? counter : `${round > 1 ? `(${counter})` : counter} * ${copies}u + lane % ${copies}u`;
  return `if (${expert} >= 0 && ${i} % ${k}u < most) { atomicAdd(&counts[${own}], 1u); }`;
}

/** Declares the sum of an expert's counters, where it has several. */
const sumOfCopies = ({ copies }: Counting): string =>
  copies === 1
    ? ""
    : `fn countOf(expert: u32) -> u32 {
  var sum = 0u;
  for (var c = 0u; c < ${copies}u; c++) { sum += atomicLoad(&counts[expert * ${copies}u + c]); }
  return sum;
}`;

/**
 * Statements that count the kept choices of each expert: `own` in this group, and where those of all are counted `first`
 * those in the groups before it and `total` those in all.
 */
function countChoices(seating: Seating, counting: Counting, threads: number): string {
  const { T, k } = seating.sizes;
  const statements = `
      for (var i = lane; i < groups * ${T * k}u; i += ${threads}u) {
        let expert = choices[begin + i];
        ${counted(seating, counting, "i", "expert")}
      }
      workgroupBarrier();${addUp(seating, counting, threads)}`;
  if (counting.ofAll) return inRounds(seating, counting, threads, statements);
  return `
      let begin = group.y * ${T * k}u;
      const groups = 1u;${statements}`;
}

/** Statements that add up what `counts` has of `groups` groups from `g0` on, or of this group. */
function addUp({ sizes: { experts: E } }: Seating, { ofAll, copies }: Counting, threads: number): string {
  const countOf = (e: string): string => (copies === 1 ? `atomicLoad(&counts[${e}])` : `countOf(${e})`);
  if (!ofAll) {
    return `
      for (var e = lane; e < ${E}u; e += ${threads}u) { own[e] = min(${countOf("e")}, room); }
      workgroupBarrier();`;
  }
  return `
      for (var e = lane; e < ${E}u; e += ${threads}u) {
        for (var g = 0u; g < groups; g++) {
          let count = min(${countOf(`g * ${E}u + e`)}, room);
          total[e] += count;
          if (g0 + g < group.y) { first[e] += count; }
          if (g0 + g == group.y) { own[e] = count; }
        }
      }
      workgroupBarrier();`;
}

/** `statements` for all groups: `groups` from `g0` on at a time, whose choices start at `begin`. */
function inRounds(
  { sizes: { G, T, k, experts: E } }: Seating,
  { groups, round, copies }: Counting,
  threads: number,
  statements: string,
): string {
  if (round === groups) return `\nconst begin = 0u;\nconst g0 = 0u;\nconst groups = ${G}u;${statements}`;
  return `
      for (var g0 = 0u; g0 < ${G}u; g0 += ${round}u) {
        let begin = g0 * ${T * k}u;
        let groups = min(${round}u, ${G}u - g0);${statements}
        for (var c = lane; c < ${round * E * copies}u; c += ${threads}u) { atomicStore(&counts[c], 0u); }
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

/** Statements by which the first workgroup lists the tiles, each thread its own: that of an expert, or none; `total` has the rows of all. */
const listTiles = (E: number, threads: number, { height, bound }: ExpertRows, total: string): string => `
      if (group.x == 0u && group.y == 0u) {
        for (var tile = lane; tile < ${bound}u; tile += ${threads}u) {
          var entry = vec4u();
          var row = 0u;
          var start = 0u;
          for (var e = 0u; e < ${E}u; e++) {
            let rows = ${total}[e];
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
