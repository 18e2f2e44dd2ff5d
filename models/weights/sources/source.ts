/** The table of a source: what its tensors are called in a model of ours, and how they lie there. */
import { fileError } from "../../../files/bytes.ts";
import type { WeightSource } from "../../../ir/index.ts";
import type { Json } from "../../config.ts";
import { rearranged, type View } from "../rearranged.ts";

/** How a source lays out the axes of what we call a kernel: for each of our axes, which of its it is. */
const layouts = {
  /** Features out, features in; ours is [in, out]. */
  "[out, in]": [1, 0],
  /** Features out, channels, down, across; ours is [down, across, channels, features]. */
  "[out, channels, y, x]": [2, 3, 1, 0],
} as const;

/**
 * A name of the source, our name, and the source's layout where it is not ours. `*` stands for a number, the same in
 * both; `...`, at the end, for whatever follows, the same in both. `{a,b}` is either in the source's name; in ours it
 * cuts the tensor along its first axis into as many equal parts.
 */
export type Row = readonly [theirs: string, ours: string, layout?: keyof typeof layouts];

/** Where weights come from: what is told from their names alone. */
export interface Source {
  readonly name: string;
  /** Who writes such files. */
  readonly summary: string;
  /** A name, as in a row, that no other source has. */
  readonly mark: string;
  /** What training code puts before the names of parameters; then all that is not behind it is passed over. */
  readonly prefixes: readonly string[];
  /** The keys of a configuration that such weights are trained with, where they are not the original's. */
  readonly config: Json;
  readonly rows: readonly Row[];
}

/** Weights under our names, and the keys of a configuration that they were trained with. */
export interface WeightFile extends WeightSource {
  /** The name of the source. */
  readonly origin: string;
  readonly config: Json;
}

/** `file`, whose errors call it `name`, as one of `source`'s. Throws W1 where two tensors have one name of ours. */
export function named(name: string, file: WeightSource, source: Source): WeightFile {
  const prefix = prefixOf([...file.tensors.keys()], source) ?? "";
  const rows = source.rows.map(compiled);
  const views = new Map<string, View>();
  for (const from of file.tensors.keys()) {
    if (!from.startsWith(prefix)) continue;
    for (const [ours, view] of viewsOf(from, from.slice(prefix.length), rows)) {
      const other = views.get(ours);
      if (other) throw fileError(name, `has ${ours} twice: as ${other.from} and as ${from}`);
      views.set(ours, view);
    }
  }
  return { ...rearranged(name, file, views), origin: source.name, config: source.config };
}

/** What stands before the names of parameters; undefined where no name is of the source. */
export function prefixOf(names: readonly string[], { mark, prefixes }: Source): string | undefined {
  const marked = pattern(mark);
  return ["", ...prefixes].find((prefix) =>
    names.some((name) => name.startsWith(prefix) && marked.test(name.slice(prefix.length))),
  );
}

interface CompiledRow {
  readonly theirs: RegExp;
  readonly ours: string;
  readonly axes: readonly number[] | undefined;
}

const compiled = ([theirs, ours, layout]: Row): CompiledRow => ({
  theirs: pattern(theirs),
  ours,
  axes: layout && layouts[layout],
});

/** The names that a row's source name stands for. */
function pattern(name: string): RegExp {
  const parts = name.split(/(\*|\.\.\.$|\{[^}]*\})/).map((part) => {
    if (part === "*") return "(\\d+)";
    if (part === "...") return "(.+)";
    const plain = part.replace(/[.|\\^$()[\]+?]/g, "\\$&");
    return part.startsWith("{") ? `(?:${plain.slice(1, -1).replaceAll(",", "|")})` : plain;
  });
  return new RegExp(`^${parts.join("")}$`);
}

/** Our tensors in the source's tensor `from`; one of no row keeps the name `local`. */
function viewsOf(from: string, local: string, rows: readonly CompiledRow[]): [string, View][] {
  for (const { theirs, ours, axes } of rows) {
    const match = theirs.exec(local);
    if (!match) continue;
    const kept = match.slice(1);
    const name = ours.replace(/\*|\.\.\.$/g, () => kept.shift() ?? "");
    const [, before = name, list, after = ""] = /^(.*)\{(.*)\}(.*)$/.exec(name) ?? [];
    const parts = list?.split(",") ?? [""];
    return parts.map((part, i) => [
      before + part + after,
      { from, part: [i, parts.length], ...(axes && { axes }) },
    ]);
  }
  return [[local, { from }]];
}
