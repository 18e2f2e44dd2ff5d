/** Right factors of products: how they are stored, where that is not as they are. */
import { ops, sameShape, type Value } from "../../ir/index.ts";
import { isPacked } from "./transfer.ts";
import { unviewed } from "./views.ts";

/** A right factor [..., K, N] that a product reads as it is stored, instead of from a buffer of f32 [..., K, N]. */
export interface Stored {
  /** What is bound: elements of `bits` bits, row-major, the first in the lowest bits of a word. */
  readonly words: Value;
  readonly bits: 32 | 16 | 8 | 4;
  /** Of integers: f32[..., R, N], the factor of each column of `block` rows. */
  readonly scales?: { readonly value: Value; readonly block: number };
  /** Elements from where one row starts to where the next one does. */
  readonly stride: number;
  /** Elements from where one matrix starts to where the next one does. */
  readonly pitch: number;
}

/** How `value` is stored, where a product reads it otherwise than as its own elements, one after the other. */
export function storedOf(value: Value): Stored | undefined {
  const origin = unviewed(value);
  const { node } = origin;
  if (node?.op === ops.dequantize) return integersOf(value, origin);
  const isWidened = node?.op === ops.cast && origin.type.dtype === "f32";
  const source = isWidened ? unviewed(node.operands[0] as Value) : origin;
  const wide = sameShape(source.type.shape, value.type.shape) ? widerOf(source) : undefined;
  const words = wide ?? source;
  const bits = isPacked(words) ? 16 : 32;
  if (bits === 32 && (isWidened || !wide)) return undefined;
  const [K = 1, N = 1] = value.type.shape.slice(-2);
  const stride = wide?.type.shape.at(-1) ?? N;
  return { words, bits, stride, pitch: K * stride };
}

/** The weight whose first columns are all of `value`; undefined where there is none. */
function widerOf({ node, type }: Value): Value | undefined {
  const [operand] = node?.operands ?? [];
  if (node?.op !== ops.slice || operand?.leaf?.kind !== "weight") return undefined;
  const starts = node.attrs["start"] as readonly number[];
  const sameRows = sameShape(type.shape.slice(0, -1), operand.type.shape.slice(0, -1));
  return sameRows && starts.every((start) => start === 0) ? operand : undefined;
}

/** How the integers are stored that `origin`, which has the elements of `value`, is made of. */
function integersOf(value: Value, { node, type }: Value): Stored | undefined {
  if (!node || !sameShape(value.type.shape, type.shape)) return undefined;
  const [words, scales] = node.operands as readonly [Value, Value];
  const { bits, block, Q, F } = node.sizes as {
    readonly bits: 8 | 4;
    readonly block: number;
    readonly Q: number;
    readonly F: number;
  };
  return {
    words: unviewed(words),
    bits,
    scales: { value: unviewed(scales), block },
    stride: F,
    pitch: (Q * 32) / bits,
  };
}
