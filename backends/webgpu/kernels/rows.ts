/** Reductions over the last axis: one thread a row on CPU drivers, one workgroup a row on GPUs. */
import { type DType, ops, sizeOf, type Value } from "../../../ir/index.ts";
import { type Combination, combined, Exchange } from "../exchange.ts";
import {
  type Binding,
  elementOf,
  type Entry,
  grid,
  kernel,
  type Lanes,
  launch,
  type Launch,
  type LaunchKernel,
  type Output,
  read,
  typeOf,
  workgroupGrid,
  write,
} from "../kernel.ts";
import type { Profile } from "../profile.ts";
import { f32, lowest, rounded, roundingModule, sharedLoop } from "../wgsl.ts";
import { normOfRows } from "./norm.ts";

interface RowSpec {
  readonly label: string;
  readonly bindings: readonly Binding[];
  readonly rows: number;
  readonly module?: string;
  /** Where the result goes, where it is not among the bindings. */
  readonly output?: Output;
  /** Statements for the row `row`. */
  readonly body: (row: Row) => string;
}

/** A row as its kernel sees it. */
interface Row {
  /** How many threads share it, each of number `lane`. */
  readonly lanes: number;
  readonly exchange: Exchange;
  /** A statement that stores. */
  readonly stored: (value: string, i: string) => string;
}

/** A launch with `profile.lanesPerRow` threads a row. */
function overRows(
  { label, bindings: own, rows, module: ownModule = "", output, body }: RowSpec,
  profile: Profile,
): Launch {
  const lanes = profile.lanesPerRow;
  const exchange = new Exchange(lanes, profile);
  const bindings = [...own, ...(output ? [...output.extra, output.binding] : [])];
  const module = [ownModule, ...(output?.module ?? [])];
  const stored = (value: string, i: string): string => `result[${i}] = ${output?.finish(value, i) ?? value};`;
  const written = (head: readonly string[]): string =>
    [...head.map((line) => `        ${line}`), body({ lanes, exchange, stored })].join("\n");
  const outside = `if (row >= ${rows}u) { return; }`;
  if (lanes === 1) {
    const { workgroups, index } = grid(rows, profile);
    const head = [index.replace("let i", "let row"), outside];
    return launch({
      label,
      bindings,
      workgroups,
      workgroupSize: [profile.workgroup],
      module,
      body: written(head),
    });
  }
  const { workgroups, head } = workgroupGrid(rows, "row", profile);
  // What the statements exchange through is known once they are written.
  const text = written(head);
  return launch({
    label,
    bindings,
    workgroups,
    workgroupSize: [lanes],
    directives: exchange.directives,
    module: [...exchange.module, ...module],
    body: text,
  });
}

const rowsOf = ({ type }: Value): readonly [rows: number, width: number] => {
  const width = type.shape.at(-1) ?? 1;
  return [sizeOf(type.shape) / width, width];
};

/** A loop over the entries `j` of a row by one thread. */
const each = (width: number): string => sharedLoop(width, 1);

export const softmax: LaunchKernel = kernel(
  ops.softmax,
  ({ operands: { x }, results: { y }, profile }) => [
    softmaxRows(read("x", x), write("y", y), y.type.dtype, rowsOf(x), profile),
  ],
  {
    row: ({ x, y }, { N }, dtype) => `
        var largest = ${lowest};
        ${each(N)} { largest = max(largest, ${x("j")}); }
        var total = 0.0f;
        ${each(N)} {
          let power = exp(${x("j")} - largest);
          ${y("j")} = power;
          total += power;
        }
        ${each(N)} { ${y("j")} = ${rounded(dtype, `${y("j")} / total`)}; }`,
  },
);

/**
 * Softmax of `rows` rows of `width` entries, `stride` apart; entries of x from width to stride are set to 0 in y.
 * With one binding of that name, `y`, the rows are replaced in place.
 */
