/** Kernels: how this backend computes one op, as WGSL with every size a constant. */
import type {
  AnyOp,
  Bound,
  DType,
  Named,
  Node,
  Op,
  Operands,
  Results,
  Sizes,
  Value,
} from "../../ir/index.ts";
import type { ModuleImage } from "../../runtime/module.ts";
import type { Product, Profile, Tile } from "./profile.ts";
import type { Strips } from "./strips.ts";

/** Elements of a storage buffer as a kernel declares them. */
export type Element = "f32" | "i32" | "u32" | "vec2u" | "vec4f" | "vec4i" | "vec4u";

/** How many neighbouring elements WGSL handles at once: one, or a vector of four. */
export type Lanes = 1 | 4;

/** Device memory that lives for one application, between its launches. */
export interface Scratch {
  readonly element: Element;
  readonly length: number;
}

/** Part `index` of a weight that is cut along its first axis into shards that the device can bind. */
export interface Shard {
  readonly weight: Value;
  readonly index: number;
  /** Entries of the first axis, `start .. stop - 1`. */
  readonly start: number;
  readonly stop: number;
}

/** What a kernel reads and writes. */
export type Resource = Value | Scratch | Shard;

export interface Binding {
  readonly name: string;
  readonly resource: Resource;
  readonly element: Element;
  readonly access: "read" | "read_write";
  /** Of a weight in strips, its image. */
  readonly image?: ModuleImage;
  /** Of a result, the operand in whose memory it lies: each element is read by the thread alone that writes there. */
  readonly replaces?: Value | undefined;
}

/** One launch of a grid of workgroups. */
export interface Launch {
  /** For people: the op, and the step in it. */
  readonly label: string;
  readonly wgsl: string;
  readonly bindings: readonly Binding[];
  readonly workgroups: readonly [x: number, y: number, z: number];
  /** Operations of a matrix product, two for each multiplication and addition, at most. */
  readonly flops?: number;
  /** What it multiplies and how, where it is a matrix product. */
  readonly product?: LaunchedProduct;
}

/** A product as a launch computes it. */
export interface LaunchedProduct extends Product {
  readonly tile: Tile;
  /** What the integers that it reads may be, by binding, for whoever times it alone. */
  readonly samples: Readonly<Record<string, () => Uint32Array>>;
}

/** What a kernel's author writes for a launch; declarations and entry point are added. */
export interface LaunchSpec {
  readonly label: string;
  readonly bindings: readonly Binding[];
  readonly workgroups: Launch["workgroups"];
  readonly workgroupSize: readonly [x: number, y?: number, z?: number];
  /** Threads of a subgroup, where the kernel is written for a number of them. */
  readonly subgroupSize?: number | undefined;
  /** WGSL's directives, such as `enable subgroups;`. */
  readonly directives?: readonly string[];
  /** Declarations outside the entry point; equal ones are made once. */
  readonly module?: string | readonly string[];
  /**
   * The entry point's body; it sees `id`, `local`, `lane`, `group`, `subgroup`, `member` and `members` (WebGPU's built-in
   * ids, and the threads of the subgroup).
   */
  readonly body: string;
}

const builtins: Readonly<Record<string, string>> = {
  id: "@builtin(global_invocation_id) id: vec3u",
  local: "@builtin(local_invocation_id) local: vec3u",
  lane: "@builtin(local_invocation_index) lane: u32",
  group: "@builtin(workgroup_id) group: vec3u",
  member: "@builtin(subgroup_invocation_id) member: u32",
  members: "@builtin(subgroup_size) members: u32",
  subgroup: "@builtin(subgroup_id) subgroup: u32",
};

export function launch({
  label,
  bindings,
  workgroups,
  workgroupSize,
  subgroupSize,
  directives = [],
  module = [],
  body,
}: LaunchSpec): Launch {
  const declarations = bindings.map((binding, i) => `@group(0) @binding(${i}) ${declared(binding)};`);
  const used = Object.entries(builtins).filter(([name]) => new RegExp(`\\b${name}\\b`).test(body));
  const pinned = subgroupSize === undefined ? "" : ` @subgroup_size(${subgroupSize})`;
  const wgsl = [
    ...directives,
    ...declarations,
    ...new Set([module].flat().flatMap((part) => part.trim() || [])),
    `@compute @workgroup_size(${workgroupSize.join(", ")})${pinned}`,
    `fn main(${used.map(([, declaration]) => declaration).join(", ")}) {`,
    indented(body),
    "}",
    "",
  ].join("\n");
  return { label, wgsl, bindings, workgroups };
}

