/**
 * The experts on occupied slots alone: list the rows of each expert, multiply them tile by tile, add up per token.
 * The grid is as large as the buffers allow and tiles without rows return at once, so nothing is read back.
 */
import { type DType, ops, type Value } from "../../../ir/index.ts";
import { type Gemm, gemm, type Listing, listingOf, rightFactor } from "../gemm/index.ts";
import {
  bind,
  type Binding,
  type Context,
  grid,
  kernel,
  type Lanes,
  launch,
  type Launch,
  type LaunchKernel,
  type Output,
  read,
  type Resource,
  type Scratch,
  type Shard,
  typeOf,
} from "../kernel.ts";
import type { Profile } from "../profile.ts";
import { storedOf } from "../stored.ts";
import type { Strips } from "../strips.ts";
import { gelu, geluModule, rounded, roundingModule } from "../wgsl.ts";

interface Sizes {
  readonly G: number;
  readonly N: number;
  readonly T: number;
  readonly k: number;
  readonly E: number;
  readonly capacity: number;
  readonly D: number;
  readonly F: number;
}

/** Rows of one expert each, and where the experts' outputs go. */
interface Layers extends Listing {
  /** f32[..., D], rounded already. */
  readonly items: Resource;
  /** Row of `items` of each row of the experts. */
  readonly sources: Scratch;
  readonly tiles: Scratch;
  readonly bound: number;
  /** Rows of the experts, at most. */
  readonly rows: number;
  readonly M: number;
}

interface Experts {
  readonly w1: Value;
  readonly b1: Value;
  readonly w2: Value;
  readonly b2: Value;
}

type Emitting = Pick<Context<unknown, unknown, unknown>, "profile" | "scratch" | "shards" | "strips">;

/** Tiles for the rows of `E` experts of the first layer `w1`, at most `each` rows of one and `all` in all, or fewer. */
export function tilesFor(
  w1: Value,
  { E, D, F }: { readonly E: number; readonly D: number; readonly F: number },
  {
    each,
    all,
    mayBeFewer = false,
  }: { readonly each: number; readonly all: number; readonly mayBeFewer?: boolean },
  { profile, strips }: Pick<Emitting, "profile" | "strips">,
): Listing & { readonly bound: number } {
  const most = Math.min(each, Math.ceil(all / E));
  const usual = mayBeFewer ? [most, Math.ceil(most / 2)] : [most];
  const [isInStrips, bits] = [strips(w1) !== undefined, storedOf(w1)?.bits ?? 32];
  const listing = listingOf({ M: each, usual, N: F, K: D, strips: isInStrips, bits, experts: E }, profile);
  const { height } = listing;
  // Each expert has at most one tile that is not full.
  return { ...listing, bound: Math.min(E * Math.ceil(each / height), Math.floor(all / height) + E) };
}

/** What the experts make of listed rows. */
export interface Outputs {
  /** Sums [parts, rows, D]; finished where there is one part. */
  readonly sums: Scratch;
  readonly parts: number;
  readonly rows: number;
  readonly through: DType;
}

