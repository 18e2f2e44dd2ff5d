/** The norm of a row whose entries the threads of a workgroup share. */
import type { Exchange } from "../exchange.ts";
import type { Lanes } from "../kernel.ts";
import { f32, sharedLoop } from "../wgsl.ts";

/** Entries, or vectors of them, that a thread keeps between the passes over a row: three registers each, or three times four. */
const mostHeld = 12;

/**
 * Statements for row `start`, counted in `lanes`, of `x`: entries times `scale` plus `bias`, all of them bound in `lanes`, of
 * deviations from the mean over their standard deviation. `store` is what becomes of `value` at `at` in the row. First come
 * `loads`, after which there may be others that nothing waits for yet.
 */
export function normOfRow(
  { D, epsilon }: { readonly D: number; readonly epsilon: number },
  threads: number,
  lanes: Lanes,
  exchange: Exchange,
  store: (value: string, at: string) => string,
): { readonly loads: string; readonly norm: string } {
  const width = D / lanes;
  const type = lanes === 1 ? "f32" : "vec4f";
  const total = (v: string): string => (lanes === 1 ? v : `${v}.x + ${v}.y + ${v}.z + ${v}.w`);
  const mean = `
        var mean = ${total("sum")};${exchange.across("mean", "sum")}
        mean /= ${f32(D)};`;
  const factor = `
        var variance = ${total("squares")};${exchange.across("variance", "sum")}
        let factor = 1.0f / sqrt(variance / ${f32(D)} + ${f32(epsilon)});`;
  const held = Array.from({ length: Math.ceil(width / threads) }, (_, r) => r);
  if (held.length > mostHeld) {
    const each = sharedLoop(width, threads);
    const norm = `
        var sum = ${type}();
        ${each} { sum += x[start + j]; }${mean}
        var squares = ${type}();
        ${each} { let centred = x[start + j] - mean; squares += centred * centred; }${factor}
        ${each} { ${store("(x[start + j] - mean) * factor * scale[j] + bias[j]", "j")} }`;
    return { loads: "", norm };
  }
  const at = (r: number): string => (r === 0 ? "lane" : `lane + ${r * threads}u`);
  const isThere = (r: number): string | undefined =>
    (r + 1) * threads > width ? `lane < ${width - r * threads}u` : undefined;
  const loads = held.map((r) => {
    const [x, scale, bias] = [`x[start + ${at(r)}]`, `scale[${at(r)}]`, `bias[${at(r)}]`];
    const when = isThere(r);
    return when
      ? `var x${r} = ${type}(); var scale${r} = ${type}(); var bias${r} = ${type}();
        if (${when}) { x${r} = ${x}; scale${r} = ${scale}; bias${r} = ${bias}; }`
      : `let x${r} = ${x}; let scale${r} = ${scale}; let bias${r} = ${bias};`;
  });
  const centred = held.map((r) => {
    const when = isThere(r);
    return `let centred${r} = ${when ? `select(${type}(), x${r} - mean, ${when})` : `x${r} - mean`};`;
  });
  const stores = held.map((r) => {
    const when = isThere(r);
    const stored = store(`centred${r} * factor * scale${r} + bias${r}`, at(r));
    return when ? `if (${when}) { ${stored} }` : `{ ${stored} }`;
  });
  const norm = `
        let sum = ${held.map((r) => `x${r}`).join(" + ")};${mean}
        ${centred.join("\n        ")}
        let squares = ${held.map((r) => `centred${r} * centred${r}`).join(" + ")};${factor}
        ${stores.join("\n        ")}`;
  return { loads: loads.map((line) => `\n        ${line}`).join(""), norm };
}
