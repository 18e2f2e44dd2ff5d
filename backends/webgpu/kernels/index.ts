/** The kernels, one line a file; an op without one is decomposed. */
import type { AnyOp, Node } from "../../../ir/index.ts";
import type { Kernel } from "../kernel.ts";
import * as attention from "./attention.ts";
import * as contraction from "./contraction.ts";
import * as dequantize from "./dequantize.ts";
import * as elementwise from "./elementwise.ts";
import * as movement from "./movement.ts";
import * as normAndGate from "./normAndGate.ts";
import * as routedMlp from "./routedMlp.ts";
import * as routing from "./routing.ts";
import * as rows from "./rows.ts";
import * as seatedMlp from "./seatedMlp.ts";

const isKernel = (value: unknown): value is Kernel =>
  typeof value === "object" && value !== null && "op" in value;

export const kernels: ReadonlyMap<AnyOp, Kernel> = new Map(
  [
    attention,
    contraction,
    dequantize,
    elementwise,
    movement,
    normAndGate,
    routedMlp,
    routing,
    rows,
    seatedMlp,
  ]
    .flatMap((family) => Object.values<unknown>(family).filter(isKernel))
    .map((kernel) => [kernel.op, kernel]),
);

/** The kernel of an application, of an op that has one. */
export const kernelOf = ({ op }: Node): Kernel => kernels.get(op) as Kernel;

/** Whether operand `i` of an application is a right factor, which its kernel reads as it is stored. */
export function isFactor({ op }: Node, i: number): boolean {
  const kernel = kernels.get(op);
  return (
    kernel !== undefined && "emit" in kernel && kernel.factors?.includes(op.operands[i]?.name ?? "") === true
  );
}