/** The experts' two layers on listed rows: the launches, and their outputs, through `through`. */
export function expertLayers(
  { w1, b1, w2, b2 }: Experts,
  { items, sources, tiles, ...layer }: Layers,
  {
    D,
    F,
    approximate,
    through,
  }: {
    readonly D: number;
    readonly F: number;
    readonly approximate: "tanh" | "none";
    readonly through: DType;
  },
  { profile, scratch, shards, strips }: Emitting,
): { readonly launches: readonly Launch[]; readonly outputs: Outputs } {
  const { rows, parts } = layer;
  const hidden = scratch("f32", rows * F);
  const outputs = { sums: scratch("f32", parts * rows * D), parts, rows, through };
  const first = (shard: Shard): readonly Launch[] =>
    gemm(
      {
        ...expertLayer(
          "experts, first layer",
          shard,
          { factor: w1, strips: strips(w1), bias: b1 },
          { ...layer, parts: 1, K: D, N: F },
        ),
        left: { binding: bind("left", items, "f32"), stride: D, row: (m) => `sources[${m}]` },
        extra: [bind("sources", sources, "u32"), bind("tiles", tiles, "vec4u")],
        result: { binding: bind("result", hidden, "f32", "read_write"), stride: F },
        module: geluModule(approximate, 4),
        finish: (v: string): string => gelu(v, approximate, 4),
      },
      profile,
      scratch,
    );
  const second = (shard: Shard): readonly Launch[] =>
    gemm(
      {
        ...expertLayer(
          "experts, second layer",
          shard,
          { factor: w2, strips: strips(w2), bias: b2 },
          { ...layer, K: F, N: D },
        ),
        left: { binding: bind("left", hidden, "f32"), stride: F },
        extra: [bind("tiles", tiles, "vec4u")],
        result: {
          binding: bind("result", outputs.sums, "f32", "read_write"),
          stride: D,
          ...(parts > 1 && { start: (unit: number) => `group.z * ${(rows * D) / unit}u` }),
        },
        ...(parts === 1 && {
          module: roundingModule(through, 4),
          finish: (v: string): string => rounded(through, v, 4),
        }),
      },
      profile,
      scratch,
    );
  return { launches: [...shards(w1).flatMap(first), ...shards(w2).flatMap(second)], outputs };
}

export const routedMlp: LaunchKernel = kernel(
  ops.routedMlp,
  (context) => {
    const { operands, sizes, profile, scratch, output } = context;
    const { x, tokens, slots, weights, ...experts } = operands;
    const { G, N, E, capacity, D, through } = sizes;
    const rows = G * E * capacity;
    const listing = tilesFor(experts.w1, sizes, { each: G * capacity, all: rows }, context);
    const { height, bound } = listing;
    const [sources, places] = [scratch("u32", rows), scratch("u32", rows)];
    const tiles = scratch("vec4u", bound);
    const items = through === "f32" ? x : scratch("f32", G * N * D);
    const layer = { ...listing, items, sources, tiles, rows, M: G * capacity };
    const { launches, outputs } = expertLayers(experts, layer, sizes, context);
    return [
      listRows(tokens, { sources, places, tiles, height, bound }, sizes, profile),
      ...(items === x ? [] : [roundItems(x, items, G * N * D, through, profile)]),
      ...launches,
      combineRows(
        {
          outputs,
          places: [bind("places", places, "u32"), read("slots", slots)],
          rowOf: `
        let slot = slots[choice];
        let isKept = slot >= 0;
        let row = places[(token / ${sizes.T}u) * ${E * capacity}u + u32(max(slot, 0))];`,
          weights,
          output,
        },
        sizes,
        profile,
      ),
    ];
  },
  { epilogue: 5, factors: ["w1", "w2"] },
);

/** The occupied slots, expert by expert, as rows; and the rows in tiles of one expert each. */
interface Plan {
  /** Source row, group * N + token, of each row. */
  readonly sources: Scratch;
  /** Row of each slot of [G, E, capacity]; what empty slots have is not read. */
  readonly places: Scratch;
  /** (expert, first row, rows, 0) of each tile; no rows in those left over. */
  readonly tiles: Scratch;
  readonly height: number;
  readonly bound: number;
}

