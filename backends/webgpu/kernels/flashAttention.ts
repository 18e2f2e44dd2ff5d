/** Attention in one launch, which keeps no scores: on GPUs, where a workgroup has some rows of one head. */
import type { Value } from "../../../ir/index.ts";
import { bind, type Context, launch, type Launch } from "../kernel.ts";
import type { Profile } from "../profile.ts";
import { block, f32, guarded, lowest, plus, sum, times, xyzw } from "../wgsl.ts";

/** One of the operands of attention: its buffer, elements from token to token, and those before the first head. */
export interface Heads {
  readonly value: Value;
  readonly stride: number;
  readonly offset: number;
}

export type AttentionOperands = readonly [q: Heads, k: Heads, v: Heads];

export interface AttentionSizes {
  readonly B: number;
  readonly T: number;
  readonly S: number;
  readonly H: number;
  readonly W: number;
}

/** How a workgroup cuts attention: it has `wy * tm` rows of queries, and holds `4 * wx` keys, or their values, at once. */
export interface AttentionBlocks {
  /** Threads across the keys, four of them each, and then across the columns of the values. */
  readonly wx: number;
  /** Threads down the rows. */
  readonly wy: number;
  /** Rows of one thread. */
  readonly tm: 1 | 2 | 4;
  /** Whether what is held next is loaded before it has room, into registers, W / wy vectors of a thread. */
  readonly ahead: boolean;
}

/** The ways to cut attention, best first where there are workgroups enough. */
export const attentionBlocks: readonly AttentionBlocks[] = [
  { wx: 8, wy: 8, tm: 4, ahead: true },
  { wx: 8, wy: 8, tm: 2, ahead: true },
  { wx: 8, wy: 8, tm: 1, ahead: true },
  { wx: 4, wy: 8, tm: 2, ahead: true },
  { wx: 4, wy: 8, tm: 1, ahead: false },
];

/**
 * The first of `attentionBlocks` that fits the device and gives it workgroups enough; where none gives so many, the first
 * of those with fewest rows; undefined where none fits.
 */
export function attentionBlocksFor(sizes: AttentionSizes, profile: Profile): AttentionBlocks | undefined {
  const { B, T, H } = sizes;
  const fitting = attentionBlocks.filter((blocks) => fits(blocks, sizes, profile));
  const enough = (b: AttentionBlocks): boolean => B * H * Math.ceil(T / rowsOf(b)) >= profile.minWorkgroups;
  const fewest = Math.min(...fitting.map(rowsOf));
  return fitting.find(enough) ?? fitting.find((b) => rowsOf(b) === fewest);
}

const rowsOf = ({ wy, tm }: AttentionBlocks): number => wy * tm;

/** Vectors from row to row in workgroup memory: an odd number, so that neighbours begin in other banks. */
const padded = (vectors: number): number => vectors + 1 - (vectors % 2);

function fits(blocks: AttentionBlocks, { W }: AttentionSizes, { limits }: Profile): boolean {
  const { wx, wy, tm } = blocks;
  const threads = wx * wy;
  const rows = rowsOf(blocks);
  const vectors = (4 * wx + rows) * padded(W / 4) + rows * padded(wx);
  return (
    // Threads without columns would wait for the others, but for the smallest heads.
    wx <= Math.max(4, W / 4) &&
    threads <= limits.maxComputeInvocationsPerWorkgroup &&
    16 * vectors + 4 * tm * threads <= limits.maxComputeWorkgroupStorageSize
  );
}

/** Rows of vectors on their way into workgroup memory. */
interface Supply {
  readonly declared: readonly string[];
  /** Statements that load the rows from `first` on into registers, where that is done ahead. */
  load(first?: string): readonly string[];
  /** Statements that put them where they are held. */
  store(first: string): readonly string[];
}

/**
 * How the threads move `rows` rows of `width` vectors: `from` is WGSL for vector `column` of row `row`, `to` for the place of
 * that vector, where `row` counts from the first one moved.
 */
function supply(
  name: string,
  [rows, width]: readonly [rows: number, width: number],
  { wx, wy, ahead }: AttentionBlocks,
  from: (row: string, column: string) => string,
  to: (row: string, column: string) => string,
): Supply {
  const [vectors, threads] = [rows * width, wx * wy];
  if (!ahead) {
    const store = (first: string): string[] => [
      `for (var i = lane; i < ${vectors}u; i += ${threads}u) {`,
      block(2, [
        `let row = i / ${width}u;`,
        `let column = i % ${width}u;`,
        `${to("row", "column")} = ${from(sum(first, "row"), "column")};`,
      ]),
      "}",
    ];
    return { declared: [], load: () => [], store };
  }
  const each = (f: (register: string, row: string, column: string) => string): string[] =>
    times(Math.ceil(vectors / threads), (t) => {
      const i = t > 0 ? `(lane + ${t * threads}u)` : "lane";
      const apart = threads % width === 0 && t > 0;
      const row = apart ? `(lane / ${width}u + ${(t * threads) / width}u)` : `(${i} / ${width}u)`;
      const statement = f(`${name}${t}`, row, `${apart ? "lane" : i} % ${width}u`);
      return guarded((t + 1) * threads > vectors ? `${row} < ${rows}u` : "", statement);
    });
  return {
    declared: [times(Math.ceil(vectors / threads), (t) => `var ${name}${t}: vec4f;`).join(" ")],
    load: (first) => each((register, row, column) => `${register} = ${from(sum(first, row), column)};`),
    store: () => each((register, row, column) => `${to(row, column)} = ${register};`),
  };
}