export function softmaxRows(
  x: Binding | undefined,
  y: Binding,
  dtype: DType,
  [rows, width, stride = width]: readonly [rows: number, width: number, stride?: number],
  profile: Profile,
): Launch {
  const from = x ? "x" : "y";
  return overRows(
    {
      label: "softmax",
      bindings: x ? [x, y] : [y],
      rows,
      module: roundingModule(dtype),
      body: ({ lanes, exchange }) => `
        let start = row * ${stride}u;
        var largest = ${lowest};
        ${sharedLoop(width, lanes)} { largest = max(largest, ${from}[start + j]); }${exchange.across("largest", "maximum")}
        var total = 0.0f;
        ${sharedLoop(width, lanes)} {
          let power = exp(${from}[start + j] - largest);
          y[start + j] = power;
          total += power;
        }${exchange.across("total", "sum")}
        ${sharedLoop(width, lanes)} { y[start + j] = ${rounded(dtype, "y[start + j] / total")}; }
        ${stride > width ? `${sharedLoop(stride - width, lanes)} { y[start + ${width}u + j] = 0.0f; }` : ""}`,
    },
    profile,
  );
}

export const layerNorm: LaunchKernel = kernel(
  ops.layerNorm,
  ({ operands: { x, scale, bias }, sizes, profile, output }) => {
    const { D, epsilon } = sizes;
    const isShared = profile.lanesPerRow > 1;
    const lanes: Lanes = isShared && D % 4 === 0 ? 4 : 1;
    const bound = (name: string, value: Value): Binding => ({
      ...read(name, value),
      element: typeOf(value.type.dtype, lanes),
    });
    const alone = ({ stored }: Row): string => `
        let start = row * ${D}u;
        var mean = 0.0f;
        for (var j = 0u; j < ${D}u; j++) { mean += x[start + j]; }
        mean /= ${f32(D)};
        var variance = 0.0f;
        for (var j = 0u; j < ${D}u; j++) { let centred = x[start + j] - mean; variance += centred * centred; }
        let factor = 1.0f / sqrt(variance / ${f32(D)} + ${f32(epsilon)});
        for (var j = 0u; j < ${D}u; j++) {
          ${stored("(x[start + j] - mean) * factor * scale[j] + bias[j]", "start + j")}
        }`;
    const together = ({ lanes: threads, exchange, stored }: Row): string => {
      const store = ([value = ""]: readonly string[], at: string): string => stored(value, `start + ${at}`);
      const { loads, norm } = normOfRows(sizes, threads, lanes, exchange, ["start"], store);
      return `
        let start = row * ${D / lanes}u;${loads}${norm}`;
    };
    return [
      overRows(
        {
          label: "layer_norm",
          bindings: [bound("x", x), bound("scale", scale), bound("bias", bias)],
          rows: rowsOf(x)[0],
          output: output(lanes),
          body: isShared ? together : alone,
        },
        profile,
      ),
    ];
  },
  { epilogue: 4 },
);

/** Sums and maxima, also of integers: the partial results are kept in the row's own type. */
function reduction(
  x: Value,
  output: Output,
  label: string,
  start: string,
  how: Combination,
  profile: Profile,
): Launch {
  const [rows, width] = rowsOf(x);
  const spec: RowSpec = {
    label,
    bindings: [read("x", x)],
    rows,
    output,
    body: ({ lanes, exchange, stored }) => `
        var sum = ${start};
        ${sharedLoop(width, lanes)} { sum = ${combined[how]("sum", `x[row * ${width}u + j]`)}; }${exchange.across("sum", how, elementOf[x.type.dtype])}
        ${lanes === 1 ? "" : "if (lane == 0u) "}{ ${stored("sum", "row")} }`,
  };
  return overRows(spec, profile);
}

/** What `reduction` computes, by one thread. */
const reducedRow =
  (start: (dtype: DType, x: Entry) => string, how: Combination) =>
  ({ x, y }: Readonly<Record<"x" | "y", Entry>>, { N }: { readonly N: number }, dtype: DType): string =>
    `
        var sum = ${start(dtype, x)};
        ${each(N)} { sum = ${combined[how]("sum", x("j"))}; }
        ${y("0u")} = ${rounded(dtype, "sum")};`;

export const reduceSum: LaunchKernel = kernel(
  ops.reduceSum,
  ({ operands: { x }, profile, output }) => [
    reduction(x, output(1), "reduce_sum", `${elementOf[x.type.dtype]}()`, "sum", profile),
  ],
  { epilogue: 2, row: reducedRow((dtype) => `${elementOf[dtype]}()`, "sum") },
);

