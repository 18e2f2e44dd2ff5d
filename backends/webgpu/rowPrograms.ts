/** Programs of rows: applications that make each row of theirs of the same row of others, by one thread for all of them. */
import { type Graph, input, type Node, sizeOf, Tensor, type Value } from "../../ir/index.ts";
import { Elements } from "./elements.ts";
import {
  type Binding,
  elementOf,
  type Entry,
  grid,
  indented,
  isFree,
  launch,
  type Launch,
  type LaunchKernel,
  type Tail,
  write,
} from "./kernel.ts";
import { kernelOf } from "./kernels/index.ts";
import type { Profile } from "./profile.ts";
import { operandsOf, unviewed, viewOf } from "./views.ts";
import { block, roundingModule } from "./wgsl.ts";

/** Applications that are computed together, row by row. */
export interface RowProgram {
  /** Into how many rows, one after the other, the elements of every value are divided. */
  readonly rows: number;
  /** In an order of execution. */
  readonly members: readonly Node[];
  /** What makes rows that members go on from, in the same launch. */
  readonly head?: Node | undefined;
}

/** All applications of a program. */
export const applicationsOf = ({ head, members }: RowProgram): readonly Node[] => [
  ...(head ? [head] : []),
  ...members,
];

/** Elements of a value's row at most: a thread keeps the rows of all values to itself. */
const mostEntries = 128;

/** The same for each row that there is: few and long ones are better shared by threads. */
const mostOfFew = 16;

/** Bytes of a thread's own rows at most: of 8 KiB, which WGSL promises, with room for those that a head makes. */
const mostBytes = 7 * 1024;

/** Applications over whole rows at least: one alone has a launch of its own, with more threads. */
const fewestSteps = 2;

const isStep = (node: Node): boolean => {
  const kernel = kernelOf(node);
  return "emit" in kernel && kernel.row !== undefined;
};

/** The result whose rows may be gone on from in the launch that makes them. */
export const tailOf = (node: Node): Value | undefined => {
  const { op, results } = node;
  const kernel = kernelOf(node);
  if (!("emit" in kernel) || kernel.tail === undefined) return undefined;
  return results[op.results.findIndex(({ name }) => name === kernel.tail)];
};

const widthOf = ({ type }: Value, rows: number): number => sizeOf(type.shape) / rows;

/**
 * The programs of rows that are worth a launch of their own, none of which has an application of another; nothing outside of
 * one both needs its results and is needed by it. `nodes` are in an order of execution, `fixed` is what a run need not repeat.
 * O(nodes), but for what is near to applications over short rows.
 */
export function rowProgramsOf(
  graph: Graph,
  nodes: readonly Node[],
  fixed: ReadonlySet<Value>,
  profile: Profile,
): readonly RowProgram[] {
  const search = new Search(graph, nodes, fixed, profile);
  return nodes.flatMap((node) => search.around(node) ?? []);
}

/** `nodes`, in an order of execution in which the members of a program follow one another. */
export function inTurn(nodes: readonly Node[], programs: ReadonlyMap<Node, RowProgram>): readonly Node[] {
  if (programs.size === 0) return nodes;
  const done = new Set<Node>();
  const visit = (node: Node): void => {
    if (done.has(node)) return;
    const program = programs.get(node);
    const members = program ? applicationsOf(program) : [node];
    for (const member of members) done.add(member);
    for (const { node: maker } of members.flatMap(operandsOf)) if (maker) visit(maker);
    order.push(...members);
  };
  const order: Node[] = [];
  nodes.forEach(visit);
  return order;
}

/** The search for programs, each around an application over rows. */
class Search {
  readonly #fixed: ReadonlySet<Value>;
  readonly #nodes: readonly Node[];
  readonly #places: ReadonlyMap<Node, number>;
  readonly #users = new Map<Value, Node[]>();
  readonly #returned: ReadonlySet<Value>;
  readonly #most: number;
  readonly #taken = new Set<Node>();
  /** Whether a moving application leaves an operand's rows where they are, by what it is. */
  readonly #still = new Map<string, boolean>();

  constructor(graph: Graph, nodes: readonly Node[], fixed: ReadonlySet<Value>, profile: Profile) {
    this.#fixed = fixed;
    this.#nodes = nodes;
    this.#places = new Map(nodes.map((node, i) => [node, i]));
    for (const node of nodes) {
      for (const value of operandsOf(node)) this.#users.set(value, [...(this.#users.get(value) ?? []), node]);
    }
    this.#returned = new Set([...graph.outputs.values()].map(unviewed));
    this.#most = profile.limits.maxStorageBuffersPerShaderStage;
  }

