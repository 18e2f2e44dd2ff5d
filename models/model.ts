/** What a model is: a program with what is needed to feed it and to read its outputs; and what makes one. */
import { type Graph, type Shape, sizeOf } from "../ir/index.ts";
import type { Json } from "./config.ts";
import type { TokenGrid } from "./grid.ts";
import type { Parameter } from "./init.ts";
import type { Knobs } from "./routers/options.ts";
import type { BoundRouter, Router } from "./routers/router.ts";

/** What is chosen when a model is compiled rather than in its configuration. */
export interface ModelOptions {
  /** Images of a run; 1 by default. */
  readonly batch?: number;
  /** Pixels down and across; 224 x 224 by default. */
  readonly imageSize?: readonly [height: number, width: number];
  /**
   * Tokens that are routed together. By default the configuration's where it divides the batch's tokens, else the
   * largest number of whole images that holds no more and divides the batch, at least one image.
   */
  readonly groupSize?: number;
  /** Slots of an expert and group by sparse block, in place of what the configuration's dispatcher says. */
  readonly capacities?: Readonly<Record<string, number>>;
  /** Whether routers add noise, which the program then takes as inputs `noise/<block>`. */
  readonly noise?: boolean;
  /**
   * Whether k, capacity and priority can change between runs, up to those configured: the program then takes inputs
   * `knobs/<block>`, i32[3], see `knobsOf`. For routers whose tokens choose.
   */
  readonly live?: boolean;
  /** Routers that a configuration may name besides the shipped ones. */
  readonly routers?: readonly Router[];
}

/** One sparse block of a model. */
export interface SparseBlock {
  /** Such as `encoderblock_5`; the prefix of the block's outputs. */
  readonly name: string;
  readonly index: number;
  readonly experts: number;
  readonly groups: number;
  readonly groupSize: number;
  /** Copies of each token, side by side in its group: the members of an ensemble, 1 without. */
  readonly members: number;
  /** Slots of an expert, per group. */
  readonly capacity: number;
}

/** A program with what is needed to feed it and to read its outputs. */
export interface Model {
  /**
   * Input `image` f32[B, Y, X, 3] in [-1, 1]; outputs `logits` f32[B, classes], per sparse block
   * `<block>/tokens`, `/slots`, `/weights` and the router's metrics, and `auxiliary_loss` f32[G]. An ensemble of M
   * members has `logits` f32[B * M, classes], row b * M + m, and losses f32[G, M].
   */
  readonly graph: Graph;
  /** The output that has one row of class scores an image where `logits` has one for each member; else undefined. */
  readonly prediction?: string;
  readonly parameters: readonly Parameter[];
  /** Operations of one image, two for each multiplication and addition of a matrix product. */
  readonly flops: number;
  readonly grid: TokenGrid;
  readonly blocks: readonly SparseBlock[];
  readonly router: BoundRouter | undefined;
  /** Of a live program: what `knobs` are as the input of a sparse block; see `knobsOf`. */
  readonly limits?: (knobs: Knobs, block: string) => ReturnType<BoundRouter["limits"]>;
  /** The fewest images that fill whole groups of the configuration's size; 1 where that would be too many. */
  readonly fullBatch: number;
  /** Sizes worth knowing, by name. */
  readonly facts: Readonly<Record<string, number>>;
}

/** Trained numbers. */
export const parameterCount = ({ parameters }: Pick<Model, "parameters">): number =>
  parameters.filter(({ trained }) => trained).reduce((sum, { shape }) => sum + sizeOf(shape), 0);

/** A class of models: what a configuration's `name` names. */
export interface ModelClass {
  readonly name: string;
  readonly summary: string;
  readonly source: string;
  /** The model of a configuration; throws M1 to M6. Allocates no weights. */
  build(config: Json, options: ModelOptions): Model;
  /** The image size that weights of these shapes were made for; undefined when they do not say. */
  imageSizeOf(
    config: Json,
    shape: (parameter: string) => Shape | undefined,
  ): readonly [number, number] | undefined;
}
