/** Values that lie in the memory of others, and take none of their own. */
import type { Node, Value } from "../../ir/index.ts";
import { alignment } from "./arenas.ts";
import { deviceBytes, isPacked } from "./transfer.ts";

/** The value whose elements, in order, are those of `value`: what a view views. */
export function unviewed(value: Value): Value {
  let origin = value;
  while (origin.node?.op.has("view")) origin = origin.node.operands[0] as Value;
  return origin;
}

/** The values whose elements an application's operands are. */
export const operandsOf = ({ operands }: Node): Value[] => operands.map(unviewed);

/** From which byte of its operand on a node's result lies there, when it does and can be bound; else undefined. */
export function viewOf({ op, operands, sizes, results }: Node): number | undefined {
  const element = op.viewAt(sizes);
  if (element === undefined) return undefined;
  // Parts of words are no memory of their own.
  if (!op.has("view") && isPacked(unviewed(operands[0] as Value))) return undefined;
  const [{ type }] = results as readonly [Value];
  const offset = element * deviceBytes({ dtype: type.dtype, shape: [] });
  return offset % alignment === 0 ? offset : undefined;
}

/** The value in whose memory `value` lies, and from which byte on; itself, mostly. */
export function originOf(value: Value): { readonly value: Value; readonly offset: number } {
  let origin = value;
  let offset = 0;
  for (let { node } = origin; node; { node } = origin) {
    const at = viewOf(node);
    if (at === undefined) break;
    origin = node.operands[0] as Value;
    offset += at;
  }
  return { value: origin, offset };
}