  /** The program around an application over rows, with as many others as may be: of those, that of the shortest rows. */
  around(seed: Node): RowProgram | undefined {
    if (!isStep(seed)) return undefined;
    let best: RowProgram | undefined;
    let most = fewestSteps - 1;
    const shape = seed.operands[0]?.type.shape ?? [];
    for (let axes = shape.length - 1; axes > 0; axes--) {
      const rows = sizeOf(shape.slice(0, axes));
      if (!this.#fits(seed, rows)) break;
      const members = this.#grown(seed, rows);
      const steps = members.filter(isStep).length;
      if (steps > most) [best, most] = [{ rows, members }, steps];
    }
    if (!best) return undefined;
    const program = { ...best, head: this.#headOf(best) };
    for (const node of applicationsOf(program)) this.#taken.add(node);
    return program;
  }

  /** What makes rows that the members go on from, where one launch can make those and the members' own. */
  #headOf({ rows, members }: RowProgram): Node | undefined {
    const { leaves } = leavesOf(members);
    const makers = [...leaves].flatMap((value) => value.node ?? []);
    return makers.find((node) => {
      const tail = tailOf(node);
      const all = new Set([node, ...members]);
      return (
        tail !== undefined &&
        !this.#taken.has(node) &&
        members.every((member) => this.#keepsRows(member, all, rows)) &&
        widthOf(tail, rows) === tail.type.shape.at(-1) &&
        node.results.every((value) => !this.#fixed.has(value) && leaves.has(value) === (value === tail)) &&
        this.#isConvex(all) &&
        this.#bindings(new Set(members), node) <= this.#most
      );
    });
  }

  /** The members of the largest program of so many rows around `seed`. */
  #grown(seed: Node, rows: number): readonly Node[] {
    let members = new Set([seed]);
    for (;;) {
      const more = this.#inOrder(
        [...members].flatMap((node) => [
          ...operandsOf(node).flatMap((value) => value.node ?? []),
          ...node.results.flatMap((value) => this.#users.get(value) ?? []),
        ]),
      ).find((node) => !members.has(node) && this.#fits(node, rows) && this.#isWhole(members, node, rows));
      if (!more) return this.#inOrder(members);
      members = new Set([...members, more]);
    }
  }

  #inOrder(nodes: Iterable<Node>): Node[] {
    return [...new Set(nodes)].toSorted((a, b) => (this.#places.get(a) ?? 0) - (this.#places.get(b) ?? 0));
  }

  /** Whether an application could be a member of a program of so many rows. */
  #fits(node: Node, rows: number): boolean {
    const { operands, results } = node;
    if (this.#taken.has(node) || results.some((value) => this.#fixed.has(value))) return false;
    // What lies in its operand's memory is there already.
    if (viewOf(node) !== undefined) return false;
    const kernel = kernelOf(node);
    const isOfRows = isStep(node) || "map" in kernel || "pieces" in kernel;
    if (!isOfRows || operands.length === 0) return false;
    const own = isStep(node) ? [...operands, ...results] : results;
    const widths = own.map((value) => widthOf(value, rows));
    if (!widths.every((width) => Number.isInteger(width) && width <= Math.min(mostEntries, mostOfFew * rows)))
      return false;
    return !isStep(node) || own.every(({ type }, i) => (widths[i] ?? 0) % (type.shape.at(-1) ?? 1) === 0);
  }

  /** Whether `members` and `node` are a program that one launch computes. */
  #isWhole(members: ReadonlySet<Node>, node: Node, rows: number): boolean {
    const all = new Set([...members, node]);
    const near = [node, ...node.results.flatMap((value) => this.#users.get(value) ?? [])];
    return (
      near.every((user) => !all.has(user) || this.#keepsRows(user, all, rows)) &&
      this.#isConvex(all) &&
      this.#bindings(all) <= this.#most &&
      this.#bytes(all, rows) <= mostBytes
    );
  }

  /** Whether a member makes each row of the same row of what members make. */
  #keepsRows(node: Node, members: ReadonlySet<Node>, rows: number): boolean {
    if (!("pieces" in kernelOf(node))) return true;
    return node.operands.every((operand, i) => {
      const made = unviewed(operand).node;
      return !made || !members.has(made) || this.#staysInRow(node, i, rows);
    });
  }

  /** Whether a moving application's elements come, where they are of operand `i`, from the rows that they are in. */
  #staysInRow({ op, operands, attrs }: Node, i: number, rows: number): boolean {
    const shapes = operands.map(({ type }) => type.shape);
    const key = JSON.stringify([op.name, attrs, shapes, i, rows]);
    const known = this.#still.get(key);
    if (known !== undefined) return known;
    // Rows are numbered, and moved as the op moves them.
    const values = shapes.map((shape) => input("rows", { dtype: "i32", shape }));
    const numbers = shapes.map((shape, j) => {
      const width = sizeOf(shape) / rows;
      return Array.from({ length: sizeOf(shape) }, (_, at) => (j === i ? Math.floor(at / width) : -1));
    });
    const { node } = op.apply(values, attrs)[0] as Value;
    const tensors = values.map(({ type }, j) => Tensor.from(type, numbers[j] ?? []));
    const [moved] = node ? op.evaluate(tensors, node.sizes) : [];
    const width = sizeOf(moved?.type.shape ?? []) / rows;
    const stays = (moved?.numbers() ?? []).every((row, at) => row < 0 || row === Math.floor(at / width));
    this.#still.set(key, stays);
    return stays;
  }

  /** Whether no application outside needs what members make and makes what members need. */
  #isConvex(members: ReadonlySet<Node>): boolean {
    const places = [...members].map((node) => this.#places.get(node) ?? 0);
    const later = new Set<Node>();
    for (let at = Math.min(...places); at <= Math.max(...places); at++) {
      const node = this.#nodes[at] as Node;
      const makers = operandsOf(node).flatMap((value) => value.node ?? []);
      const isLater = makers.some((maker) => later.has(maker));
      if (members.has(node)) {
        if (isLater) return false;
      } else if (isLater || makers.some((maker) => members.has(maker))) later.add(node);
    }
    return true;
  }

  /** What is read outside of a program, or returned, of what its applications make. */
  #written(members: ReadonlySet<Node>, made: readonly Value[]): readonly Value[] {
    return made.filter(
      (value) =>
        this.#returned.has(value) || (this.#users.get(value) ?? []).some((user) => !members.has(user)),
    );
  }

  /** How many buffers a program reads and writes. */
  #bindings(members: ReadonlySet<Node>, head?: Node): number {
    const tail = head && tailOf(head);
    const made = [...members].flatMap((node) => node.results);
    const written = this.#written(members, [...made, ...(tail ? [tail] : [])]);
    // The head's own, of which the tail is no buffer, nor is it one that members read.
    const own = head ? head.operands.length + head.results.length - 2 : 0;
    return leavesOf([...members]).leaves.size + written.length + own;
  }

  /** How many bytes the rows take that a thread holds. */
  #bytes(members: ReadonlySet<Node>, rows: number): number {
    const made = [...members].flatMap((node) => node.results);
    const held = heldBy([...members], this.#written(members, made));
    return [...held].reduce((bytes, value) => bytes + 4 * widthOf(value, rows), 0);
  }
}

/** The values of which a thread holds rows: those of steps, those that are written, and what is read more than once. */
function heldBy(members: readonly Node[], written: readonly Value[]): ReadonlySet<Value> {
  const read = members.flatMap(operandsOf);
  return new Set(
    members.flatMap((node) =>
      isStep(node)
        ? [...operandsOf(node), ...node.results]
        : node.results.filter(
            (value) => written.includes(value) || read.filter((other) => other === value).length > 1,
          ),
    ),
  );
}

/**
 * What members read that no member makes: `leaves` lie in buffers; `inlined` applications, of no operands or such as move
 * elements at no cost, are made where an element is wanted.
 */
function leavesOf(members: readonly Node[]): {
  readonly leaves: ReadonlySet<Value>;
  readonly inlined: ReadonlySet<Node>;
} {
  const made = new Set(members.flatMap((node) => node.results));
  const leaves = new Set<Value>();
  const inlined = new Set<Node>();
  const visit = (value: Value): void => {
    if (made.has(value)) return;
    if (!value.node || !isFree(kernelOf(value.node), value.node)) {
      leaves.add(value);
      return;
    }
    inlined.add(value.node);
    operandsOf(value.node).forEach(visit);
  };
  members.flatMap(operandsOf).forEach(visit);
  return { leaves, inlined };
}

/** The values that a program's members read from buffers. */
export function readBy({ head, members }: RowProgram): readonly Value[] {
  const tail = head && tailOf(head);
  return [...leavesOf(members).leaves].filter((value) => value !== tail);
}

/** The launch that computes `results`, which members make, by one thread a row. */
export function rowLaunch(
  label: string,
  program: RowProgram,
  results: readonly Value[],
  profile: Profile,
): Launch {
  const thread = new Thread(program, results);
  const { workgroups, index } = grid(program.rows, profile);
  return launch({
    label,
    bindings: thread.bindings,
    workgroups,
    workgroupSize: [profile.workgroup],
    module: thread.module,
    body: `${index}\nif (i >= ${program.rows}u) { return; }\n${thread.statements("i")}`,
  });
}

/** What the launch of a program's head does for `results`, which the head's tail is one of or members make. */
export const tailFor = (program: RowProgram, results: readonly Value[]): Tail => new Thread(program, results);

/** What a thread does for a row of a program, and the arrays in which it holds that row of values. */
class Thread implements Tail {
  /** The array of the head's tail. */
  readonly array: string = "";
  readonly #rows: number;
  readonly #results: readonly Value[];
  readonly #arrays = new Map<Value, string>();
  readonly #declarations = ["var<private> rowAt: u32;"];
  readonly #statements: string[] = [];
  readonly #elements: Elements;

  constructor({ rows, members, head }: RowProgram, results: readonly Value[]) {
    this.#rows = rows;
    this.#results = results;
    const { inlined } = leavesOf(members);
    const held = { arrays: this.#arrays, rows };
    this.#elements = new Elements(new Set([...inlined, ...members.filter((node) => !isStep(node))]), {
      held,
    });
    const tail = head && tailOf(head);
    if (tail) this.array = this.#declare(tail);
    const kept = heldBy(members, results);
    for (const node of members) {
      if (isStep(node)) this.#take(node);
      // What is used once is made where it is used.
      else node.results.filter((value) => kept.has(value)).forEach((value) => this.#hold(value));
    }
    results.forEach((value, n) => this.#store(value, `y${n}`));
  }

  get bindings(): readonly Binding[] {
    return [...this.#elements.bindings, ...this.#results.map((value, n) => write(`y${n}`, value))];
  }

  get module(): readonly string[] {
    return [...this.#declarations, ...this.#elements.module];
  }

  statements(row: string): string {
    return [`rowAt = ${row};`, ...this.#statements].join("\n");
  }

  /** The name of the array that holds `value`, whose elements are made one by one where it is not held yet. */
  #hold(value: Value): string {
    const known = this.#arrays.get(value);
    if (known) return known;
    const { lines, result } = this.#elements.write(value, 1);
    const name = this.#declare(value);
    const width = widthOf(value, this.#rows);
    this.#each(width, [`let i = rowAt * ${width}u + j;`, ...lines, `${name}[j] = ${result};`]);
    return name;
  }

  /** Makes the results of an application over rows, of which the program's row may have several. */
  #take(node: Node): void {
    const { op, operands, results, sizes } = node;
    const kernel = kernelOf(node) as LaunchKernel;
    const [first] = operands as readonly [Value];
    const parts = widthOf(first, this.#rows) / (first.type.shape.at(-1) ?? 1);
    const entry = (array: string, { type }: Value): Entry => {
      const width = type.shape.at(-1) ?? 1;
      return (j) => `${array}[${parts === 1 ? j : width === 1 ? "part" : `part * ${width}u + ${j}`}]`;
    };
    const entries = [
      ...operands.map(
        (value, i) => [op.operands[i]?.name, entry(this.#hold(unviewed(value)), value)] as const,
      ),
      ...results.map((value, i) => [op.results[i]?.name, entry(this.#declare(value), value)] as const),
    ];
    this.#statements.push(
      parts === 1 ? "{" : `for (var part = 0u; part < ${parts}u; part++) {`,
      indented(kernel.row?.(Object.fromEntries(entries), sizes, first.type.dtype) ?? ""),
      "}",
    );
  }

  /** Writes a value that is held to the buffer of a name. */
  #store(value: Value, buffer: string): void {
    const width = widthOf(value, this.#rows);
    this.#each(width, [`${buffer}[rowAt * ${width}u + j] = ${this.#arrays.get(value)}[j];`]);
  }

  #declare(value: Value): string {
    const { dtype } = value.type;
    const name = `r${this.#arrays.size}`;
    this.#declarations.push(
      `var<private> ${name}: array<${elementOf[dtype]}, ${widthOf(value, this.#rows)}>;`,
      roundingModule(dtype),
    );
    this.#arrays.set(value, name);
    return name;
  }

  #each(width: number, lines: readonly string[]): void {
    this.#statements.push(`for (var j = 0u; j < ${width}u; j++) {`, block(2, lines), "}");
  }
}
