/** The tensors that a file gives: constants that are known at once, and weights that are read when asked for. */
import { type ByteSource, memorySource, readExactly } from "../../../files/bytes.ts";
import {
  byteLength,
  type CompileError,
  sizeOf,
  Tensor,
  type TensorType,
  type Value,
  weight,
  type WeightSource,
} from "../../../ir/index.ts";
import { integersIn, repacked, type Repacking } from "../fields.ts";
import {
  type Element,
  element,
  elementBits,
  elementName,
  isElement,
  isExternal,
  isSmall,
  numberOf,
  type SmallElement,
  smallElement,
  storedBytes,
  type StoredElement,
  type TensorProto,
} from "../proto.ts";
import { mostNumbers } from "./call.ts";
import { data, dtypeOf, type Item, known, type Named, type Packed } from "./item.ts";
import { problem, type ProblemCode } from "./problem.ts";

/** Opens the file `location`, a path relative to the model's folder, that holds tensors of the model. */
export type OpenData = (location: string) => Promise<ByteSource>;

/** Where a tensor's bytes lie. */
interface Place {
  readonly source: ByteSource;
  readonly offset: number;
}

/** What a tensor's message says of it. */
interface DeclaredOf<Code extends StoredElement> {
  readonly name: string;
  readonly code: Code;
  readonly shape: readonly number[];
  readonly bytes: number;
}

type Declared = DeclaredOf<Element> | DeclaredOf<SmallElement>;

/** Entries along a weight's first axis; undefined is all of them. */
type Rows = Parameters<WeightSource["read"]>[1];

/** A weight of the program. */
interface Stored {
  readonly type: TensorType;
  readonly read: (rows: Rows) => Promise<Tensor>;
}

/** The tensors of one file. Errors are O3 where the file is broken, O4 where it holds what is not read here. */
export class Tensors {
  readonly #file: string;
  readonly #openData: OpenData | undefined;
  readonly #files = new Map<string, ByteSource>();
  readonly #constants = new Map<TensorProto, Named>();
  /** How often a weight's name was wanted. */
  readonly #uses = new Map<string, number>();
  readonly #weights = new Map<string, Stored>();

  /** @param file what errors call the model */
  constructor(file: string, openData: OpenData | undefined) {
    this.#file = file;
    this.#openData = openData;
  }

  /** What an initializer stands for: a weight of its name; or its numbers, where `isConstant`. */
  async initializer(proto: TensorProto): Promise<Named> {
    const declared = this.#declared(proto, proto.name ?? "");
    const place = isExternal(proto)
      ? await this.#external(proto, declared)
      : this.#placeOf(this.#inline(proto, declared));
    const all = (): Promise<Uint8Array> =>
      readExactly(place.source, place.offset, declared.bytes, declared.name);
    if (isPacked(declared)) return this.#packed(declared, place, isShort(declared) ? await all() : undefined);
    if (!isConstant(proto, declared)) return this.#weight(declared, place);
    this.#checkFew(declared);
    return constantOf(declared, await all());
  }

  /** What a tensor in a node stands for, which is called `name` if it is a weight that has no name yet. */
  constant(proto: TensorProto, name: string): Named {
    // A function that is called twice has each of its tensors once.
    const seen = this.#constants.get(proto);
    if (seen) return seen;
    const declared = this.#declared(proto, name);
    if (isExternal(proto)) throw this.#problem(declared, "of a node must not lie in another file");
    const bytes = this.#inline(proto, declared);
    const named = this.#ofNode(proto, declared, bytes);
    this.#constants.set(proto, named);
    return named;
  }

  /** The weights, each read when asked for. Closing it closes the files that hold them. */
  source(): WeightSource {
    return {
      tensors: new Map([...this.#weights].map(([name, { type }]) => [name, type])),
      read: async (name, rows) => {
        const stored = this.#weights.get(name);
        if (!stored) throw problem(this.#file, `has no tensor ${name}`);
        return stored.read(rows);
      },
      close: () => this.close(),
    };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#files.values()].map((source) => source.close()));
  }

  #problem({ name }: Pick<Declared, "name">, message: string, code?: ProblemCode): CompileError {
    return problem(this.#file, `tensor ${name} ${message}`, code);
  }

  #ofNode(proto: TensorProto, declared: Declared, bytes: Uint8Array): Named {
    if (isPacked(declared)) return this.#packed(declared, this.#placeOf(bytes), bytes);
    if (!isConstant(proto, declared))
      return this.#weight({ ...declared, name: this.#fresh(declared.name) }, this.#placeOf(bytes));
    this.#checkFew(declared);
    return constantOf(declared, bytes);
  }

  #declared(proto: TensorProto, name: string): Declared {
    const code = proto.dataType;
    if (!isElement(code) && !isSmall(code)) {
      const message = `is of ${elementName(code ?? 0)}, which is not supported here`;
      throw this.#problem({ name }, message, "O4");
    }
    const shape = (proto.dims ?? []).map((dim) => numberOf(dim) ?? -1);
    const bytes = storedBytes(code, shape);
    if (shape.some((size) => size < 0) || !Number.isSafeInteger(bytes))
      throw this.#problem({ name }, "has sizes that no tensor has");
    const rest = { name, shape, bytes };
    return isSmall(code) ? { ...rest, code } : { ...rest, code };
  }

  #checkFew(declared: Declared): void {
    if (isShort(declared)) return;
    const size = sizeOf(declared.shape);
    const type = elementName(declared.code);
    throw this.#problem(declared, `has ${size} numbers of ${type}; at most ${mostNumbers} are read`, "O4");
  }

