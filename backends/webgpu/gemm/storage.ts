/** The right factor of a product as it is stored: what is bound, and WGSL for its elements as f32. */
import type { Value } from "../../../ir/index.ts";
import { type Element, type Lanes, read, type Shard } from "../kernel.ts";
import { type Stored, storedOf } from "../stored.ts";
import { imageOf, type Strips } from "../strips.ts";
import type { Gemm, Matrix } from "./description.ts";

/** A right factor that is stored in fewer bits than 32 an element. */
export interface Narrow {
  readonly bits: Exclude<Stored["bits"], 32>;
  /** Of integers: what the rows of each block are multiplied by. */
  readonly scales?: Matrix & { readonly block: number };
}

/** Which matrix of several it is, as WGSL, in what is bound; and what is bound of `value`, where that is a part. */
interface Entry {
  readonly part?: Shard;
  /** How it lies, where it does in strips. */
  readonly strips?: Strips | undefined;
  readonly entry?: string;
  /** The same among the scales, which are always bound whole. */
  readonly scalesEntry?: string | undefined;
}

/** `value`, a matrix [..., K, N] or several, as a right factor; of several, the one that `entry` says. */
export function rightFactor(
  value: Value,
  { part, strips, entry, scalesEntry = entry }: Entry = {},
): Gemm["right"] {
  const [K = 1, N = 1] = value.type.shape.slice(-2);
  const stored = storedOf(value);
  const { words = value, bits = 32 } = stored ?? {};
  const binding = { ...read("right", words), ...(part && { resource: part }) };
  const factor = strips
    ? {
        binding: {
          ...binding,
          image: imageOf(part ? { ...strips, matrices: part.stop - part.start } : strips),
        },
        bits,
        stride: N,
        ...(entry && { start: () => `${entry} * ${strips.across * strips.rows}u` }),
        strips,
      }
    : { binding, bits, stride: stored?.stride ?? N, ...startOf(entry, stored?.pitch ?? K * N) };
  const { scales } = stored ?? {};
  // Texels of floats are read as f32.
  if (bits === 32 || (strips && !scales)) return factor;
  if (!scales) return { ...factor, narrow: { bits } };
  const { value: factors, block } = scales;
  const start = startOf(scalesEntry, Math.ceil(K / block) * N);
  return {
    ...factor,
    narrow: { bits, scales: { binding: read("scales", factors), stride: N, block, ...start } },
  };
}

/** Where matrix `entry` starts, of those that lie `pitch` elements apart. */
const startOf = (entry: string | undefined, pitch: number): Pick<Matrix, "start" | "aligned"> =>
  entry ? { start: (unit) => `${entry} * ${pitch / unit}u`, aligned: pitch % 4 === 0 } : {};

/** What an array that holds such elements is of, where `lanes` of them are read at once. */
export const storedElement = ({ bits }: Narrow, lanes: Lanes): Element =>
  bits === 16 && lanes === 4 ? "vec2u" : "u32";

/** Declares `${name}At`, the elements `i` of array `name`, counted in `lanes`, as f32. */
export const storedModule = ({ bits }: Pick<Narrow, "bits">, lanes: Lanes, name: string): string =>
  [
    `fn ${name}At(i: u32) -> ${lanes === 1 ? "f32" : "vec4f"} {`,
    ...elementsAt(bits, lanes, name).map((line) => `  ${line};`),
    "}",
  ].join("\n");

function elementsAt(bits: Narrow["bits"], lanes: Lanes, name: string): string[] {
  if (bits === 16) {
    if (lanes === 1) return [`return unpack2x16float(${name}[i / 2u])[i % 2u]`];
    return [`let words = ${name}[i]`, "return vec4f(unpack2x16float(words.x), unpack2x16float(words.y))"];
  }
  if (lanes === 4) return fieldsOf(bits, name);
  const each = 32 / bits;
  return [
    `let field = (${name}[i / ${each}u] >> (${bits}u * (i % ${each}u))) & ${2 ** bits - 1}u`,
    `return f32(field) - ${2 ** (bits - 1)}.0f`,
  ];
}

/** Statements that return the `i`th four of the integers in `words`, an array or a vector. */
function fieldsOf(bits: 8 | 4, words: string): string[] {
  const shifts = [0, 1, 2, 3].map((n) => `${bits * n}u`).join(", ");
  return [
    `let word = ${bits === 8 ? `${words}[i]` : `${words}[i / 2u] >> (16u * (i % 2u))`}`,
    `let fields = (vec4u(word) >> vec4u(${shifts})) & vec4u(${2 ** bits - 1}u)`,
    `return vec4f(fields) - ${2 ** (bits - 1)}.0f`,
  ];
}

/** Declares `rowOf`, row `i` of the four rows of integers in a texel of strips, as f32. */
const texelModule = (bits: 8 | 4): string =>
  [
    "fn rowOf(texel: vec4u, i: u32) -> vec4f {",
    ...fieldsOf(bits, "texel").map((line) => `  ${line};`),
    "}",
  ].join("\n");

/** Declares how a right factor that is stored in fewer bits becomes f32: `rightAt`, or `rowOf` where it lies in strips. */
export const rightModule = ({ strips }: Gemm["right"], { bits }: Narrow, lanes: Lanes): string =>
  strips && bits !== 16 ? texelModule(bits) : storedModule({ bits }, lanes, "right");
