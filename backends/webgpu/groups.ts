/** Which applications share launches: those of each element alone are made where an element is computed or loaded. */
import type { Graph, Node, Value } from "../../ir/index.ts";
import { sizeOf } from "../../ir/index.ts";
import { Elements } from "./elements.ts";
import { readAs } from "./factors.ts";
import {
  bind,
  type Context,
  elementOf,
  grid,
  isFree,
  type Kernel,
  type Lanes,
  launch,
  type Launch,
  type LaunchKernel,
  type Output,
  type Rows,
  typeOf,
  write,
} from "./kernel.ts";
import { kernelOf, kernels } from "./kernels/index.ts";
import type { Profile } from "./profile.ts";
import {
  applicationsOf,
  inTurn,
  readBy,
  rowLaunch,
  type RowProgram,
  rowProgramsOf,
  tailFor,
  tailOf,
} from "./rowPrograms.ts";
import { operandsOf, originOf, unviewed, viewOf } from "./views.ts";
import { rounded, roundingModule } from "./wgsl.ts";

/** Applications that are computed together, with no buffer between them. */
export interface Group {
  readonly scope: string;
  /** For people: the ops, in order. */
  readonly label: string;
  /** The values read from buffers, each once, none of them a view. */
  readonly operands: readonly Value[];
  /** The values written. */
  readonly results: readonly Value[];
  /** The group's launches, in order; none where the result lies in the memory of the operand. */
  emit(context: Emission): readonly Launch[];
}

/** What a group is given to emit its launches. */
type Emission = Pick<Context<never, never, never>, "scratch" | "shards" | "strips">;

/**
 * The groups of a program, in an order of execution; views are in none. What a group computes is what its applications
 * compute one by one, operation for operation: each rounds to its dtype. O(nodes + edges), but for very large groups.
 */
export function groupsOf(graph: Graph, profile: Profile): readonly Group[] {
  return new Grouping(graph, profile).groups();
}

/** An application that stands for its group, and those that are computed with it. */
interface Members {
  readonly sink: Node;
  /** The application whose launches the group's are, if any; the others are expressions. */
  readonly main: Node | undefined;
  readonly inlined: ReadonlySet<Node>;
  readonly leaves: ReadonlySet<Value>;
  /** The leaves that are read at the index of the result alone. */
  readonly unmoved: readonly Value[];
}

const onlyResult = (node: Node): Value => node.results[0] as Value;

class Grouping {
  readonly #profile: Profile;
  readonly #nodes: readonly Node[];
  readonly #places: ReadonlyMap<Node, number>;
  /** How many operand places and outputs use a value, itself or through views. */
  readonly #uses = new Map<Value, number>();
  /** Values that depend on no input. */
  readonly #fixed = new Set<Value>();
  /** Values that are read from buffers. */
  readonly #kept = new Set<Value>();
  /** Values that some application reads. */
  readonly #read = new Set<Value>();
  /** In whose memory lies what is read after the group in the making, or returned. */
  readonly #needed = new Set<Value>();
  /** The programs of rows, by the applications in them. */
  readonly #programs: ReadonlyMap<Node, RowProgram>;

