/** Whether two ways to compute a program agree: integers exactly, floats within a tolerance. */
import type { Engine, Tolerance } from "../backends/backend.ts";
import { Tensor, type WeightSource } from "../ir/index.ts";
import { outputsOf, type Program } from "./program.ts";

/** What two ways to compute one op in rounded arithmetic may differ by. */
export const rounding: Tolerance = { f32: 2e-6, f16: 4e-3, bf16: 3e-2 };

/** What errors of single ops add up to in a layer. */
const depth = 5;

/** The largest distance of `got` from `want`, as a share of want's largest magnitude (at least 1). */
export function farthest(got: ArrayLike<number>, want: ArrayLike<number>): number {
  const all = Array.from(want);
  const scale = all.reduce((max, v) => Math.max(max, Math.abs(v)), 1);
  const off = (v: number, i: number): number =>
    Object.is(got[i], v) ? 0 : Math.abs((got[i] ?? Number.NaN) - v) / scale;
  return all.reduce((max, v, i) => Math.max(max, off(v, i)), 0);
}

/** The first of the tensors `got` that is not what is wanted, and how; undefined where all are. */
export function disagreement(
  got: ReadonlyMap<string, Tensor>,
  want: ReadonlyMap<string, Tensor>,
  { f32 }: Tolerance,
): string | undefined {
  for (const [name, tensor] of got) {
    const wanted = want.get(name) as Tensor;
    const allowed = tensor.type.dtype === "f32" ? depth * f32 : 0;
    const off = farthest(tensor.numbers(), wanted.numbers());
    if (!(off <= allowed)) {
      return `${name} is off by ${off}; got [${tensor.numbers().join(", ")}], want [${wanted.numbers().join(", ")}]`;
    }
  }
  return undefined;
}

/** What of a program is compared: the plan, and what experts make of it. */
export const compared: readonly string[] = ["tokens", "slots", "weights", "y"];

const inMemory = (weights: Program["weights"]): WeightSource => ({
  tensors: new Map([...weights].map(([name, { type }]) => [name, type])),
  read(name, rows) {
    const tensor = weights.get(name) as Tensor;
    if (!rows) return Promise.resolve(tensor);
    const [entries = 1, ...rest] = tensor.type.shape;
    const [start, stop] = rows.map((row) => (row * tensor.data.length) / entries);
    const type = { ...tensor.type, shape: [rows[1] - rows[0], ...rest] };
    return Promise.resolve(new Tensor(type, tensor.data.slice(start, stop)));
  },
  close: () => Promise.resolve(),
});

/** Throws where `engine` computes something else than what `program` declares. */
export async function expectAgreement(engine: Engine, program: Program, tolerance: Tolerance): Promise<void> {
  const { graph, inputs, weights } = program;
  const executable = await engine.compile(graph, inMemory(weights), { outputs: compared, check: true });
  try {
    const off = disagreement(await executable.run(inputs), outputsOf(program, graph), tolerance);
    if (off !== undefined) throw new Error(off);
  } finally {
    executable.dispose();
  }
}
