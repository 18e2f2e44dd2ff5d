/** The tensors that a file gives: constants that are known at once, and weights that are read when asked for. */
import { type ByteSource, memorySource, readExactly } from "../../../files/bytes.ts";
import {
  byteLength,
  type CompileError,
  sizeOf,
  Tensor,
  type TensorType,
  weight,
  type WeightSource,
} from "../../../ir/index.ts";
import {
  type Element,
  element,
  elementBytes,
  elementName,
  isElement,
  isExternal,
  numberOf,
  type TensorProto,
} from "../proto.ts";
import { mostNumbers } from "./call.ts";
import { data, dtypeOf, type Item, known } from "./item.ts";
import { problem, type ProblemCode } from "./problem.ts";

/** Opens the file `location`, a path relative to the model's folder, that holds tensors of the model. */
export type OpenData = (location: string) => Promise<ByteSource>;

/** Where a tensor's bytes lie. */
interface Place {
  readonly source: ByteSource;
  readonly offset: number;
}

/** What a tensor's message says of it. */
interface Declared {
  readonly name: string;
  readonly code: Element;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** The tensors of one file. Errors are O3 where the file is broken, O4 where it holds what is not read here. */
export class Tensors {
  readonly #file: string;
  readonly #openData: OpenData | undefined;
  readonly #files = new Map<string, ByteSource>();
  readonly #constants = new Map<TensorProto, Item>();
  /** How often a weight's name was wanted. */
  readonly #uses = new Map<string, number>();
  readonly #weights = new Map<string, { readonly type: TensorType; readonly place: Place }>();

  /** @param file what errors call the model */
  constructor(file: string, openData: OpenData | undefined) {
    this.#file = file;
    this.#openData = openData;
  }

  /** What an initializer stands for: a weight of its name; or its numbers, where `isConstant`. */
  async initializer(proto: TensorProto): Promise<Item> {
    const declared = this.#declared(proto, proto.name ?? "");
    const place = isExternal(proto)
      ? await this.#external(proto, declared)
      : this.#placeOf(this.#inline(proto, declared));
    if (!isConstant(proto, declared)) return this.#weight(declared, place);
    this.#checkFew(declared);
    return constantOf(declared, await readExactly(place.source, place.offset, declared.bytes, declared.name));
  }

  /** What a tensor in a node stands for, which is called `name` if it is a weight that has no name yet. */
  constant(proto: TensorProto, name: string): Item {
    // A function that is called twice has each of its tensors once.
    const seen = this.#constants.get(proto);
    if (seen) return seen;
    const declared = this.#declared(proto, name);
    if (isExternal(proto)) throw this.#problem(declared, "of a node must not lie in another file");
    const bytes = this.#inline(proto, declared);
    if (isConstant(proto, declared)) this.#checkFew(declared);
    const item = isConstant(proto, declared)
      ? constantOf(declared, bytes)
      : this.#weight({ ...declared, name: this.#fresh(name) }, this.#placeOf(bytes));
    this.#constants.set(proto, item);
    return item;
  }

  /** The weights, each read when asked for. Closing it closes the files that hold them. */
  source(): WeightSource {
    return {
      tensors: new Map([...this.#weights].map(([name, { type }]) => [name, type])),
      read: async (name, rows) => {
        const stored = this.#weights.get(name);
        if (!stored) throw problem(this.#file, `has no tensor ${name}`);
        const { type, place } = stored;
        const [first = 1, ...rest] = type.shape;
        const cut = rows ? { ...type, shape: [rows[1] - rows[0], ...rest] } : type;
        const skip = rows ? rows[0] * (byteLength(type) / first) : 0;
        const read = await readExactly(place.source, place.offset + skip, byteLength(cut), `tensor ${name}`);
        // A Buffer of Node's would be taken for a copy of itself when sliced.
        const bytes = new Uint8Array(read.buffer, read.byteOffset, read.length);
        // A truth may be any byte but 0.
        return Tensor.fromBytes(cut, type.dtype === "bool" ? bytes.map((byte) => (byte ? 1 : 0)) : bytes);
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

  #declared(proto: TensorProto, name: string): Declared {
    const code = proto.dataType;
    if (!isElement(code)) {
      const message = `is of ${elementName(code ?? 0)}, which is not supported here`;
      throw this.#problem({ name }, message, "O4");
    }
    const shape = (proto.dims ?? []).map((dim) => numberOf(dim) ?? -1);
    const bytes = sizeOf(shape) * elementBytes[code];
    if (shape.some((size) => size < 0) || !Number.isSafeInteger(bytes))
      throw this.#problem({ name }, "has sizes that no tensor has");
    return { name, code, shape, bytes };
  }

  #checkFew(declared: Declared): void {
    const size = sizeOf(declared.shape);
    if (size <= mostNumbers) return;
    const type = elementName(declared.code);
    throw this.#problem(declared, `has ${size} numbers of ${type}; at most ${mostNumbers} are read`, "O4");
  }

  #weight({ name, code, shape }: Declared, place: Place): Item {
    const type = { dtype: dtypeOf.get(code) ?? "f32", shape };
    this.#weights.set(name, { type, place });
    return data(weight(name, type));
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
const isConstant = (proto: TensorProto, { code, shape }: Declared): boolean =>
  !dtypeOf.has(code) || (shape.length === 0 && !isExternal(proto));

const bytesOf = ({ buffer }: { readonly buffer: ArrayBufferLike }): Uint8Array => new Uint8Array(buffer);

const integers = (field: TensorProto["int64Data"]): number[] => (field ?? []).map((n) => numberOf(n) ?? 0);

/** The elements of a tensor within the message, little-endian; they stand in one of several fields. */
function inlineBytes(proto: TensorProto, code: Element): Uint8Array {
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
      return bytesOf(Uint8Array.from(proto.int32Data ?? []));
    case element.uint32:
      return bytesOf(Uint32Array.from(integers(proto.uint64Data)));
    case element.int64:
      return bytesOf(BigInt64Array.from(integers(proto.int64Data), BigInt));
  }
}

function constantOf({ code, shape }: Declared, bytes: Uint8Array): Item {
  const dtype = dtypeOf.get(code);
  if (dtype) return known(code, shape, Array.from(Tensor.fromBytes({ dtype, shape }, bytes).numbers()));
  const { buffer } = bytes.slice();
  const numbers = code === element.int64 ? new BigInt64Array(buffer) : new Float64Array(buffer);
  return known(code, shape, Array.from(numbers, Number));
}
