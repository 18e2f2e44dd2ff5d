/** A program compiled for a kind of device: plain data that says what to make on the device, and what to launch. */
import type { DType, Shape } from "../ir/type.ts";

/** The limits that kernels and buffers keep to; names and units are WebGPU's. */
export interface Limits {
  readonly maxBufferSize: number;
  readonly maxStorageBufferBindingSize: number;
  readonly maxStorageBuffersPerShaderStage: number;
  readonly maxComputeWorkgroupStorageSize: number;
  readonly maxComputeInvocationsPerWorkgroup: number;
  readonly maxComputeWorkgroupsPerDimension: number;
  readonly maxTextureDimension2D: number;
}

/** Bytes `offset .. offset + bytes - 1` of buffer `buffer`; the offset is a multiple of 256. */
export interface Place {
  readonly buffer: number;
  readonly offset: number;
  readonly bytes: number;
}

/** Texels of four floats, or of sixteen integers of 8 or 4 bits in words; WebGPU's names. */
export type ImageFormat = "rgba32float" | "rgba16float" | "rgba32uint" | "rg32uint";

/** Weights that are read as texels: rows of `width` texels, one after the other. */
export interface ModuleImage {
  readonly format: ImageFormat;
  readonly width: number;
  readonly height: number;
}

/** A buffer of the device, or an image that stands among the buffers, named for errors. */
export interface ModuleBuffer {
  readonly label: string;
  readonly bytes: number;
  readonly image?: ModuleImage;
}

/** An input or an output: four bytes an element, the 16-bit floats as the f32 they stand for, bool as u32. */
export interface Port {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  readonly place: Place;
}

/** A weight that lies in another one: `run` elements of it at a time, with those of others, or zeros, between. */
export interface JoinedPart {
  readonly name: string;
  readonly shape: Shape;
  readonly run: number;
}

/**
 * Matrices [K, N] as strips of `columns` columns, four rows at a time: of each first `run` columns, then the next. Of integers of
 * 8 or 4 bits the four rows of four columns lie together, row by row. Beyond the last column and the last row there are zeros.
 */
export interface StripLayout {
  readonly K: number;
  readonly N: number;
  readonly columns: number;
  readonly run: number;
  /** Bits of an element: 32 or 16 of floats, 8 or 4 of integers. */
  readonly bits: 32 | 16 | 8 | 4;
}

/**
 * Entries `start .. stop - 1` of the first axis of a weight; a scalar has one entry. Elements take four bytes, those of
 * f16 two, in whole words.
 */
export interface WeightPart {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  readonly start: number;
  readonly stop: number;
  /** Of a weight that no file has: the weights of as many entries that are joined in it, run by run. */
  readonly joined?: readonly JoinedPart[];
  /** Of one whose elements lie otherwise than row by row. */
  readonly strips?: StripLayout;
  readonly place: Place;
}

/** How a kernel binds what it reads and writes: a buffer, or an image of a format. */
export type Access = "read" | "read_write" | ImageFormat;

/** A compute shader; its buffers and images are bindings 0, 1, ... of group 0. */
export interface ModuleKernel {
  /** For people: the first launch that uses it. */
  readonly label: string;
  readonly wgsl: string;
  readonly access: readonly Access[];
}

/** One launch of a grid of workgroups. */
export interface ModuleLaunch {
  readonly label: string;
  /** Where in the model it stands, such as `Encoder/encoderblock_5/Moe`. */
  readonly scope: string;
  readonly kernel: number;
  readonly workgroups: readonly [x: number, y: number, z: number];
  /** Operations of a matrix product, two for each multiplication and addition, at most; left out where it is none. */
  readonly flops?: number;
  readonly bindings: readonly Place[];
}

/** Bytes on the device. */
export interface MemoryUse {
  readonly weights: number;
  /** All that comes and goes: inputs, results and scratch memory, in arenas. */
  readonly planned: number;
  /** The most bytes of those that are needed at once: what no plan can be below. */
  readonly least: number;
}

/** A compiled program. JSON holds all of it. */
export interface DeviceModule {
  readonly name: string;
  /** What a device must have to run it. */
  readonly limits: Limits;
  /** WebGPU's optional features that its kernels use. */
  readonly features: readonly string[];
  /** Threads of the smallest subgroup that its kernels can do with; 0 where they use none. */
  readonly subgroupMinSize: number;
  readonly kernels: readonly ModuleKernel[];
  /** The images among them hold weights. */
  readonly buffers: readonly ModuleBuffer[];
  /** How many of the buffers, the first ones, hold weights. */
  readonly weightBuffers: number;
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** In the order of their places. */
  readonly weights: readonly WeightPart[];
  /** Launches that depend on no input: made once, when the program is loaded. */
  readonly once: readonly ModuleLaunch[];
  /** Launches of every run, in order. */
  readonly launches: readonly ModuleLaunch[];
  readonly memory: MemoryUse;
}