  #weight({ name, code, shape }: DeclaredOf<Element>, { source, offset }: Place): Item {
    const type = { dtype: dtypeOf.get(code) ?? "f32", shape };
    const read = async (rows: Rows): Promise<Tensor> => {
      const [first = 1, ...rest] = shape;
      const cut = rows ? { ...type, shape: [rows[1] - rows[0], ...rest] } : type;
      const skip = rows ? rows[0] * (byteLength(type) / first) : 0;
      const bytes = plain(await readExactly(source, offset + skip, byteLength(cut), `tensor ${name}`));
      // A truth may be any byte but 0.
      return Tensor.fromBytes(cut, type.dtype === "bool" ? bytes.map((byte) => (byte ? 1 : 0)) : bytes);
    };
    this.#weights.set(name, { type, read });
    return data(weight(name, type));
  }

  /** Small integers at `place`; `bytes` are theirs, where they may be looked at. */
  #packed(declared: DeclaredOf<SmallElement>, place: Place, bytes: Uint8Array | undefined): Packed {
    const { code, shape } = declared;
    const bits = elementBits[code];
    const isSigned = code === smallElement.int8 || code === smallElement.int4;
    const [first, ...others] = bytes ? integersIn(bytes, bits, sizeOf(shape), isSigned) : [];
    const made = new Map<number, Value>();
    return {
      kind: "packed",
      element: code,
      shape,
      every: others.every((value) => value === first) ? first : undefined,
      words: (entries) => {
        const value = made.get(entries) ?? this.#words(declared, place, { bits, entries, turned: isSigned });
        made.set(entries, value);
        return value;
      },
    };
  }

  /** The weight u32[entries, Q] of fields, where each entry begins with a word. */
  #words(
    { name, shape }: Declared,
    { source, offset }: Place,
    { bits, entries, turned }: Pick<Repacking, "bits" | "entries" | "turned">,
  ): Value {
    const size = sizeOf(shape) / entries;
    const Q = Math.ceil((size * bits) / 32);
    const type = { dtype: "u32", shape: [entries, Q] } as const;
    const own = this.#weights.has(name) ? this.#fresh(name) : name;
    const read = async ([start, stop]: NonNullable<Rows> = [0, entries]): Promise<Tensor> => {
      const [from, to] = [start, stop].map((entry) => (entry * size * bits) / 8) as [number, number];
      const skipped = Math.floor(from);
      const bytes = await readExactly(source, offset + skipped, Math.ceil(to) - skipped, `tensor ${own}`);
      const packed = repacked(bytes, {
        bits,
        entries: stop - start,
        size,
        pitch: [size, (32 / bits) * Q],
        skip: ((from - skipped) * 8) / bits,
        turned,
      });
      return Tensor.fromBytes({ ...type, shape: [stop - start, Q] }, packed);
    };
    this.#weights.set(own, { type, read });
    return weight(own, type);
  }

  /** `wanted`, or a name like it, that no weight has. */
  #fresh(wanted: string): string {
    const uses = (this.#uses.get(wanted) ?? 0) + 1;
    this.#uses.set(wanted, uses);
    const name = uses === 1 ? wanted : `${wanted}_${uses}`;
    return this.#weights.has(name) ? this.#fresh(name) : name;
  }

  /** The tensor's bytes in the message, after checking that they are as many as it says. */
  #inline(proto: TensorProto, declared: Declared): Uint8Array {
    const bytes = inlineBytes(proto, declared.code);
    if (bytes.length === declared.bytes) return bytes;
    throw this.#problem(declared, `must have ${declared.bytes} bytes; it has ${bytes.length}`);
  }

  #placeOf(bytes: Uint8Array): Place {
    return { source: memorySource(this.#file, bytes), offset: 0 };
  }

  /** Where the tensor lies in another file, after checking that it does. */
  async #external(proto: TensorProto, declared: Declared): Promise<Place> {
    const entries = new Map((proto.externalData ?? []).map(({ key, value }) => [key, value ?? ""]));
    const location = entries.get("location") ?? "";
    const offset = this.#count(declared, "offset", entries.get("offset") ?? "0");
    const length = this.#count(declared, "length", entries.get("length") ?? String(declared.bytes));
    if (length !== declared.bytes)
      throw this.#problem(declared, `must have ${declared.bytes} bytes; it has ${length}`);
    if (escapes(location))
      throw this.#problem(
        declared,
        `lies in ${JSON.stringify(location)}: the path escapes the model's folder`,
      );
    const source = await this.#open(location, declared);
    if (offset + length > source.size) {
      const message = `lies beyond the end of ${location}: needs ${offset + length} bytes, has ${source.size}`;
      throw this.#problem(declared, message);
    }
    return { source, offset };
  }

  #count(declared: Declared, key: string, text: string): number {
    const count = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(count)) return count;
    throw this.#problem(declared, `has ${key} = ${JSON.stringify(text)}, which is no number of bytes`);
  }

  async #open(location: string, declared: Declared): Promise<ByteSource> {
    const opened = this.#files.get(location);
    if (opened) return opened;
    if (!this.#openData)
      throw this.#problem(declared, `lies in ${location}, and nothing was given to open it with`);
    const source = await this.#openData(location).catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      throw this.#problem(declared, `lies in ${location}, which cannot be opened: ${reason}`);
    });
    this.#files.set(location, source);
    return source;
  }
}