const declared = ({ name, element, access, image }: Binding): string =>
  image
    ? `var ${name}: texture_storage_2d<${image.format}, read>`
    : `var<storage, ${access}> ${name}: array<${element}>`;

/** `body` with the smallest indentation of its lines replaced by two spaces, and without blank lines. */
export function indented(body: string): string {
  const lines = body.split("\n").filter((line) => line.trim());
  const margin = Math.min(...lines.map((line) => line.search(/\S/)));
  return lines.map((line) => `  ${line.slice(margin).trimEnd()}`).join("\n");
}

/** What a kernel is given for one application of its op. */
export interface Context<O, R, S> {
  readonly operands: O;
  readonly results: R;
  readonly sizes: S;
  readonly profile: Profile;
  /** Memory that lives until the application's last launch. */
  readonly scratch: (element: Element, length: number) => Scratch;
  /** A weight's shards, in order; the whole weight as one when it is not cut. */
  readonly shards: (weight: Value) => readonly Shard[];
  /** How the weight lies that a right factor is, where it lies in strips. */
  readonly strips: (factor: Value) => Strips | undefined;
  /** How the op's first result is stored, `lanes` elements at a time. */
  readonly output: (lanes: Lanes) => Output;
  /** Where the rows of operand `LaunchKernel.gathers` lie, when they are to be read from what it is made of. */
  readonly rows: Rows | undefined;
  /** What becomes of the rows of result `LaunchKernel.tail`, when they are not to be written. */
  readonly tail: Tail | undefined;
}

/** A matrix whose entry (m, k) is the element of `value` at the sum of a place of m and one of k. */
export interface Rows {
  readonly value: Value;
  /** Whether four neighbours in a row, from a multiple of four on, are a vector of `value`. */
  readonly vectors: boolean;
  /** WGSL for the places, in `lanes`; `k` counts those, too. */
  row(m: string, lanes: Lanes): string;
  column(k: string, lanes: Lanes): string;
}

/** How a launch stores the elements of a result, and what is made of each on its way. */
export interface Output {
  /** The buffer written, named `result`. */
  readonly binding: Binding;
  /** What is read for it besides. */
  readonly extra: readonly Binding[];
  readonly module: readonly string[];
  /** WGSL for what is stored at `i`, counted in `lanes`, where the op itself computes `value`, before rounding. */
  finish(value: string, i: string): string;
}

type ByName = Readonly<Record<string, Value>>;

/** A kernel that is one launch or several. */
export interface LaunchKernel {
  readonly op: AnyOp;
  emit(context: Context<ByName, ByName, Sizes>): readonly Launch[];
  /**
   * How many buffers the last launch binds, where it writes the first result and nothing else, stores each element once,
   * and by `Context.output`: then what is made of each element alone may be made of it there.
   */
  readonly epilogue?: number;
  /** The operand whose rows, along its last axis, may be read by `Context.rows` instead. */
  readonly gathers?: string;
  /** The operands that are right factors of products, and read as they are stored, see `Stored`. */
  readonly factors?: readonly string[];
  /**
   * Where each row of the results, along the last axis, is made of the same row of the operands: statements by which one
   * thread makes it, given WGSL for the entries of each, and the first operand's dtype.
   */
  row?(entries: Readonly<Record<string, Entry>>, sizes: Sizes, dtype: DType): string;
  /** The result whose rows, along its last axis, `Context.tail` may be given; the one launch binds operands and results. */
  readonly tail?: string;
}

/** What a thread makes, in the launch that makes a result, of each row of it. */
export interface Tail {
  /** What is read and written for it. */
  readonly bindings: readonly Binding[];
  readonly module: readonly string[];
  /** The thread's own array that it finds the row in. */
  readonly array: string;
  /** Statements, given WGSL for the row's number. */
  statements(row: string): string;
}

/** WGSL for the entry of a row at `j`. */
export type Entry = (j: string) => string;

/** A kernel that is an expression: each element of the result from those of the operands at the same index. */
export interface MapKernel {
  readonly op: AnyOp;
  /** WGSL, in `lanes`, of names for the operands' elements; `i` is WGSL for the index, counted in `lanes`. */
  map(operands: readonly string[], node: Node, lanes: Lanes, i: string): string;
  /** Declarations that the expression needs. */
  module?(node: Node, lanes: Lanes): readonly string[];
}

