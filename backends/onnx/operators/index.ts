/** The operators, one line a file; an op without one is decomposed. */
import type { AnyOp } from "../../../ir/index.ts";
import type { Operator } from "../operator.ts";
import * as elementwise from "./elementwise.ts";
import * as movement from "./movement.ts";
import * as quantization from "./quantization.ts";
import * as routing from "./routing.ts";
import * as rows from "./rows.ts";

const isOperator = (value: unknown): value is Operator =>
  typeof value === "object" && value !== null && "write" in value;

export const operators: ReadonlyMap<AnyOp, Operator> = new Map(
  [elementwise, movement, quantization, routing, rows]
    .flatMap((family) => Object.values<unknown>(family).filter(isOperator))
    .map((operator) => [operator.op, operator]),
);
