/** Right factors of products in fewer bytes than four an element: how they are stored. */
import { ops, sameShape, sizeOf, type Value } from "../../ir/index.ts";
import { isPacked } from "./transfer.ts";
import { unviewed } from "./views.ts";

/** A right factor [..., K, N] that a product reads as it is stored, instead of from a buffer of f32. */
export interface Stored {
  /** What is bound: elements of `bits` bits, row-major, the first in the lowest bits of a word. */
  readonly words: Value;
  readonly bits: 16 | 8 | 4;
  /** Of integers: f32[..., R, N], the factor of each column of `block` rows. */
  readonly scales?: { readonly value: Value; readonly block: number };
  /** Elements from where one matrix starts to where the next one does. */
  readonly pitch: number;
}

/** How `value` is stored where that is narrower than f32; undefined where it is not. */
export function storedOf(value: Value): Stored | undefined {
  const origin = unviewed(value);
  const { node } = origin;
  const pitch = sizeOf(value.type.shape.slice(-2));
  if (isPacked(origin)) return { words: origin, bits: 16, pitch };
  if (node?.op === ops.cast && origin.type.dtype === "f32") {
    const words = unviewed(node.operands[0] as Value);
    return isPacked(words) ? { words, bits: 16, pitch } : undefined;
  }
  if (node?.op !== ops.dequantize || !sameShape(value.type.shape, origin.type.shape)) return undefined;
  const [words, scales] = node.operands as readonly [Value, Value];
  const { bits, block, Q } = node.sizes as {
    readonly bits: 8 | 4;
    readonly block: number;
    readonly Q: number;
  };
  return {
    words: unviewed(words),
    bits,
    scales: { value: unviewed(scales), block },
    pitch: (Q * 32) / bits,
  };
}
