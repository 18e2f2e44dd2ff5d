/** The op set by mnemonic. */
import type { AnyOp } from "../op.ts";
import * as ops from "./index.ts";

export const opset: ReadonlyMap<string, AnyOp> = new Map(
  Object.values<AnyOp>(ops).map((op) => [op.name, op]),
);