/** One workgroup, one thread an expert: counts, offsets, then the expert's rows and tiles in order. */
function listRows(tokens: Value, plan: Plan, { G, N, E, capacity }: Sizes, profile: Profile): Launch {
  const { sources, places, tiles, height, bound } = plan;
  const threads = Math.min(Math.ceil(E / 8) * 8, profile.limits.maxComputeInvocationsPerWorkgroup);
  return launch({
    label: "list expert rows",
    bindings: [
      read("tokens", tokens),
      bind("sources", sources, "u32", "read_write"),
      bind("places", places, "u32", "read_write"),
      bind("tiles", tiles, "vec4u", "read_write"),
    ],
    workgroups: [1, 1, 1],
    workgroupSize: [threads],
    module: `var<workgroup> counts: array<u32, ${E}>;`,
    body: `
      for (var e = lane; e < ${E}u; e += ${threads}u) {
        var count = 0u;
        for (var g = 0u; g < ${G}u; g++) {
          for (var c = 0u; c < ${capacity}u; c++) {
            count += select(0u, 1u, tokens[(g * ${E}u + e) * ${capacity}u + c] >= 0);
          }
        }
        counts[e] = count;
      }
      workgroupBarrier();
      for (var e = lane; e < ${E}u; e += ${threads}u) {
        var row = 0u;
        var tile = 0u;
        for (var before = 0u; before < e; before++) {
          row += counts[before];
          tile += (counts[before] + ${height - 1}u) / ${height}u;
        }
        for (var first = 0u; first < counts[e]; first += ${height}u) {
          tiles[tile] = vec4u(e, row + first, min(${height}u, counts[e] - first), 0u);
          tile++;
        }
        for (var g = 0u; g < ${G}u; g++) {
          for (var c = 0u; c < ${capacity}u; c++) {
            let slot = (g * ${E}u + e) * ${capacity}u + c;
            let token = tokens[slot];
            if (token >= 0) {
              sources[row] = g * ${N}u + u32(token);
              places[slot] = row;
              row++;
            }
          }
        }
        if (e == ${E - 1}u) {
          for (; tile < ${bound}u; tile++) { tiles[tile] = vec4u(); }
        }
      }`,
  });
}

/** The items, rounded once instead of at each of the loads. */
export function roundItems(
  x: Value,
  items: Resource,
  length: number,
  through: DType,
  profile: Profile,
): Launch {
  const lanes: Lanes = length % 4 === 0 ? 4 : 1;
  const element = typeOf("f32", lanes);
  const { workgroups, index } = grid(length / lanes, profile);
  return launch({
    label: "round tokens",
    bindings: [{ ...read("x", x), element }, bind("items", items, element, "read_write")],
    workgroups,
    workgroupSize: [profile.workgroup],
    module: roundingModule(through, lanes),
    body: `
      ${index}
      if (i >= ${length / lanes}u) { return; }
      items[i] = ${rounded(through, "x[i]", lanes)};`,
  });
}

/** What both layers share: the factor and the bias of each tile's expert, as far as `shard` has it. */
function expertLayer(
  label: string,
  shard: Shard,
  {
    factor,
    strips,
    bias,
  }: { readonly factor: Value; readonly strips: Strips | undefined; readonly bias: Value },
  {
    M,
    N,
    K,
    height,
    parts,
    usual,
    bound,
    rows,
  }: Pick<Layers, "M" | "height" | "parts" | "usual" | "bound" | "rows"> & {
    readonly N: number;
    readonly K: number;
  },
): Pick<Gemm, "label" | "M" | "N" | "K" | "right" | "bias" | "tiles" | "samples"> {
  const { start, stop } = shard;
  const [experts = stop] = bias.type.shape;
  const whole = start === 0 && stop === experts;
  const head = (at: string): string => `
let tile = tiles[${at}];
if (tile.z == 0u${whole ? "" : ` || tile.x < ${start}u || tile.x >= ${stop}u`}) { return; }
let first = tile.y;
let rows = tile.z;`;
  const expert = start === 0 ? "tile.x" : `(tile.x - ${start}u)`;
  const most = Math.min(rows, (stop - start) * M);
  return {
    label,
    M,
    N,
    K,
    tiles: { height, parts, usual, experts, rows: most, bound, head },
    samples: {
      tiles: () => evenTiles({ experts, rows, height, bound }),
      sources: () => Uint32Array.from({ length: rows }, (_, row) => row % M),
    },
    right: rightFactor(factor, { part: shard, strips, entry: expert, scalesEntry: "tile.x" }),
    bias: { binding: read("bias", bias), start: (unit) => `tile.x * ${N / unit}u`, aligned: N % 4 === 0 },
  };
}