  constructor(graph: Graph, profile: Profile) {
    this.#profile = profile;
    const nodes = graph.nodes.filter((node) => !node.op.has("view"));
    for (const value of graph.weights) this.#fixed.add(value);
    for (const { operands, results } of nodes) {
      if (!operands.every((value) => this.#fixed.has(unviewed(value)))) continue;
      for (const result of results) this.#fixed.add(result);
    }
    const programs = profile.fuses === false ? [] : rowProgramsOf(graph, nodes, this.#fixed, profile);
    this.#programs = new Map(
      programs.flatMap((program) => applicationsOf(program).map((node) => [node, program] as const)),
    );
    this.#nodes = inTurn(nodes, this.#programs);
    this.#places = new Map(this.#nodes.map((node, i) => [node, i]));
    const count = (value: Value): unknown => this.#uses.set(value, (this.#uses.get(value) ?? 0) + 1);
    for (const node of this.#nodes) {
      const operands = operandsOf(node);
      operands.forEach(count);
      for (const value of operands) this.#read.add(value);
    }
    for (const value of graph.outputs.values()) {
      count(unviewed(value));
      this.#kept.add(unviewed(value));
      this.#needed.add(originOf(value).value);
    }
  }

  groups(): readonly Group[] {
    const found: Group[] = [];
    const joined = new Set<Node>();
    // Users come before what they use: by then it is known who needs a value in a buffer.
    for (const node of this.#nodes.toReversed()) {
      if (joined.has(node)) continue;
      const program = this.#programs.get(node);
      if (program) {
        for (const member of applicationsOf(program)) joined.add(member);
        const group = this.#programGroup(program);
        found.push(group);
        for (const value of group.operands) this.#keep(value);
        continue;
      }
      const launches = "emit" in kernelOf(node);
      if (!node.results.some((result) => this.#kept.has(result))) continue;
      const alone = { sink: node, inlined: new Set<Node>(), unmoved: [] };
      const members: Members = launches
        ? { ...alone, main: node, leaves: new Set() }
        : viewOf(node) === undefined
          ? this.#grow(node)
          : { ...alone, main: undefined, leaves: new Set(operandsOf(node)) };
      if (members.main) joined.add(members.main);
      found.push(this.#group(members));
      for (const value of this.#reads(members)) this.#keep(value);
    }
    return found.toReversed();
  }

  #keep(value: Value): void {
    this.#kept.add(value);
    this.#needed.add(originOf(value).value);
  }

  #programGroup(program: RowProgram): Group {
    const { head } = program;
    const all = applicationsOf(program);
    const label = all.map(({ op }) => op.name).join(" + ");
    const tail = head && tailOf(head);
    const own = head?.results.filter((value) => value !== tail) ?? [];
    const written = all
      .flatMap(({ results }) => results)
      .filter((value) => this.#kept.has(value) && !own.includes(value));
    return {
      scope: all[0]?.scope ?? "",
      label,
      operands: [...(head ? this.#reads({ main: head, leaves: new Set() }) : []), ...readBy(program)],
      results: [...own, ...written],
      emit: (context) =>
        head
          ? launchesOf(head, this.#profile, context, { tail: tailFor(program, written) }).map((one) => ({
              ...one,
              label,
            }))
          : [rowLaunch(label, program, written, this.#profile)],
    };
  }

  /** The operand that a group's first result replaces: every run makes it, and nothing reads its memory besides or later. */
  #replacedBy(members: Members): Value | undefined {
    if (this.#profile.fuses === false) return undefined;
    const element = elementOf[onlyResult(members.sink).type.dtype];
    const read = this.#reads(members).map((value) => originOf(value).value);
    return members.unmoved.find(
      (leaf) =>
        leaf.node &&
        elementOf[leaf.type.dtype] === element &&
        !this.#fixed.has(leaf) &&
        !this.#needed.has(leaf) &&
        read.filter((value) => value === leaf).length === 1,
    );
  }

  /** The largest group that ends in `sink`, the application of an expression. */
  #grow(sink: Node): Members {
    const growth = new Growth(sink);
    if (this.#profile.fuses === false) return growth;
    for (;;) {
      const next = growth.candidate((node) => this.#places.get(node) ?? 0);
      if (!next) return growth;
      const { kernel, node, uses } = next;
      if (this.#programs.has(node)) continue;
      // Once it is made for this group alone, nothing else may need it; and what a run need not repeat is kept.
      const exclusive =
        !uses.shared &&
        this.#uses.get(next.value) === uses.inPlace + uses.moved &&
        (this.#fixed.has(onlyResult(sink)) || !this.#fixed.has(next.value));
      if ("emit" in kernel) {
        const fits = kernel.epilogue !== undefined && this.#fits(kernel.epilogue + growth.leaves.size - 1);
        // The group comes where its last application does: what it makes besides must not be read before.
        const [first, ...others] = node.results;
        const last = next.value === first && !others.some((other) => this.#read.has(other));
        if (!growth.main && fits && exclusive && last && uses.moved === 0) growth.start(next.value, node);
        continue;
      }
      const fits = this.#fits(growth.bindingsWith(node));
      if (fits && (isFree(kernel, node) ? !growth.ofNumbersAlone(next.value) : exclusive && !uses.spread))
        growth.join(node, !exclusive);
    }
  }

  #fits(bindings: number): boolean {
    return bindings <= this.#profile.limits.maxStorageBuffersPerShaderStage;
  }

  /** The values that a group reads from buffers; twice what its main application reads and the others do. */
  #reads({ main, leaves }: Pick<Members, "main" | "leaves">): Value[] {
    const gathered = main && this.#gathered(main);
    const own = main?.operands.flatMap((_, i) => readAs(main, i)) ?? [];
    const read = own.map((value) => (value === gathered?.made ? unviewed(gathered.rows.value) : value));
    return [...read, ...leaves];
  }

  /** The operand that is made by moving alone, for this application alone, and that its kernel can do without. */
  #gathered({ op, operands }: Node): { readonly made: Value; readonly rows: Rows } | undefined {
    const { gathers } = kernels.get(op) as LaunchKernel;
    const operand = operands[op.operands.findIndex(({ name }) => name === gathers)];
    if (!operand || this.#profile.fuses === false) return undefined;
    const made = unviewed(operand);
    const kernel = made.node && kernelOf(made.node);
    if (!kernel || !("pieces" in kernel) || this.#fixed.has(made) || this.#programs.has(made.node))
      return undefined;
    if (!kernel.free && this.#uses.get(made) !== 1) return undefined;
    const rows = kernel.rows?.(made.node, operand.type.shape.at(-1) ?? 1);
    return rows && { made, rows };
  }

  #group(members: Members): Group {
    const { sink, main, inlined } = members;
    const rows = main && this.#gathered(main)?.rows;
    const replaced = this.#replacedBy(members);
    const profile = this.#profile;
    const nodes = [...(main ? [main] : []), ...[...inlined].toReversed()];
    const names = nodes
      .filter((node) => node.operands.length > 0 || nodes.length === 1)
      .map(({ op }) => op.name);
    const label = names.join(" + ");
    return {
      scope: (main ?? sink).scope,
      label,
      operands: [...new Set(this.#reads(members))],
      results: [...sink.results, ...(main ? main.results.slice(1) : [])],
      emit(context) {
        if (!main) return inlined.size > 0 ? [mapLaunch(label, sink, { inlined, replaced }, profile)] : [];
        const launches = launchesOf(main, profile, context, {
          rows,
          output: (lanes) => outputOf(onlyResult(main), onlyResult(sink), { inlined, replaced }, lanes),
        });
        if (inlined.size === 0) return launches;
        return launches.map((one, i) =>
          i < launches.length - 1 ? one : { ...one, label: [one.label, ...names.slice(1)].join(" + ") },
        );
      },
    };
  }
}

/**
 * How a group in the making uses a value: at the index of the result, elsewhere, for many elements of it, and for members
 * that others use, too.
 */
interface Uses {
  inPlace: number;
  moved: number;
  spread: boolean;
  shared: boolean;
}

/** A group in the making, which takes applications in from the last to the first. */
class Growth implements Members {
  readonly sink: Node;
  main: Node | undefined;
  readonly inlined = new Set<Node>();
  readonly leaves = new Set<Value>();
  readonly #uses = new Map<Value, Uses>();
  readonly #users = new Map<Value, Node[]>();
  /** Members whose elements are at the index of the result's. */
  readonly #inPlace = new Set<Node>();
  readonly #considered = new Set<Value>();
  /** Buffers bound besides the leaves. */
  #bound = 1;

  constructor(sink: Node) {
    this.sink = sink;
    this.#take(sink, { moved: 0, spread: false, shared: false });
  }

  get unmoved(): readonly Value[] {
    return [...this.leaves].filter((leaf) => this.#uses.get(leaf)?.moved === 0);
  }

  /** The last leaf not yet considered that an application makes: whatever uses it in the group is in the group by now. */
  candidate(
    placeOf: (node: Node) => number,
  ):
    | { readonly value: Value; readonly node: Node; readonly kernel: Kernel; readonly uses: Uses }
    | undefined {
    const open = [...this.leaves].filter((leaf) => leaf.node && !this.#considered.has(leaf));
    const [value] = open.toSorted((a, b) => placeOf(b.node as Node) - placeOf(a.node as Node));
    if (!value) return undefined;
    this.#considered.add(value);
    const node = value.node as Node;
    return { value, node, kernel: kernelOf(node), uses: this.#uses.get(value) as Uses };
  }

  /** How many buffers the group would bind with `node` in it. */
  bindingsWith(node: Node): number {
    const leaves = new Set([...this.leaves, ...operandsOf(node)]);
    for (const result of node.results) leaves.delete(result);
    return this.#bound + leaves.size;
  }

  /**
   * Whether some member would have nothing but numbers to compute with, were `value` one: what they make is computed on
   * the device, not by its compiler, whose exp may be another.
   */
  ofNumbersAlone(value: Value): boolean {
    if (!isNumber(value)) return false;
    return (this.#users.get(value) ?? []).some(
      (user) => "map" in kernelOf(user) && operandsOf(user).every(isNumber),
    );
  }

  /** Makes `node` of the result `value` the application whose launches the group's are. */
  start(value: Value, node: Node): void {
    this.main = node;
    this.#bound = (kernelOf(node) as LaunchKernel).epilogue ?? 1;
    this.leaves.delete(value);
  }

  /** Takes in `node`, which may be made elsewhere, too, where it is `shared`. */
  join(node: Node, shared: boolean): void {
    const value = onlyResult(node);
    this.leaves.delete(value);
    this.#take(node, { ...(this.#uses.get(value) as Uses), shared });
  }

  #take(node: Node, { moved, spread, shared }: Omit<Uses, "inPlace">): void {
    this.inlined.add(node);
    const isMap = "map" in kernelOf(node);
    if (isMap && moved === 0) this.#inPlace.add(node);
    // A concatenation has room for all of its operands; what has more than that repeats one.
    const given = node.operands.reduce((sum, { type }) => sum + sizeOf(type.shape), 0);
    const repeats = !isMap && given < sizeOf(onlyResult(node).type.shape);
    for (const operand of operandsOf(node)) {
      const uses = this.#uses.get(operand) ?? { inPlace: 0, moved: 0, spread: false, shared: false };
      uses[this.#inPlace.has(node) ? "inPlace" : "moved"]++;
      uses.spread ||= spread || repeats;
      uses.shared ||= shared;
      this.#uses.set(operand, uses);
      this.#users.set(operand, [...(this.#users.get(operand) ?? []), node]);
      this.leaves.add(operand);
    }
  }
}

/** Whether every element of a value is a number in the program. */
function isNumber(value: Value): boolean {
  const { node } = unviewed(value);
  if (!node) return false;
  return node.operands.length === 0 || ("pieces" in kernelOf(node) && node.operands.every(isNumber));
}

/** The launches of an application. */
function launchesOf(
  { op, operands, results, sizes }: Node,
  profile: Profile,
  context: Emission,
  given: Partial<Pick<Context<never, never, never>, "rows" | "output" | "tail">>,
): readonly Launch[] {
  const [first] = results as readonly [Value];
  const alone = { inlined: new Set<Node>(), replaced: undefined };
  return (kernels.get(op) as LaunchKernel).emit({
    operands: named(op.operands, operands),
    results: named(op.results, results),
    sizes,
    profile,
    ...context,
    rows: undefined,
    tail: undefined,
    output: (lanes) => outputOf(first, first, alone, lanes),
    ...given,
  });
}

const named = (
  slots: readonly { readonly name: string }[],
  values: readonly Value[],
): Record<string, Value> => Object.fromEntries(slots.map((slot, i) => [slot.name, values[i] as Value]));

/** What a group makes of elements, and the operand that its result replaces. */
interface Expression {
  readonly inlined: ReadonlySet<Node>;
  readonly replaced: Value | undefined;
}

/** The launch that computes a group without a main application: one thread an element, or four. */
function mapLaunch(label: string, sink: Node, { inlined, replaced }: Expression, profile: Profile): Launch {
  const value = onlyResult(sink);
  const size = sizeOf(value.type.shape);
  const lanes: Lanes = size % 4 === 0 ? 4 : 1;
  const elements = new Elements(inlined, { replaced });
  const { lines, result } = elements.write(value, lanes);
  const { workgroups, index } = grid(size / lanes, profile);
  return launch({
    label,
    bindings: [
      ...elements.bindings,
      { ...write("result", value), element: typeOf(value.type.dtype, lanes), replaces: replaced },
    ],
    workgroups,
    workgroupSize: [profile.workgroup],
    module: elements.module,
    body: [index, "if (i >= arrayLength(&result)) { return; }", ...lines, `result[i] = ${result};`].join(
      "\n",
    ),
  });
}

/** How a launch that computes `made` stores what the group makes of it: the elements of `result`. */
function outputOf(made: Value, result: Value, { inlined, replaced }: Expression, lanes: Lanes): Output {
  const { dtype } = made.type;
  const [from, to] = [typeOf(dtype, lanes), typeOf(result.type.dtype, lanes)];
  const binding = { ...bind("result", result, to, "read_write"), replaces: replaced };
  const own = roundingModule(dtype, lanes);
  const round = (value: string): string => rounded(dtype, value, lanes);
  if (inlined.size === 0) return { binding, extra: [], module: [own], finish: round };
  const elements = new Elements(inlined, { given: made, replaced });
  const { lines, result: returned } = elements.write(result, lanes);
  const text = [
    `fn epilogue(v: ${from}, i: u32) -> ${to} {`,
    ...lines.map((line) => `  ${line}`),
    `  return ${returned};`,
    "}",
  ];
  return {
    binding,
    extra: elements.bindings,
    module: [own, ...elements.module, text.join("\n")],
    finish: (value, i) => `epilogue(${round(value)}, ${i})`,
  };
}
