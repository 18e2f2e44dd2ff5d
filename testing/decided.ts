/** Whether a program's choices are clear of rounding, so that ways to compute it can be compared choice by choice. */
import { Graph, type Node, type Tensor } from "../ir/index.ts";
import { pipeline, runPasses } from "../passes/index.ts";
import { outputsOf, type Program } from "./program.ts";

/** Scores nearer than this, as a share of the larger (at least 1), may be told apart differently by two backends. */
const clear = 1e-5;

const isFloat = ({ type }: Node["operands"][number]): boolean => type.dtype === "f32";

/** Whether a core op compares: floats become integers or booleans, other than each by itself. */
const compares = ({ op, operands, results }: Node): boolean =>
  operands.some(isFloat) && !results.every(isFloat) && !(op.has("elementwise") && operands.length === 1);

/**
 * Whether no two scores that `program` compares are nearly equal. Equal ones are clear only where `ties` says that
 * they are equal however they are computed.
 */
export function isDecided(
  program: Pick<Program, "graph" | "inputs" | "weights">,
  outputs: readonly string[],
  ties: boolean,
): boolean {
  const core = runPasses(program.graph, pipeline({ supports: (op) => !op.decompose }, outputs));
  const nodes = core.nodes.filter(compares);
  const scores = nodes.flatMap(({ operands }, n) =>
    operands.map((operand, i) => [`${n}/${i}`, operand] as const),
  );
  const values = outputsOf(program, new Graph("scores", core.inputs, scores));
  const apart = (a: number, b: number): boolean =>
    (ties && a === b) || Math.abs(a - b) > clear * Math.max(1, Math.abs(a), Math.abs(b));
  return nodes.every(({ operands, sizes }, n) => {
    const [first, second] = operands.map((_, i) => values.get(`${n}/${i}`) as Tensor);
    const own = Array.from(first?.numbers() ?? []);
    if (second) return own.every((value, i) => apart(value, second.numbers()[i] ?? 0));
    const width = operands[0]?.type.shape.at(-1) ?? 1;
    return own.every(
      (_, start) => start % width > 0 || isRanked(own.slice(start, start + width), Number(sizes["k"]), apart),
    );
  });
}

/** Whether the k largest entries are apart from each other and from the others. */
function isRanked(row: readonly number[], k: number, apart: (a: number, b: number) => boolean): boolean {
  const sorted = row.toSorted((a, b) => b - a).slice(0, k + 1);
  return sorted.slice(1).every((value, i) => apart(value, sorted[i] ?? 0));
}
