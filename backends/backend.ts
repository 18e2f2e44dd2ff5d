/** What a backend is: a way to open an engine that compiles programs and runs them. */
import type { AnyOp, DType, Graph, Tensor, WeightSource } from "../ir/index.ts";
import type { PassOptions } from "../passes/index.ts";
import type { Span } from "../runtime/program.ts";
import type { Profile } from "./webgpu/profile.ts";

export type { Span };

/** Largest distance from the reference, as a share of the result's largest magnitude (at least 1), by dtype. */
export type Tolerance = Readonly<Record<Extract<DType, "f32" | "f16" | "bf16">, number>>;

export interface Backend {
  readonly name: string;
  /** What its results may differ by from the reference, for one op; integers never differ. */
  readonly tolerance: Tolerance;
  /** Takes hold of a device; throws B2 saying why there is none. */
  open(): Promise<Engine>;
}

/** What a user may say of the engine behind a backend. */
export interface EngineOptions {
  /** Which of the backend's own engines: ONNX Runtime's execution provider. */
  readonly provider?: string;
  /** Which kind of device to compile for, in place of this machine's. */
  readonly target?: Profile;
  /** Whether WebGPU may use features that browsers keep behind a flag, such as subgroup matrices. */
  readonly unsafe?: boolean;
  /** Threads of one op. */
  readonly threads?: number;
  /** Whatever else the engine takes, under its own names. */
  readonly session?: Readonly<Record<string, unknown>>;
}

/** A backend that holds a device. */
export interface Engine {
  /** The device and its driver, for people. */
  readonly device: string;
  /** Whether the device computes on the CPU. */
  readonly software: boolean;
  /** Whether it has a kernel for `op`; programs are lowered until it has one for every op. */
  readonly supports: (op: AnyOp) => boolean;
  /** Prepares a program to compute the given outputs; reads every weight once. Throws B3 to B5. */
  compile(graph: Graph, weights: WeightSource, options?: CompileOptions): Promise<Executable>;
  close(): void;
}

export interface CompileOptions extends PassOptions {
  /** Names of the outputs that are wanted; all by default. */
  readonly outputs?: readonly string[];
  /** Told of progress from 0 to 1, in compiling and in running. */
  readonly progress?: (done: number, what: string) => void;
}

/** A program ready to run. */
export interface Executable {
  /** Computes the outputs by name; throws B1 for inputs that do not fit, B4 and B5 when the device fails. */
  run(inputs: ReadonlyMap<string, Tensor>): Promise<Map<string, Tensor>>;
  /** A run whose launches the device times, one by one; undefined where it cannot. Throws as `run` does. */
  readonly profile?: (inputs: ReadonlyMap<string, Tensor>) => Promise<readonly LaunchTime[]>;
  /**
   * Milliseconds that the device takes for each of `spans` of a run's launches, without a break between those of one;
   * undefined where it cannot tell. Throws as `run` does.
   */
  readonly time?: (inputs: ReadonlyMap<string, Tensor>, spans: readonly Span[]) => Promise<readonly number[]>;
  /** What a run does, as far as the backend counts it. */
  readonly report: Report;
  dispose(): void;
}

/** One launch of a run, timed by the device. */
export interface LaunchTime {
  /** For people: the op, and the step in it. */
  readonly label: string;
  /** Where in the model it stands, such as `Encoder/encoderblock_5/Moe`. */
  readonly scope: string;
  readonly ms: number;
  /** Operations of a matrix product, two for each multiplication and addition, at most; 0 for what is none. */
  readonly flops: number;
  /** Bytes that it reads and writes, each range that is bound to it counted once, at most. */
  readonly bytes: number;
}

export interface Report {
  /** GPU launches of one run, and those in each scope, such as `Encoder/encoderblock_5/Moe`. */
  readonly launches?: number;
  readonly launchesByScope?: ReadonlyMap<string, number>;
  /** Bytes on the device. */
  readonly weightBytes?: number;
  readonly activationBytes?: number;
  /** Counted over the last run: submits to the queue, and reads from the device before the outputs' own. */
  readonly submits?: number;
  readonly readbacks?: number;
  /** Host time of the last run to encode and submit; copying the inputs to the device takes its own. */
  readonly hostMs?: number;
}