export const reduceMax: LaunchKernel = kernel(
  ops.reduceMax,
  ({ operands: { x }, profile, output }) => [
    reduction(x, output(1), "reduce_max", `x[row * ${rowsOf(x)[1]}u]`, "maximum", profile),
  ],
  { epilogue: 2, row: reducedRow((_, entry) => entry("0u"), "maximum") },
);

/** One thread a row: running sums are not shared. */
export const cumsum: LaunchKernel = kernel(
  ops.cumsum,
  ({ operands: { x }, sizes: { N }, profile, output }) => [
    overRows(
      {
        label: "cumsum",
        bindings: [read("x", x)],
        rows: rowsOf(x)[0],
        output: output(1),
        body: ({ stored }) => `
        var sum = ${elementOf[x.type.dtype]}();
        for (var j = 0u; j < ${N}u; j++) {
          sum += x[row * ${N}u + j];
          ${stored("sum", `row * ${N}u + j`)}
        }`,
      },
      { ...profile, lanesPerRow: 1 },
    ),
  ],
  {
    epilogue: 2,
    row: ({ x, y }, { N }, dtype) => `
        var sum = ${elementOf[dtype]}();
        ${each(N)} {
          sum += ${x("j")};
          ${y("j")} = ${rounded(dtype, "sum")};
        }`,
  },
);

/**
 * One thread an entry: its rank is the number of entries that come before it, larger ones and equal ones of lower
 * index. No sort, no barrier, and exact ties; O(N^2) a row.
 */
export const topK: LaunchKernel = kernel(
  ops.topK,
  ({ operands: { x }, results: { values, indices }, sizes: { N, k }, profile }) => {
    const { workgroups, index } = grid(sizeOf(x.type.shape), profile);
    return [
      launch({
        label: "top_k",
        bindings: [read("x", x), write("values", values), write("indices", indices)],
        workgroups,
        workgroupSize: [profile.workgroup],
        body: `
        ${index}
        if (i >= ${sizeOf(x.type.shape)}u) { return; }
        let row = i / ${N}u;
        let own = x[i];
        var rank = 0u;
        for (var j = 0u; j < ${N}u; j++) {
          let other = x[row * ${N}u + j];
          rank += select(0u, 1u, other > own || (other == own && j < i % ${N}u));
        }
        if (rank < ${k}u) {
          values[row * ${k}u + rank] = own;
          indices[row * ${k}u + rank] = i32(i % ${N}u);
        }`,
      }),
    ];
  },
  {
    // One after the other: the first of the largest among those that come after the last one.
    row: ({ x, values, indices }, { N, k }) => `
        var last = 0u;
        for (var rank = 0u; rank < ${k}u; rank++) {
          var best = ${N}u;
          ${each(N)} {
            let isLeft = rank == 0u || ${x("j")} < ${x("last")} || (${x("j")} == ${x("last")} && j > last);
            if (isLeft && (best == ${N}u || ${x("j")} > ${x("best")})) { best = j; }
          }
          // Beside entries that are no numbers there may be none.
          last = min(best, ${N - 1}u);
          ${values("rank")} = ${x("last")};
          ${indices("rank")} = i32(last);
        }`,
  },
);

/** One thread an entry. */
export const take: LaunchKernel = kernel(
  ops.take,
  ({ operands: { x, indices }, results: { y }, sizes: { N, k }, profile, output }) => {
    const size = sizeOf(y.type.shape);
    const { workgroups, index } = grid(size, profile);
    const stored = output(1);
    return [
      launch({
        label: "take",
        bindings: [read("x", x), read("indices", indices), ...stored.extra, stored.binding],
        workgroups,
        workgroupSize: [profile.workgroup],
        module: stored.module,
        body: `
        ${index}
        if (i >= ${size}u) { return; }
        var entry = ${elementOf[x.type.dtype]}();
        if (indices[i] >= 0) { entry = x[i / ${k}u * ${N}u + u32(indices[i])]; }
        result[i] = ${stored.finish("entry", "i")};`,
      }),
    ];
  },
  {
    epilogue: 3,
    row: ({ x, indices, y }, { k }, dtype) => `
        for (var j = 0u; j < ${k}u; j++) {
          let at = ${indices("j")};
          ${y("j")} = ${elementOf[dtype]}();
          if (at >= 0) { ${y("j")} = ${x("u32(at)")}; }
        }`,
  },
);
