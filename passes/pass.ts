/** Passes: programs to programs, run in sequence, each step verified and traced on request. */
import { type AnyOp, type Graph, type Node, verify } from "../ir/index.ts";
import type { Rule } from "./rewrite.ts";

/** Whether a target has a kernel for an op; for this very application of it, where one is given. */
export type Supports = (op: AnyOp, node?: Node) => boolean;

export interface Pass {
  /** kebab-case. */
  readonly name: string;
  /** One sentence: what the program is like afterwards. */
  readonly summary: string;
  run(graph: Graph, trace: Trace): Graph;
  /** The equations it applies, where it is made of some; each is tested as a theorem. */
  readonly rules?: readonly Rule[];
}

/** One rewrite that fired, in the textual form of programs. */
export interface Rewrite {
  readonly pass: string;
  readonly rule: string;
  /** The scope in which it fired. */
  readonly at: string;
  readonly before: string;
  readonly after: string;
}

export type Trace = (rewrite: Rewrite) => void;

export interface PassOptions {
  /** Verify the program after every pass. */
  readonly check?: boolean;
  readonly trace?: Trace;
}

/** `graph` after all of `passes`, in order. */
export function runPasses(graph: Graph, passes: readonly Pass[], { check, trace }: PassOptions = {}): Graph {
  return passes.reduce((current, pass) => {
    const next = pass.run(current, trace ?? (() => undefined));
    if (check) verify(next);
    return next;
  }, graph);
}
