/** Rounding of doubles to the 16-bit float formats, and their bit patterns; exact, ties to even. */

interface Format {
  /** Explicit mantissa bits. */
  readonly mantissa: number;
  /** Exponent of the smallest normal number. */
  readonly minExponent: number;
  readonly bias: number;
}

const f16: Format = { mantissa: 10, minExponent: -14, bias: 15 };
const bf16: Format = { mantissa: 7, minExponent: -126, bias: 127 };

const scratch = new DataView(new ArrayBuffer(8));

/** floor(log2 |x|) of a finite double; subnormal doubles count as 2^-1023, below both formats. */
function exponentOf(x: number): number {
  scratch.setFloat64(0, x);
  return ((scratch.getUint16(0) >> 4) & 0x7ff) - 1023;
}

function encode(x: number, { mantissa, minExponent, bias }: Format): number {
  const maxField = 2 * bias + 1;
  const sign = x < 0 || Object.is(x, -0) ? maxField + 1 : 0;
  if (Number.isNaN(x)) return (maxField << mantissa) | (1 << (mantissa - 1));
  const magnitude = Math.abs(x);
  const exponent = Math.max(exponentOf(magnitude), minExponent);
  const infinite = maxField << mantissa;
  // Scaling by a power of two is exact, so the only rounding is the one to an integer below.
  const steps = magnitude === Number.POSITIVE_INFINITY ? 0 : magnitude * 2 ** (mantissa - exponent);
  const floor = Math.floor(steps);
  const rest = steps - floor;
  const rounded = floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0);
  // The hidden bit makes a carry into the exponent come out right by plain addition.
  const normal = (exponent - minExponent) * 2 ** mantissa + rounded;
  const bits = magnitude === Number.POSITIVE_INFINITY ? infinite : Math.min(normal, infinite);
  return (sign << mantissa) | bits;
}

function decode(bits: number, { mantissa, minExponent, bias }: Format): number {
  const maxField = 2 * bias + 1;
  const sign = (bits >> mantissa) & (maxField + 1) ? -1 : 1;
  const field = (bits >> mantissa) & maxField;
  const fraction = bits & ((1 << mantissa) - 1);
  if (field === maxField) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  const significand = field ? fraction + 2 ** mantissa : fraction;
  return sign * significand * 2 ** (Math.max(field, 1) - 1 + minExponent - mantissa);
}

// Files have billions of numbers, nearly all of them float32 and normal in the 16-bit format: those are rounded as bits.
const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** Bits of the binary16 number nearest to `x`. */
export function encodeF16(x: number): number {
  single[0] = x;
  const bits = singleBits[0] as number;
  const magnitude = bits & 0x7fffffff;
  if (magnitude === 0) return (bits >>> 16) & 0x8000;
  // From 2^-14, the least normal number, to less than what rounds to infinity.
  if (single[0] !== x || magnitude < 0x38800000 || magnitude >= 0x477ff000) return encode(x, f16);
  const rounded = magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1);
  return ((bits >>> 16) & 0x8000) | (rounded >>> 13);
}

let f16Values: Float32Array | undefined;

/** The binary16 number that has these bits. */
export function decodeF16(bits: number): number {
  f16Values ??= Float32Array.from({ length: 2 ** 16 }, (_, each) => decode(each, f16));
  return f16Values[bits] as number;
}

/** Bits of the bfloat16 number nearest to `x`. */
export function encodeBF16(x: number): number {
  single[0] = x;
  const bits = singleBits[0] as number;
  if (single[0] !== x || (bits & 0x7fffffff) >= 0x7f000000) return encode(x, bf16);
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** The bfloat16 number that has these bits: the upper half of a float32. */
export function decodeBF16(bits: number): number {
  singleBits[0] = bits << 16;
  return single[0] as number;
}