/** Where an element of a result is found: in operand `operand` at index `at`, if `when` holds. */
export interface Piece {
  readonly operand: number;
  readonly at: string;
  readonly when?: string;
}

/** A kernel that moves elements: each element of the result is one of an operand's. */
export interface MoveKernel {
  readonly op: AnyOp;
  /**
   * Where the element at `i`, the name of an index, is: at the first of the pieces whose condition holds. With 4
   * lanes `i` counts vectors of neighbours, and so do the places; undefined where those are no vectors there.
   */
  pieces(node: Node, i: string, lanes: Lanes): readonly Piece[] | undefined;
  /** Where the one element is that all four of vector `i` are; undefined where they differ. */
  repeated?(node: Node, i: string): Piece | undefined;
  /** The result as rows of `width` elements, where the places of rows and of columns in the one operand add up. */
  rows?(node: Node, width: number): Rows | undefined;
  /** Whether an operand's neighbours stay neighbours, so that moving them twice costs no more than keeping them. */
  readonly free: boolean;
}

/** How this backend computes one op. */
export type Kernel = LaunchKernel | MapKernel | MoveKernel;

/** Whether making the elements of an application's result wherever they are wanted costs no more than keeping them. */
export const isFree = (by: Kernel, { operands }: Node): boolean =>
  "pieces" in by ? by.free : operands.length === 0;

/** The kernel of `op` whose launches `emit` writes; see `LaunchKernel`. */
export function kernel<S extends string>(
  op: Op<S>,
  emit: (
    context: Context<Named<Operands<S>, Value>, Named<Results<S>, Value>, Bound<S>>,
  ) => readonly Launch[],
  traits: Pick<LaunchKernel, "epilogue" | "gathers" | "factors" | "tail"> & {
    row?(
      entries: Named<Operands<S>, Entry> & Named<Results<S>, Entry>,
      sizes: Bound<S>,
      dtype: DType,
    ): string;
  } = {},
): LaunchKernel {
  return { op, emit, ...traits };
}

/** How elements of a dtype are stored on the device, but for packed weights: the 16-bit floats as the f32 they stand for. */
export const elementOf: Readonly<Record<DType, Element>> = {
  f32: "f32",
  f16: "f32",
  bf16: "f32",
  i32: "i32",
  u32: "u32",
  bool: "u32",
};

/** The type of `lanes` elements of a dtype. */
export function typeOf(dtype: DType, lanes: Lanes): Element {
  const one = elementOf[dtype];
  return lanes === 1 ? one : (`vec4${one[0] as "f" | "i" | "u"}` as const);
}

/** A binding that reads `value` as it is stored. */
export const read = (name: string, value: Value): Binding => ({
  name,
  resource: value,
  element: elementOf[value.type.dtype],
  access: "read",
});

/** A binding that writes `value` as it is stored. */
export const write = (name: string, value: Value): Binding => ({
  ...read(name, value),
  access: "read_write",
});

/** A binding of a resource as an array of `element`. */
export const bind = (
  name: string,
  resource: Resource,
  element: Element,
  access: Binding["access"] = "read",
): Binding => ({ name, resource, element, access });

/** The grid for one thread an item: workgroups, and how a thread finds its item `i`. */
export function grid(
  items: number,
  { workgroup, limits }: Profile,
): { readonly workgroups: Launch["workgroups"]; readonly index: string } {
  const groups = Math.ceil(items / workgroup);
  const most = limits.maxComputeWorkgroupsPerDimension;
  if (groups <= most) return { workgroups: [groups, 1, 1], index: "let i = id.x;" };
  const rows = Math.ceil(groups / most);
  const across = Math.ceil(groups / rows);
  return { workgroups: [across, rows, 1], index: `let i = id.x + id.y * ${across * workgroup}u;` };
}

/** The grid for one workgroup an item: workgroups, and statements by which its threads find their item, or return together. */
export function workgroupGrid(
  items: number,
  name: string,
  { limits }: Profile,
): { readonly workgroups: Launch["workgroups"]; readonly head: readonly string[] } {
  const down = Math.ceil(items / limits.maxComputeWorkgroupsPerDimension);
  const across = Math.ceil(items / down);
  const head =
    down === 1
      ? [`let ${name} = group.x;`]
      : [`let ${name} = group.x + group.y * ${across}u;`, `if (${name} >= ${items}u) { return; }`];
  return { workgroups: [across, down, 1], head };
}
