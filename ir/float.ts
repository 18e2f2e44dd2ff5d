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

/** Bits of the binary16 number nearest to `x`. */
export const encodeF16 = (x: number): number => encode(x, f16);
export const decodeF16 = (bits: number): number => decode(bits, f16);

/** Bits of the bfloat16 number nearest to `x`. */
export const encodeBF16 = (x: number): number => encode(x, bf16);
export const decodeBF16 = (bits: number): number => decode(bits, bf16);