/** Whether a path leads out of its folder, in any system's notation or as a URL. */
const escapes = (path: string): boolean =>
  path === "" || /^\/|\\|\0|^[a-z][a-z0-9+.-]*:|(?:^|\/)(?:\.|%2e){2}(?:\/|$)/i.test(path);

/** Sizes and indices are of 64 bits; and no program has a weight for a number that a node of its text could hold. */
const isConstant = (proto: TensorProto, { code, shape }: DeclaredOf<Element>): boolean =>
  !dtypeOf.has(code) || (shape.length === 0 && !isExternal(proto));

const isPacked = (declared: Declared): declared is DeclaredOf<SmallElement> => isSmall(declared.code);

/** Whether a tensor's numbers may be looked at one by one. */
const isShort = ({ shape }: Declared): boolean => sizeOf(shape) <= mostNumbers;

/** `bytes` as no Buffer of Node's, which would be taken for a copy of itself when sliced. */
const plain = ({ buffer, byteOffset, length }: Uint8Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, length);

const bytesOf = ({ buffer }: { readonly buffer: ArrayBufferLike }): Uint8Array => new Uint8Array(buffer);

const integers = (field: TensorProto["int64Data"]): number[] => (field ?? []).map((n) => numberOf(n) ?? 0);

/** The elements of a tensor within the message, little-endian; they stand in one of several fields. */
function inlineBytes(proto: TensorProto, code: StoredElement): Uint8Array {
  if (proto.rawData?.length) return proto.rawData;
  switch (code) {
    case element.float:
      return bytesOf(Float32Array.from(proto.floatData ?? []));
    case element.double:
      return bytesOf(Float64Array.from(proto.doubleData ?? []));
    case element.int32:
      return bytesOf(Int32Array.from(proto.int32Data ?? []));
    case element.float16:
    case element.bfloat16:
      return bytesOf(Uint16Array.from(proto.int32Data ?? []));
    case element.bool:
    case smallElement.uint8:
    case smallElement.int8:
    // Two to a byte, as in the raw data.
    case smallElement.uint4:
    case smallElement.int4:
      return bytesOf(Uint8Array.from(proto.int32Data ?? []));
    case element.uint32:
      return bytesOf(Uint32Array.from(integers(proto.uint64Data)));
    case element.int64:
      return bytesOf(BigInt64Array.from(integers(proto.int64Data), BigInt));
  }
}

function constantOf({ code, shape }: DeclaredOf<Element>, bytes: Uint8Array): Item {
  const dtype = dtypeOf.get(code);
  if (dtype) return known(code, shape, Array.from(Tensor.fromBytes({ dtype, shape }, bytes).numbers()));
  const { buffer } = bytes.slice();
  const numbers = code === element.int64 ? new BigInt64Array(buffer) : new Float64Array(buffer);
  return known(code, shape, Array.from(numbers, Number));
}
