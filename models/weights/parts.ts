/** Tensors in parts, so that of large files little is held at a time. */
import { byteLength, type TensorType } from "../../ir/index.ts";

/** Bytes of a part at most, where the first axis allows it. */
const partBytes = 2 ** 25;

/** The entries of a tensor's first axis part by part, in order; undefined for all of one that is small or has no axis. */
export function* partsOf(type: TensorType): Generator<readonly [number, number] | undefined> {
  const [entries] = type.shape;
  const bytes = byteLength(type);
  if (entries === undefined || bytes <= partBytes) {
    yield undefined;
    return;
  }
  const step = Math.max(1, Math.floor((partBytes * entries) / bytes));
  for (let at = 0; at < entries; at += step) yield [at, Math.min(at + step, entries)];
}
