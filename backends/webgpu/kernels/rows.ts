/** Reductions over the last axis: one thread a row on CPU drivers, one workgroup a row on GPUs. */
import { type DType, ops, sizeOf, type Value } from "../../../ir/index.ts";
import { type Combination, combined, Exchange } from "../exchange.ts";
import {
  type Binding,
  type Element,
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

/** How threads share a row. */
interface Sharing {
  /** How many do, each of number `lane`. */
  readonly lanes: number;
  readonly exchange: Exchange;
}

/** A row as its kernel sees it. */
interface Row extends Sharing {
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

/** A row that is one thread's alone. */
const oneThread: Sharing = { lanes: 1, exchange: new Exchange(1, { features: [] }) };

/** Statements for softmax. */
const softmaxOf = (width: number, dtype: DType, { lanes, exchange }: Sharing, x: Entry, y: Entry): string => `
        var largest = ${lowest};
        ${sharedLoop(width, lanes)} { largest = max(largest, ${x("j")}); }${exchange.across("largest", "maximum")}
        var total = 0.0f;
        ${sharedLoop(width, lanes)} {
          let power = exp(${x("j")} - largest);
          ${y("j")} = power;
          total += power;
        }${exchange.across("total", "sum")}
        ${sharedLoop(width, lanes)} { ${y("j")} = ${rounded(dtype, `${y("j")} / total`)}; }`;

export const softmax: LaunchKernel = kernel(
  ops.softmax,
  ({ operands: { x }, results: { y }, profile }) => [
    softmaxRows(read("x", x), write("y", y), y.type.dtype, rowsOf(x), profile),
  ],
  { row: ({ x, y }, { N }, dtype) => softmaxOf(N, dtype, oneThread, x, y) },
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
      body: (row) => `
        let start = row * ${stride}u;${softmaxOf(
          width,
          dtype,
          row,
          (k) => `${from}[start + ${k}]`,
          (k) => `y[start + ${k}]`,
        )}
        ${stride > width ? `${sharedLoop(stride - width, row.lanes)} { y[start + ${width}u + j] = 0.0f; }` : ""}`,
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

/** Statements for the sum or the maximum of a row, `sum`, in the row's own type. */
const reductionOf = (
  width: number,
  element: Element,
  how: Combination,
  { lanes, exchange }: Sharing,
  x: Entry,
): string => `
        var sum = ${how === "sum" ? `${element}()` : x("0u")};
        ${sharedLoop(width, lanes)} { sum = ${combined[how]("sum", x("j"))}; }${exchange.across("sum", how, element)}`;

/** The kernel of sums or maxima, also of integers. */
const reduction = (op: typeof ops.reduceSum, how: Combination): LaunchKernel =>
  kernel(
    op,
    ({ operands: { x }, profile, output }) => {
      const [rows, width] = rowsOf(x);
      const entry: Entry = (j) => `x[row * ${width}u + ${j}]`;
      const spec: RowSpec = {
        label: op.name,
        bindings: [read("x", x)],
        rows,
        output: output(1),
        body: (row) => `${reductionOf(width, elementOf[x.type.dtype], how, row, entry)}
        ${row.lanes === 1 ? "" : "if (lane == 0u) "}{ ${row.stored("sum", "row")} }`,
      };
      return [overRows(spec, profile)];
    },
    {
      epilogue: 2,
      row: ({ x, y }, { N }, dtype) => `${reductionOf(N, elementOf[dtype], how, oneThread, x)}
        ${y("0u")} = ${rounded(dtype, "sum")};`,
    },
  );

export const reduceSum: LaunchKernel = reduction(ops.reduceSum, "sum");

export const reduceMax: LaunchKernel = reduction(ops.reduceMax, "maximum");

/** Statements for running sums, each of which `store` takes as `sum`. */
const runningOf = (width: number, element: Element, x: Entry, store: string): string => `
        var sum = ${element}();
        ${sharedLoop(width, 1)} {
          sum += ${x("j")};
          ${store}
        }`;

/** One thread a row: running sums are not shared. */
export const cumsum: LaunchKernel = kernel(
  ops.cumsum,
  ({ operands: { x }, sizes: { N }, profile, output }) => {
    const at = `row * ${N}u + j`;
    return [
      overRows(
        {
          label: "cumsum",
          bindings: [read("x", x)],
          rows: rowsOf(x)[0],
          output: output(1),
          body: ({ stored }) => runningOf(N, elementOf[x.type.dtype], () => `x[${at}]`, stored("sum", at)),
        },
        { ...profile, lanesPerRow: 1 },
      ),
    ];
  },
  {
    epilogue: 2,
    row: ({ x, y }, { N }, dtype) =>
      runningOf(N, elementOf[dtype], x, `${y("j")} = ${rounded(dtype, "sum")};`),
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
          ${sharedLoop(N, 1)} {
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
