/** A model and its weights as bytes: one message, and one file of data beside it. */
import { CompileError, type WeightSource } from "../../ir/index.ts";
import type { OnnxProgram } from "./export.ts";
import { encodeModel, externalTensorProto, type ModelProto, type TensorProto, tensorProto } from "./proto.ts";
import type { WeightTensor } from "./weights.ts";

/** Tensors of at least this size start at a multiple of it: every system can map them into memory there. */
const pageBytes = 2 ** 16;
/** Smaller ones follow each other at multiples of this: a page each would be mostly padding. */
const lineBytes = 64;
/** No message of protobuf is longer. */
const messageBytes = 2 ** 31 - 1;

/** Where a tensor lies in the data file. */
interface Place {
  readonly tensor: WeightTensor;
  readonly offset: number;
}

/** A model whose weights lie in a file of their own. */
export interface OnnxFiles {
  /** The message, which names the data file. */
  readonly model: Uint8Array;
  readonly dataBytes: number;
  /** The data file's bytes, in order. */
  readonly data: (source: WeightSource, onProgress?: (done: number) => void) => AsyncIterable<Uint8Array>;
}

/** The program with its weights in the file `location`, beside the model's own; no weight is read here. */
export function withData({ model, weights }: OnnxProgram, location: string): OnnxFiles {
  const places = laidOut(weights);
  const last = places.at(-1);
  const dataBytes = last ? last.offset + last.tensor.bytes : 0;
  const tensors = places.map(({ tensor: { name, element, shape, bytes }, offset }) =>
    externalTensorProto(name, element, shape, { location, offset, length: bytes }),
  );
  return {
    model: encoded(model, tensors),
    dataBytes,
    async *data(source, onProgress = () => undefined) {
      let at = 0;
      for (const { tensor, offset } of places) {
        if (offset > at) yield new Uint8Array(offset - at);
        at = offset;
        for await (const part of tensor.parts(source)) {
          onProgress(at / dataBytes);
          yield part;
          at += part.length;
        }
      }
    },
  };
}

/** The program with its weights in the message itself. Throws O2 where it would be longer than a message may be. */
export async function embedded({ model, weights }: OnnxProgram, source: WeightSource): Promise<Uint8Array> {
  const bytes = weights.reduce((sum, tensor) => sum + tensor.bytes, 0);
  const tensors = [];
  // Encoding doubles its buffer as it grows: only well below the limit is it sure to end.
  if (bytes > messageBytes / 2) {
    const got = `${(bytes / 2 ** 20).toFixed(0)} MiB of weights`;
    throw new CompileError(
      "O2",
      "embed",
      `a message may hold 1 GiB, the format 2; got ${got}: leave out --embed`,
    );
  }
  for (const tensor of weights) {
    tensors.push(tensorProto(tensor.name, tensor.element, tensor.shape, await whole(tensor, source)));
  }
  return encoded(model, tensors);
}

async function whole(tensor: WeightTensor, source: WeightSource): Promise<Uint8Array> {
  const data = new Uint8Array(tensor.bytes);
  let at = 0;
  for await (const part of tensor.parts(source)) {
    data.set(part, at);
    at += part.length;
  }
  return data;
}

const encoded = (model: ModelProto, tensors: readonly TensorProto[]): Uint8Array =>
  encodeModel({
    ...model,
    graph: { ...model.graph, initializer: [...(model.graph?.initializer ?? []), ...tensors] },
  });

function laidOut(weights: readonly WeightTensor[]): Place[] {
  let end = 0;
  return weights.map((tensor) => {
    const step = tensor.bytes >= pageBytes ? pageBytes : lineBytes;
    const offset = Math.ceil(end / step) * step;
    end = offset + tensor.bytes;
    return { tensor, offset };
  });
}
