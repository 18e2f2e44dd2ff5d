/** The norm of rows whose entries the threads of a workgroup share. */
import type { Exchange } from "../exchange.ts";
import type { Lanes } from "../kernel.ts";
import { f32, f32s, named, partOf, sharedLoop } from "../wgsl.ts";

/** Entries, or vectors of them, that a thread keeps between the passes over rows: three registers each, or three times four. */
const mostHeld = 12;

const inLines = (statements: readonly string[]): string => statements.join("\n        ");

/**
 * Statements for the rows of `x` that begin at `starts`, one, two or four of them, counted in `lanes`: entries times `scale`
 * plus `bias`, all of them bound in `lanes`, of deviations from the row's mean over their standard deviation. `store` is what
 * becomes of `values`, one of each row, at `at` in them. First come `loads`, after which there may be others that nothing
 * waits for yet.
 */
export function normOfRows(
  { D, epsilon }: { readonly D: number; readonly epsilon: number },
  threads: number,
  lanes: Lanes,
  exchange: Exchange,
  starts: readonly string[],
  store: (values: readonly string[], at: string) => string,
): { readonly loads: string; readonly norm: string } {
  const width = D / lanes;
  const type = f32s(lanes);
  const rows = [...starts.keys()];
  const numbers = f32s(rows.length as 1 | 2 | 4);
  const mean = (t: number): string => partOf("mean", t, rows.length);
  const factor = (t: number): string => partOf("factor", t, rows.length);
  const total = (v: string): string => (lanes === 1 ? v : `${v}.x + ${v}.y + ${v}.z + ${v}.w`);
  /** The sums of all rows over all threads. */
  const summed = (name: string, sum: string): string => {
    const totals = rows.map((t) => total(named(sum, t))).join(", ");
    return `
        var ${name} = ${rows.length === 1 ? totals : `${numbers}(${totals})`};${exchange.across(name, "sum", numbers)}`;
  };
  const means = `${summed("mean", "sum")}
        mean /= ${f32(D)};`;
  const factors = `${summed("variance", "squares")}
        let factor = 1.0f / sqrt(variance / ${f32(D)} + ${f32(epsilon)});`;
  const held = Array.from({ length: Math.ceil(width / threads) }, (_, r) => r);
  if (held.length * rows.length > mostHeld) {
    const each = sharedLoop(width, threads);
    const x = (t: number): string => `x[${starts[t]} + j]`;
    const norm = `
        ${inLines(rows.map((t) => `var ${named("sum", t)} = ${type}();`))}
        ${each} { ${rows.map((t) => `${named("sum", t)} += ${x(t)};`).join(" ")} }${means}
        ${inLines(rows.map((t) => `var ${named("squares", t)} = ${type}();`))}
        ${each} { ${rows.map((t) => `let ${named("centred", t)} = ${x(t)} - ${mean(t)}; ${named("squares", t)} += ${named("centred", t)} * ${named("centred", t)};`).join(" ")} }${factors}
        ${each} { ${store(
          rows.map((t) => `(${x(t)} - ${mean(t)}) * ${factor(t)} * scale[j] + bias[j]`),
          "j",
        )} }`;
    return { loads: "", norm };
  }
  const at = (r: number): string => (r === 0 ? "lane" : `lane + ${r * threads}u`);
  const isThere = (r: number): string | undefined =>
    (r + 1) * threads > width ? `lane < ${width - r * threads}u` : undefined;
  const loads = held.map((r) => {
    const read = [
      ...rows.map((t) => [named(`x${r}`, t), `x[${starts[t]} + ${at(r)}]`] as const),
      ...["scale", "bias"].map((name) => [`${name}${r}`, `${name}[${at(r)}]`] as const),
    ];
    const when = isThere(r);
    return when
      ? `${read.map(([name]) => `var ${name} = ${type}();`).join(" ")}
        if (${when}) { ${read.map(([name, from]) => `${name} = ${from};`).join(" ")} }`
      : read.map(([name, from]) => `let ${name} = ${from};`).join(" ");
  });
  const centred = rows.flatMap((t) =>
    held.map((r) => {
      const when = isThere(r);
      const deviation = `${named(`x${r}`, t)} - ${mean(t)}`;
      return `let ${named(`centred${r}`, t)} = ${when ? `select(${type}(), ${deviation}, ${when})` : deviation};`;
    }),
  );
  const stores = held.map((r) => {
    const when = isThere(r);
    const values = rows.map((t) => `${named(`centred${r}`, t)} * ${factor(t)} * scale${r} + bias${r}`);
    const stored = store(values, at(r));
    return when ? `if (${when}) { ${stored} }` : `{ ${stored} }`;
  });
  const sums = rows.map((t) => `let ${named("sum", t)} = ${held.map((r) => named(`x${r}`, t)).join(" + ")};`);
  const squares = rows.map((t) => {
    const terms = held.map((r) => named(`centred${r}`, t)).map((c) => `${c} * ${c}`);
    return `let ${named("squares", t)} = ${terms.join(" + ")};`;
  });
  const norm = `
        ${inLines(sums)}${means}
        ${inLines(centred)}
        ${inLines(squares)}${factors}
        ${inLines(stores)}`;
  return { loads: loads.map((line) => `\n        ${line}`).join(""), norm };
}
