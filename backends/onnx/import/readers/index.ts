/** The readers, one line a file: standard ops by type, and the functions of moec's own domain by name. */
import type { Reader } from "../call.ts";
import { conversion } from "./conversion.ts";
import { elementwise } from "./elementwise.ts";
import { movement } from "./movement.ts";
import { quantization } from "./quantization.ts";
import { gathering } from "./routing.ts";
import { rows } from "./rows.ts";

export { routines } from "./routing.ts";

export const readers: ReadonlyMap<string, Reader> = new Map(
  [elementwise, conversion, movement, quantization, rows, gathering].flatMap((family) =>
    Object.entries(family),
  ),
);