/** The tiles of `listRows` where all rows are taken, and every expert has as many. */
function evenTiles({
  experts,
  rows,
  height,
  bound,
}: Pick<Layers, "rows" | "height" | "bound"> & { readonly experts: number }): Uint32Array {
  const tiles = new Uint32Array(4 * bound);
  let [tile, first] = [0, 0];
  for (let e = 0; e < experts; e++) {
    const end = Math.floor((rows * (e + 1)) / experts);
    for (; first < end && tile < bound; first += Math.min(height, end - first))
      tiles.set([e, first, Math.min(height, end - first)], 4 * tile++);
  }
  return tiles;
}

/** The experts' outputs, and how each choice finds its row of them. */
interface Combination {
  readonly outputs: Outputs;
  readonly places: readonly Binding[];
  /** Statements that define `isKept` and `row` of choice `choice` of token `token`. */
  readonly rowOf: string;
  readonly weights: Value;
  readonly output: (lanes: Lanes) => Output;
}

/** Choices of a token whose rows are all loaded before the first is added. */
const mostTogether = 8;

/** One thread an element: a token's choices, and the parts of each, are added in their order, so that sums never vary. */
export function combineRows(
  { outputs, places, rowOf, weights, output }: Combination,
  { G, T, k, D }: Pick<Sizes, "G" | "T" | "k" | "D">,
  profile: Profile,
): Launch {
  const lanes: Lanes = D % 4 === 0 ? 4 : 1;
  const [element, width] = [typeOf("f32", lanes), D / lanes];
  const stored = output(lanes);
  const { workgroups, index } = grid(G * T * width, profile);
  const each = [...Array(k).keys()];
  const { parts, rows, through } = outputs;
  const partsAt = (row: string): string =>
    Array.from({ length: parts }, (_, part) => {
      const place = part === 0 ? row : `(${row} + ${part * rows}u)`;
      return `outputs[${place} * ${width}u + i % ${width}u]`;
    }).join(" + ");
  const outputAt = (row: string): string =>
    parts === 1 ? partsAt(row) : rounded(through, `(${partsAt(row)})`, lanes);
  const oneByOne = `
      for (var choice = token * ${k}u; choice < (token + 1u) * ${k}u; choice++) {
        ${rowOf.trim()}
        if (isKept) { sum += weights[choice] * ${outputAt("row")}; }
      }`;
  // No load waits for another choice's; of a choice that is not kept the first row is loaded, and forgotten.
  const together = `
      ${each
        .map(
          (c) => `var row${c} = 0u; var weight${c} = 0.0f; var isKept${c} = false;
      {
        let choice = token * ${k}u + ${c}u;
        ${rowOf.trim()}
        row${c} = select(0u, row, isKept);
        weight${c} = weights[choice];
        isKept${c} = isKept;
      }`,
        )
        .join("\n      ")}
      ${each.map((c) => `let term${c} = weight${c} * ${outputAt(`row${c}`)};`).join("\n      ")}
      ${each.map((c) => `sum += select(${element}(), term${c}, isKept${c});`).join("\n      ")}`;
  return launch({
    label: "combine",
    bindings: [
      bind("outputs", outputs.sums, element),
      ...places,
      read("weights", weights),
      ...stored.extra,
      stored.binding,
    ],
    workgroups,
    workgroupSize: [profile.workgroup],
    module: [...(parts === 1 ? [] : [roundingModule(through, lanes)]), ...stored.module],
    body: `
      ${index}
      if (i >= ${G * T * width}u) { return; }
      let token = i / ${width}u;
      var sum = ${element}();${profile.lanesPerRow > 1 && k <= mostTogether ? together : oneByOne}
      result[i] = ${stored.finish("sum", "i")};`,
  });
}
