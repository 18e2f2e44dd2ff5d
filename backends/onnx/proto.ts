/** ONNX's protobuf messages: the one file that knows onnx-proto, with its CommonJS face and its 64-bit integers. */
import pkg, { type onnx as Onnx } from "onnx-proto";

import { type Shape, sizeOf } from "../../ir/index.ts";

const { onnx } = pkg;

export type ModelProto = Onnx.IModelProto;
export type GraphProto = Onnx.IGraphProto;
export type FunctionProto = Onnx.IFunctionProto;
export type NodeProto = Onnx.INodeProto;
export type AttributeProto = Onnx.IAttributeProto;
export type TensorProto = Onnx.ITensorProto;
export type ValueInfoProto = Onnx.IValueInfoProto;

/** The domain of ONNX Runtime's own ops. */
export const microsoft = "com.microsoft";

/** Codes of element types: `TensorProto.DataType`. */
export const element = {
  float: 1,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  double: 11,
  uint32: 12,
  bfloat16: 16,
} as const;
export type Element = (typeof element)[keyof typeof element];

/** Codes of the small integers, which tensors of files hold and nothing computes in. */
export const smallElement = { uint8: 2, int8: 3, uint4: 21, int4: 22 } as const;
export type SmallElement = (typeof smallElement)[keyof typeof smallElement];

/** What a tensor of a file may hold. */
export type StoredElement = Element | SmallElement;

/** Whether `code` is of an element type that is known here. */
export const isElement = (code: number | null | undefined): code is Element =>
  Object.values<unknown>(element).includes(code);

/** Whether `code` is of small integers. */
export const isSmall = (code: number | null | undefined): code is SmallElement =>
  Object.values<unknown>(smallElement).includes(code);

/** Bits of one element in a file. */
export const elementBits: Readonly<Record<StoredElement, number>> = {
  [element.float]: 32,
  [element.int32]: 32,
  [element.int64]: 64,
  [element.bool]: 8,
  [element.float16]: 16,
  [element.double]: 64,
  [element.uint32]: 32,
  [element.bfloat16]: 16,
  [smallElement.uint8]: 8,
  [smallElement.int8]: 8,
  [smallElement.uint4]: 4,
  [smallElement.int4]: 4,
};

/** Bytes of a tensor in a file: elements follow each other bit by bit, and the last byte is filled up. */
export const storedBytes = (code: StoredElement, shape: Shape): number =>
  Math.ceil((sizeOf(shape) * elementBits[code]) / 8);

/** The name of an element type, as errors show it. */
export const elementName = (code: number): string =>
  Object.entries({ ...element, ...smallElement }).find(([, known]) => known === code)?.[0] ??
  `element type ${code}`;

const { FLOAT, INT, STRING, TENSOR, INTS } = onnx.AttributeProto.AttributeType;

/** An attribute's value, or the attribute of the enclosing function that it repeats. */
export type Attribute =
  | { readonly int: number }
  | { readonly float: number }
  | { readonly text: string }
  | { readonly ints: readonly number[] }
  | { readonly tensor: TensorProto }
  | { readonly from: string; readonly as: "int" | "string" };

export type Attributes = Readonly<Record<string, Attribute>>;

function attributeProto(name: string, value: Attribute): AttributeProto {
  if ("int" in value) return { name, type: INT, i: integer(value.int) };
  if ("float" in value) return { name, type: FLOAT, f: value.float };
  if ("text" in value) return { name, type: STRING, s: new TextEncoder().encode(value.text) };
  if ("ints" in value) return { name, type: INTS, ints: value.ints.map(integer) };
  if ("tensor" in value) return { name, type: TENSOR, t: value.tensor };
  return { name, type: value.as === "int" ? INT : STRING, refAttrName: value.from };
}

/** What an attribute holds itself; undefined where it is of another kind, or an integer beyond a number's. */
export function attributeOf(proto: AttributeProto): Attribute | undefined {
  const { type } = proto;
  if (type === INT) return defined(numberOf(proto.i), (int) => ({ int }));
  if (type === FLOAT) return { float: proto.f ?? 0 };
  if (type === STRING) return { text: new TextDecoder().decode(Uint8Array.from(proto.s ?? [])) };
  if (type === TENSOR) return defined(proto.t ?? undefined, (tensor) => ({ tensor }));
  if (type !== INTS) return undefined;
  const ints = (proto.ints ?? []).map(numberOf);
  return ints.every((int) => int !== undefined) ? { ints } : undefined;
}

const defined = <T, R>(value: T | undefined, then: (value: T) => R): R | undefined =>
  value === undefined ? undefined : then(value);

/** The message holds 64 bits, a number 53. */
function integer(value: number): number {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is no integer that ONNX could hold`);
  return value;
}

/** A 64-bit field as a number; undefined where it is not one that a number holds. */
export function numberOf(value: number | { toString(): string } | null | undefined): number | undefined {
  const number = Number(value?.toString());
  return Number.isSafeInteger(number) ? number : undefined;
}

/** A node; absent optional inputs are `""`. */
export const nodeProto = (
  opType: string,
  input: readonly string[],
  output: readonly string[],
  attributes: Attributes = {},
  more: Pick<NodeProto, "name" | "domain" | "docString"> = {},
): NodeProto => ({
  opType,
  input: [...input],
  output: [...output],
  attribute: Object.entries(attributes).map(([name, value]) => attributeProto(name, value)),
  ...more,
});

/** A tensor that stands in the message itself; `data` is little-endian, row by row. */
export const tensorProto = (
  name: string,
  dataType: StoredElement,
  dims: readonly number[],
  data: ArrayBufferView,
): TensorProto => ({
  name,
  dataType,
  dims: dims.map(integer),
  rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
});

/** A tensor whose bytes stand in another file. */
export const externalTensorProto = (
  name: string,
  dataType: StoredElement,
  dims: readonly number[],
  {
    location,
    offset,
    length,
  }: { readonly location: string; readonly offset: number; readonly length: number },
): TensorProto => ({
  name,
  dataType,
  dims: dims.map(integer),
  dataLocation: onnx.TensorProto.DataLocation.EXTERNAL,
  externalData: [
    { key: "location", value: location },
    { key: "offset", value: String(offset) },
    { key: "length", value: String(length) },
  ],
});

/** Whether a tensor's bytes stand in another file. */
export const isExternal = ({ dataLocation }: TensorProto): boolean =>
  dataLocation === onnx.TensorProto.DataLocation.EXTERNAL;

/** A graph's input or output; an axis given by a name may have any size. */
export const valueInfoProto = (
  name: string,
  elemType: Element,
  dims: readonly (number | string)[],
): ValueInfoProto => ({
  name,
  type: {
    tensorType: {
      elemType,
      shape: { dim: dims.map((d) => (typeof d === "string" ? { dimParam: d } : { dimValue: integer(d) })) },
    },
  },
});

export const encodeModel = (model: ModelProto): Uint8Array => plain(onnx.ModelProto.encode(model).finish());

/** Throws where `bytes` is not such a message; rejects nothing else. Its tensors are views of `bytes`. */
export const decodeModel = (bytes: Uint8Array): ModelProto => onnx.ModelProto.decode(plain(bytes));

/** `bytes` without Node's own methods: a slice of a Buffer is no copy. */
const plain = ({ buffer, byteOffset, length }: Uint8Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, length);
