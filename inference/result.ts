/** What a run says of its images. */
import { Tensor } from "../ir/index.ts";
import { type BlockRoutes, type Model, routesOf } from "../models/index.ts";

/** One class of an image's best. */
export interface ClassScore {
  readonly class: number;
  /** The entry of the output that has a row an image: a logit, of an ensemble a logarithm of a probability. */
  readonly logit: number;
  /** Of the softmax over all classes. */
  readonly probability: number;
}

/** What one batch came to. */
export class Result {
  /** Images that the batch was run for; what filled it up comes after them. */
  readonly count: number;
  /** Everything computed, by name, of the whole batch. */
  readonly outputs: ReadonlyMap<string, Tensor>;
  readonly #model: Model;

  constructor(model: Model, outputs: ReadonlyMap<string, Tensor>, count: number) {
    this.#model = model;
    this.outputs = outputs;
    this.count = count;
  }

  /** The classes' scores, f32[count, classes]; of an ensemble of M members [count * M, classes]. */
  get logits(): Tensor {
    return this.#rows("logits");
  }

  /** The k classes of largest score of each image, best first; the lower class first among equals. */
  top(k = 5): ClassScore[][] {
    const { type, data } = this.#rows(this.#model.prediction ?? "logits");
    const [images = 0, classes = 1] = type.shape;
    return Array.from({ length: images }, (_, i) =>
      best(Array.from(data.subarray(i * classes, (i + 1) * classes)), k),
    );
  }

  /** Where the tokens of the images went, by sparse block; loads count all that was routed. */
  get routes(): BlockRoutes[] {
    return routesOf(this.#model, this.outputs, this.count);
  }

  /** The rows of an output that belong to the images. */
  #rows(name: string): Tensor {
    const output = this.outputs.get(name);
    if (!output) throw new RangeError(`${name} was not among the outputs asked for`);
    const { graph } = this.#model;
    const [batch = 1] = graph.inputs[0]?.type.shape ?? [];
    const [rows = 1, ...rest] = output.type.shape;
    return firstRows(output, (rows / batch) * this.count, rest);
  }
}

function firstRows({ type, data }: Tensor, rows: number, rest: readonly number[]): Tensor {
  const size = rest.reduce((a, b) => a * b, 1);
  return new Tensor({ ...type, shape: [rows, ...rest] }, data.slice(0, rows * size));
}

function best(row: readonly number[], k: number): ClassScore[] {
  const largest = row.reduce((a, b) => Math.max(a, b));
  const total = row.reduce((sum, v) => sum + Math.exp(v - largest), 0);
  const order = [...row.keys()].toSorted((a, b) => (row[b] as number) - (row[a] as number)).slice(0, k);
  return order.map((index) => {
    const logit = row[index] as number;
    return { class: index, logit, probability: Math.exp(logit - largest) / total };
  });
}
