/** Kernels: how this backend computes one op, as WGSL with every size a constant. */
import type { AnyOp, Bound, DType, Named, Op, Operands, Results, Sizes, Value } from "../../ir/index.ts";
import type { Profile } from "./profile.ts";

/** Elements of a storage buffer as a kernel declares them. */
export type Element = "f32" | "i32" | "u32" | "vec4f" | "vec4u";

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
}

/** What a kernel's author writes for a launch; declarations and entry point are added. */
export interface LaunchSpec {
  readonly label: string;
  readonly bindings: readonly Binding[];
  readonly workgroups: Launch["workgroups"];
  readonly workgroupSize: readonly [x: number, y?: number];
  /** Declarations outside the entry point. */
  readonly module?: string;
  /** The entry point's body; it sees `id`, `local`, `lane` and `group` (WebGPU's built-in ids). */
  readonly body: string;
}

const builtins: Readonly<Record<string, string>> = {
  id: "@builtin(global_invocation_id) id: vec3u",
  local: "@builtin(local_invocation_id) local: vec3u",
  lane: "@builtin(local_invocation_index) lane: u32",
  group: "@builtin(workgroup_id) group: vec3u",
};

export function launch({
  label,
  bindings,
  workgroups,
  workgroupSize,
  module = "",
  body,
}: LaunchSpec): Launch {
  const declarations = bindings.map(
    ({ name, element, access }, i) =>
      `@group(0) @binding(${i}) var<storage, ${access}> ${name}: array<${element}>;`,
  );
  const used = Object.entries(builtins).filter(([name]) => new RegExp(`\\b${name}\\b`).test(body));
  const wgsl = [
    ...declarations,
    ...(module ? [module.trim()] : []),
    `@compute @workgroup_size(${workgroupSize.join(", ")})`,
    `fn main(${used.map(([, declaration]) => declaration).join(", ")}) {`,
    indented(body),
    "}",
    "",
  ].join("\n");
  return { label, wgsl, bindings, workgroups };
}

/** `body` with the smallest indentation of its lines replaced by two spaces, and without blank lines. */
function indented(body: string): string {
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
}

type ByName = Readonly<Record<string, Value>>;

/** How this backend computes one op. */
export interface Kernel {
  readonly op: AnyOp;
  emit(context: Context<ByName, ByName, Sizes>): readonly Launch[];
}

export function kernel<S extends string>(
  op: Op<S>,
  emit: (
    context: Context<Named<Operands<S>, Value>, Named<Results<S>, Value>, Bound<S>>,
  ) => readonly Launch[],
): Kernel {
  return { op, emit };
}

/** How elements of a dtype are stored on the device: the 16-bit floats as the f32 they stand for. */
export const elementOf: Readonly<Record<DType, Element>> = {
  f32: "f32",
  f16: "f32",
  bf16: "f32",
  i32: "i32",
  u32: "u32",
  bool: "u32",
};

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
