/**
 * The experts on occupied slots alone: list the rows of each expert, multiply them tile by tile, add up per token.
 * The grid is as large as the buffers allow and tiles without rows return at once, so nothing is read back.
 */
import { type DType, ops, type Value } from "../../../ir/index.ts";
import { type Gemm, gemm, type RowTiles, tileHeight } from "../gemm/index.ts";
import {
  bind,
  grid,
  kernel,
  launch,
  type Launch,
  type LaunchKernel,
  read,
  type Scratch,
  type Shard,
} from "../kernel.ts";
import type { Profile } from "../profile.ts";
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

/** The occupied slots, expert by expert, as rows; and the rows in tiles of one expert each. */
interface Plan {
  /** Source row, group * N + token, of each row. */
  readonly sources: Scratch;
  /** Row of each slot of [G, E, capacity]; what empty slots have is not read. */
  readonly places: Scratch;
  /** (expert, first row, rows, 0) of each tile; no rows in those left over. */
  readonly list: Scratch;
  readonly height: number;
  readonly bound: number;
}

export const routedMlp: LaunchKernel = kernel(
  ops.routedMlp,
  ({ operands, results: { y }, sizes, profile, scratch, shards }) => {
    const { x, tokens, slots, weights, w1, b1, w2, b2 } = operands;
    const { G, N, E, capacity, D, F, approximate, through } = sizes;
    const rows = G * E * capacity;
    const height = tileHeight({ M: G * capacity, N: F, K: D }, profile);
    // Each expert has at most one tile that is not full.
    const bound = Math.min(E * Math.ceil((G * capacity) / height), Math.floor(rows / height) + E);
    const plan: Plan = {
      sources: scratch("u32", rows),
      places: scratch("u32", rows),
      list: scratch("vec4u", bound),
      height,
      bound,
    };
    const items = through === "f32" ? x : scratch("f32", G * N * D);
    const hidden = scratch("f32", rows * F);
    const outputs = scratch("f32", rows * D);
    const activation = {
      module: geluModule(approximate, 4),
      finish: (v: string): string => gelu(v, approximate, 4),
    };
    const rounding = {
      module: roundingModule(through, 4),
      finish: (v: string): string => rounded(through, v, 4),
    };
    const layer = { M: G * capacity, plan };
    return [
      listRows(tokens, plan, sizes, profile),
      ...(items === x ? [] : [roundItems(x, items as Scratch, G * N * D, through, profile)]),
      ...shards(w1).map((shard) =>
        gemm(
          {
            ...expertLayer("experts, first layer", shard, b1, { ...layer, K: D, N: F }),
            left: { binding: bind("left", items, "f32"), stride: D, row: (m) => `sources[${m}]` },
            extra: [bind("sources", plan.sources, "u32"), bind("tiles", plan.list, "vec4u")],
            result: { binding: bind("result", hidden, "f32", "read_write"), stride: F },
            ...activation,
          },
          profile,
        ),
      ),
      ...shards(w2).map((shard) =>
        gemm(
          {
            ...expertLayer("experts, second layer", shard, b2, { ...layer, K: F, N: D }),
            left: { binding: bind("left", hidden, "f32"), stride: F },
            extra: [bind("tiles", plan.list, "vec4u")],
            result: { binding: bind("result", outputs, "f32", "read_write"), stride: D },
            ...rounding,
          },
          profile,
        ),
      ),
      combineRows(outputs, plan.places, slots, weights, y, sizes, profile),
    ];
  },
);

/** One workgroup, one thread an expert: counts, offsets, then the expert's rows and tiles in order. */
function listRows(tokens: Value, plan: Plan, { G, N, E, capacity }: Sizes, profile: Profile): Launch {
  const { sources, places, list, height, bound } = plan;
  const threads = Math.min(Math.ceil(E / 8) * 8, profile.limits.maxComputeInvocationsPerWorkgroup);
  return launch({
    label: "list expert rows",
    bindings: [
      read("tokens", tokens),
      bind("sources", sources, "u32", "read_write"),
      bind("places", places, "u32", "read_write"),
      bind("tiles", list, "vec4u", "read_write"),
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
function roundItems(x: Value, items: Scratch, length: number, through: DType, profile: Profile): Launch {
  const { workgroups, index } = grid(length, profile);
  return launch({
    label: "round tokens",
    bindings: [read("x", x), bind("items", items, "f32", "read_write")],
    workgroups,
    workgroupSize: [profile.workgroup],
    module: roundingModule(through),
    body: `
      ${index}
      if (i >= ${length}u) { return; }
      items[i] = ${rounded(through, "x[i]")};`,
  });
}

/** What both layers share: the factor and the bias of each tile's expert, as far as `shard` has it. */
function expertLayer(
  label: string,
  shard: Shard,
  bias: Value,
  { M, N, K, plan }: { readonly M: number; readonly N: number; readonly K: number; readonly plan: Plan },
): Pick<Gemm, "label" | "M" | "N" | "K" | "right" | "bias" | "tiles"> {
  const { start, stop } = shard;
  const whole = start === 0 && stop === bias.type.shape[0];
  const head = `
let tile = tiles[group.y];
if (tile.z == 0u${whole ? "" : ` || tile.x < ${start}u || tile.x >= ${stop}u`}) { return; }
let first = tile.y;
let rows = tile.z;`;
  const expert = start === 0 ? "tile.x" : `(tile.x - ${start}u)`;
  const rows = (stop - start) * M;
  const tiles: RowTiles = { height: plan.height, rows, bound: plan.bound, head };
  return {
    label,
    M,
    N,
    K,
    tiles,
    right: {
      binding: { name: "right", resource: shard, access: "read" },
      stride: N,
      start: (unit) => `${expert} * ${(K * N) / unit}u`,
      aligned: (K * N) % 4 === 0,
    },
    bias: { binding: read("bias", bias), start: (unit) => `tile.x * ${N / unit}u`, aligned: N % 4 === 0 },
  };
}

/** One thread an element: a token's choices are added in their order, so that sums never vary. */
function combineRows(
  outputs: Scratch,
  places: Scratch,
  slots: Value,
  weights: Value,
  y: Value,
  { G, T, k, E, capacity, D }: Sizes,
  profile: Profile,
): Launch {
  const vector = D % 4 === 0;
  const [element, width] = vector ? (["vec4f", D / 4] as const) : (["f32", D] as const);
  const { workgroups, index } = grid(G * T * width, profile);
  return launch({
    label: "combine",
    bindings: [
      bind("outputs", outputs, element),
      bind("places", places, "u32"),
      read("slots", slots),
      read("weights", weights),
      bind("y", y, element, "read_write"),
    ],
    workgroups,
    workgroupSize: [profile.workgroup],
    body: `
      ${index}
      if (i >= ${G * T * width}u) { return; }
      let token = i / ${width}u;
      let buffers = (token / ${T}u) * ${E * capacity}u;
      var sum = ${element}();
      for (var j = 0u; j < ${k}u; j++) {
        let slot = slots[token * ${k}u + j];
        if (slot >= 0) { sum += weights[token * ${k}u + j] * outputs[places[buffers + u32(slot)] * ${width}u + i % ${width}u]; }
      }
      y[i] = sum;`,
  });
}