/** WGSL for `start` and, added one by one, each component of the vector `factors` times one of four vectors. */
const fused = (factors: string, vectors: readonly string[], start: string): string =>
  vectors.reduce((added, v, i) => `fma(vec4f(${factors}.${xyzw[i]}), ${v}, ${added})`, start);

/**
 * For each block of keys: a thread's scores, four keys for each of its rows; their powers, by the largest score of the row
 * so far, which the threads of the row find together; and these times the values, for some columns of its rows, scaled anew
 * whenever a larger score comes. W, and where heads start, must be multiples of 4.
 * Source: Milakov and Gimelshein 2018, arXiv 1805.02867, algorithm 3; Dao et al. 2022, arXiv 2205.14135.
 */
export function flashAttention(
  [q, k, v]: AttentionOperands,
  { B, T, S, H, W }: AttentionSizes,
  output: Context<never, never, never>["output"],
  blocks: AttentionBlocks,
): Launch {
  const { wx, wy, tm } = blocks;
  const [width, keys, rows] = [W / 4, 4 * wx, rowsOf(blocks)];
  const [step, powersStep] = [padded(width), padded(wx)];
  const across = Math.ceil(width / wx);
  const stored = output(4);
  /** A number for each row of a thread. */
  const ofThread = tm === 1 ? "f32" : `vec${tm}f`;
  // What holds several of them is bound once: a plan of memory may then let the launch write beside it.
  const bound = new Map([v, k, q].map(({ value }, i) => [value, ["v", "k", "q"][i] as string]));
  const start = (tokens: number, { stride, offset }: Omit<Heads, "value">): string =>
    plus(`group.z * ${(tokens * stride) / 4}u + group.y * ${width}u`, offset / 4);
  const entry = (name: string, { value, stride }: Heads, token: string, column: string): string =>
    `${bound.get(value)}[${name}Start + ${token} * ${stride / 4}u + ${column}]`;
  const inKeys = (s: string): string => (S % keys ? `min(${s}, ${S - 1}u)` : `(${s})`);

  const ofRows = (f: (r: number) => string): string[] => times(tm, f);
  const ofSums = (f: (r: number, c: number, name: string) => string): string[] =>
    times(tm * across, (i) => f(Math.floor(i / across), i % across, `o${i}`));
  const inRow = (name: string, r: number): string => (tm === 1 ? name : `${name}.${xyzw[r]}`);
  const rowAt = (r: number, size: number): string => `(${plus(`local.y * ${tm}u`, r)}) * ${size}u`;
  const rowOf = (r: number): string => plus(`row0 + local.y * ${tm}u`, r);
  const column = (c: number): string => {
    const at = plus("local.x", c * wx);
    return (c + 1) * wx > width ? `min(${at}, ${width - 1}u)` : at;
  };
  const overRow = (name: string, combined: (other: string) => string): string =>
    `for (var i = 0u; i < ${wx}u; i++) { ${name} = ${combined(`exchanged[local.y * ${wx}u + i]`)}; }`;

  const heldAt = (row: string, at: string): string => `held[${row} * ${step}u + ${at}]`;
  const ofQueries = supply(
    "queries",
    [rows, width],
    blocks,
    (row, at) => entry("q", q, T % rows ? `min(${row}, ${T - 1}u)` : `(${row})`, at),
    (row, at) => `queries[${row} * ${step}u + ${at}]`,
  );
  // A thread's four neighbouring keys lie wx rows apart, so that neighbouring threads read neighbouring rows.
  const ofKeys = supply(
    "keys",
    [keys, width],
    blocks,
    (row, at) => entry("k", k, inKeys(row), at),
    (row, at) => heldAt(`(${row} % 4u * ${wx}u + ${row} / 4u)`, at),
  );
  const ofValues = supply(
    "values",
    [keys, width],
    blocks,
    (row, at) => entry("v", v, inKeys(row), at),
    heldAt,
  );

  const score = [
    ...ofRows((r) => `var s${r} = vec4f();`),
    `for (var i = 0u; i < ${width}u; i++) {`,
    block(2, [
      ...times(4, (j) => `let k${j} = held[(${plus("local.x", j * wx)}) * ${step}u + i];`),
      ...times(4, (c) => `let c${c} = vec4f(${times(4, (j) => `k${j}.${xyzw[c]}`).join(", ")});`),
      ...ofRows((r) => `let q${r} = queries[${rowAt(r, step)} + i];`),
      ...ofRows((r) => `s${r} = ${fused(`q${r}`, ["c0", "c1", "c2", "c3"], `s${r}`)};`),
    ]),
    "}",
    ...ofRows((r) => `s${r} *= ${f32(1 / Math.sqrt(W))};`),
    ...(S % keys
      ? [
          `let isKey = vec4u(first + 4u * local.x) + vec4u(0u, 1u, 2u, 3u) < vec4u(${S}u);`,
          ...ofRows((r) => `s${r} = select(vec4f(${lowest}), s${r}, isKey);`),
        ]
      : []),
    `exchanged[lane] = ${ofThread}(${ofRows((r) => `max(max(s${r}.x, s${r}.y), max(s${r}.z, s${r}.w))`).join(", ")});`,
  ];
  const power = [
    "var most = largest;",
    overRow("most", (other) => `max(most, ${other})`),
    "let scale = exp(largest - most);",
    "largest = most;",
    ...ofRows((r) => `let p${r} = exp(s${r} - ${inRow("most", r)});`),
    ...ofRows((r) => `powers[${rowAt(r, powersStep)} + local.x] = p${r};`),
    `total = total * scale + ${ofThread}(${ofRows((r) => `(p${r}.x + p${r}.y) + (p${r}.z + p${r}.w)`).join(", ")});`,
    ...ofSums((r, _, o) => `${o} *= ${inRow("scale", r)};`),
  ];
  const mix = [
    `for (var j = 0u; j < ${S % keys ? `min(${wx}u, (${S + 3}u - first) / 4u)` : `${wx}u`}; j++) {`,
    block(2, [
      ...ofRows((r) => `let power${r} = powers[${rowAt(r, powersStep)} + j];`),
      ...times(4 * across, (i) => {
        const at = plus("4u * j", Math.floor(i / across));
        return `let v${i} = held[(${at}) * ${step}u + ${column(i % across)}];`;
      }),
      ...ofSums((r, c, o) => {
        const values = times(4, (j) => `v${j * across + c}`);
        return `${o} = ${fused(`power${r}`, values, o)};`;
      }),
    ]),
    "}",
  ];
  return launch({
    label: "attention",
    bindings: [
      ...[...bound].toReversed().map(([value, name]) => bind(name, value, "vec4f")),
      ...stored.extra,
      stored.binding,
    ],
    workgroups: [Math.ceil(T / rows), H, B],
    workgroupSize: [wx, wy],
    module: [
      ...stored.module,
      `var<workgroup> queries: array<vec4f, ${rows * step}>;`,
      `var<workgroup> held: array<vec4f, ${keys * step}>;`,
      `var<workgroup> powers: array<vec4f, ${rows * powersStep}>;`,
      `var<workgroup> exchanged: array<${ofThread}, ${wx * wy}>;`,
    ],
    body: block(2, [
      `let row0 = group.x * ${rows}u;`,
      `let qStart = ${start(T, q)};`,
      `let kStart = ${start(S, k)};`,
      `let vStart = ${start(S, v)};`,
      ...[ofQueries, ofKeys, ofValues].flatMap(({ declared }) => declared),
      ...ofKeys.load(),
      ...ofQueries.load("row0"),
      ...ofQueries.store("row0"),
      `var largest = ${ofThread}(${lowest});`,
      `var total = ${ofThread}();`,
      ...ofSums((_r, _c, o) => `var ${o} = vec4f();`),
      `for (var first = 0u; first < ${S}u; first += ${keys}u) {`,
      block(2, [
        ...ofValues.load("first"),
        ...ofKeys.store("first"),
        "workgroupBarrier();",
        ...score,
        "workgroupBarrier();",
        ...ofValues.store("first"),
        ...(S > keys
          ? [`if (first + ${keys}u < ${S}u) {`, block(2, ofKeys.load(`first + ${keys}u`)), "}"]
          : []),
        ...power,
        "workgroupBarrier();",
        ...mix,
        "workgroupBarrier();",
      ]),
      "}",
      "exchanged[lane] = total;",
      "workgroupBarrier();",
      `total = ${ofThread}();`,
      overRow("total", (other) => `total + ${other}`),
      `let resultStart = ${start(T, { stride: H * W, offset: 0 })};`,
      ...ofRows((r) =>
        [
          T % rows ? `if (${rowOf(r)} < ${T}u) {` : "{",
          block(2, [
            `let at = resultStart + (${rowOf(r)}) * ${(H * W) / 4}u + local.x;`,
            ...times(across, (c) => {
              const [place, o] = [plus("at", c * wx), `o${r * across + c} / ${inRow("total", r)}`];
              const hasColumn = (c + 1) * wx > width ? `${plus("local.x", c * wx)} < ${width}u` : "";
              return guarded(hasColumn, `result[${place}] = ${stored.finish(o, place)};`);
            }),
          ]),
          "}",
        ].join("\n"),
      ),
    ]),
  });
}
