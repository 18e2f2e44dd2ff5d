/** A GPU device behind the few acts that programs need, with errors that say what failed. */
import { CompileError } from "../ir/error.ts";
import type { Access, Limits, ModuleImage, ModuleKernel } from "./module.ts";

const limitNames = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupsPerDimension",
  "maxTextureDimension2D",
] as const satisfies readonly (keyof Limits)[];

/** WebGPU's flags by value: their globals do not exist where the API comes from a package. */
export const usage = {
  mapRead: 1,
  mapWrite: 2,
  copySource: 4,
  copyTarget: 8,
  storage: 128,
  queryResolve: 512,
} as const;
const textureUsage = { copyTarget: 2, storage: 8 } as const;
const mapModeRead = 1;
export const mapModeWrite = 2;
const computeStage = 4;

/** Limits by name; those of threads hold along x, too, where a workgroup may have all of its own. */
function limitsOf(limits: GPUSupportedLimits): Limits {
  const all = Object.fromEntries(limitNames.map((name) => [name, limits[name]])) as unknown as Limits;
  const threads = Math.min(all.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX);
  return { ...all, maxComputeInvocationsPerWorkgroup: threads };
}

/** Each limit as wanted, but not more than there is. */
const smaller = (wanted: Limits, has: Limits): Limits =>
  Object.fromEntries(
    limitNames.map((name) => [name, Math.min(wanted[name], has[name])]),
  ) as unknown as Limits;

/** A pipeline of one kernel. */
export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** What stands at a binding. */
function layoutOf(access: Access): Pick<GPUBindGroupLayoutEntry, "buffer" | "storageTexture"> {
  if (access === "read") return { buffer: { type: "read-only-storage" } };
  if (access === "read_write") return { buffer: { type: "storage" } };
  return { storageTexture: { access: "read-only", format: access } };
}

const oneLine = (message: string): string => message.trim().split("\n")[0] ?? "";

/** What subgroups of a device can multiply, as Chrome says it of an adapter; no part of WebGPU yet. */
export interface DeviceMatrix {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

const matricesOf = (info: GPUAdapterInfo): readonly DeviceMatrix[] =>
  (info as { readonly subgroupMatrixConfigs?: readonly DeviceMatrix[] }).subgroupMatrixConfigs ?? [];

/** What a device is asked to have. */
export interface Wanted {
  readonly limits: Limits;
  readonly features: readonly string[];
  readonly subgroupMinSize?: number | undefined;
}

export class Device {
  readonly gpu: GPUDevice;
  readonly matrices: readonly DeviceMatrix[];
  /** Submits to the queue, and buffers mapped for reading, since the device was opened. */
  readonly counts: { submits: number; reads: number } = { submits: 0, reads: 0 };
  readonly #pipelines = new Map<string, Promise<Pipeline>>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  #failure: string | undefined;
  #lost: string | undefined;

  /** What runs on `gpu`, whoever asked for it; `info` is what its adapter says of itself, which may be more. */
  constructor(gpu: GPUDevice, info: GPUAdapterInfo = gpu.adapterInfo) {
    this.gpu = gpu;
    this.matrices = matricesOf(info);
    gpu.onuncapturederror = ({ error }) => (this.#failure ??= oneLine(error.message));
    void gpu.lost.then(({ reason, message }) => (this.#lost = `${reason}: ${oneLine(message)}`));
  }

  /**
   * Opens the best adapter of `gpu`, with what is wanted as far as the adapter has it; by default with all its limits
   * and features. Throws B2 when there is no adapter, or it gives no device.
   */
  static async open(gpu: GPU, wanted?: Wanted): Promise<Device> {
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) throw new CompileError("B2", "webgpu", "there is no adapter");
    const has = limitsOf(adapter.limits);
    const limits = wanted ? smaller(wanted.limits, has) : has;
    const requiredLimits = { ...limits, maxComputeWorkgroupSizeX: limits.maxComputeInvocationsPerWorkgroup };
    // Timestamps are for whoever profiles, not for programs.
    const requiredFeatures = [...adapter.features].filter(
      (feature) => !wanted || feature === "timestamp-query" || wanted.features.includes(feature),
    ) as GPUFeatureName[];
    const device = await adapter.requestDevice({ requiredLimits, requiredFeatures }).catch((error: Error) => {
      throw new CompileError("B2", "webgpu", `the adapter gives no device: ${oneLine(error.message)}`);
    });
    return new Device(device, adapter.info);
  }

  get limits(): Limits {
    return limitsOf(this.gpu.limits);
  }

  get features(): ReadonlySet<string> {
    return this.gpu.features;
  }

  /** Threads of the smallest subgroup that there may be. */
  get subgroupMinSize(): number {
    return this.gpu.adapterInfo.subgroupMinSize ?? 0;
  }

  get vendor(): string {
    return this.gpu.adapterInfo.vendor;
  }

  /** The device and its driver, for people. */
  get description(): string {
    const { vendor, architecture, device, description } = this.gpu.adapterInfo;
    return [vendor, architecture, device, description].filter(Boolean).join(", ");
  }

  /** Whether it computes on the CPU. */
  get software(): boolean {
    return this.gpu.adapterInfo.isFallbackAdapter;
  }

  /** Throws B3 for the first limit or feature of what a program wants that the device does not have. */
  ensure(program: string, { limits, features, subgroupMinSize: threads = 0 }: Wanted): void {
    const own = this.limits;
    for (const name of limitNames) {
      const [want, has] = [limits[name], own[name]];
      if (want > has) throw new CompileError("B3", program, `needs ${name} ${want}; the device has ${has}`);
    }
    const missing = features.find((feature) => !this.features.has(feature));
    if (missing !== undefined)
      throw new CompileError("B3", program, `needs ${missing}, which the device lacks`);
    if (threads > this.subgroupMinSize) {
      const has = this.subgroupMinSize;
      throw new CompileError(
        "B3",
        program,
        `needs subgroups of at least ${threads} threads; they may have ${has}`,
      );
    }
  }

  /** A buffer of at least `bytes`, named for errors. Throws B3 when the device has no room for it. */
  buffer(label: string, bytes: number, flags: number): Promise<GPUBuffer> {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    return this.#had(label, bytes, () => this.gpu.createBuffer({ label, size, usage: flags }));
  }

  /** An image of weights, named for errors. Throws B3 when the device has no room for it. */
  image(label: string, bytes: number, { format, width, height }: ModuleImage): Promise<GPUTexture> {
    const flags = textureUsage.storage | textureUsage.copyTarget;
    const size = [width, height];
    return this.#had(label, bytes, () => this.gpu.createTexture({ label, size, format, usage: flags }));
  }

  async #had<T>(label: string, bytes: number, make: () => T): Promise<T> {
    this.gpu.pushErrorScope("out-of-memory");
    this.gpu.pushErrorScope("validation");
    const made = make();
    const errors = await Promise.all([this.gpu.popErrorScope(), this.gpu.popErrorScope()]);
    const error = errors.find((each) => each !== null);
    if (!error) return made;
    const reason = oneLine(error.message);
    throw new CompileError("B3", label, `${bytes} bytes could not be had on the device: ${reason}`);
  }

  /** The pipeline of a kernel; one for equal texts. Throws B4 with the line that the device refuses. */
  pipeline(kernel: ModuleKernel): Promise<Pipeline> {
    const known = this.#pipelines.get(kernel.wgsl) ?? this.#build(kernel);
    this.#pipelines.set(kernel.wgsl, known);
    return known;
  }

  #layout(access: readonly Access[]): GPUBindGroupLayout {
    const key = access.join();
    const known =
      this.#layouts.get(key) ??
      this.gpu.createBindGroupLayout({
        entries: access.map((kind, binding) => ({ binding, visibility: computeStage, ...layoutOf(kind) })),
      });
    this.#layouts.set(key, known);
    return known;
  }

  /** The shader of a kernel. Throws B4 with the line that WebGPU refuses. */
  async shader({ label, wgsl }: ModuleKernel): Promise<GPUShaderModule> {
    this.gpu.pushErrorScope("validation");
    const module = this.gpu.createShaderModule({ label, code: wgsl });
    void this.gpu.popErrorScope();
    const { messages } = await module.getCompilationInfo();
    const problem = messages.find((message) => message.type === "error");
    if (problem) throw new CompileError("B4", label, `line ${problem.lineNum}: ${oneLine(problem.message)}`);
    return module;
  }

  async #build(kernel: ModuleKernel): Promise<Pipeline> {
    const layout = this.#layout(kernel.access);
    const module = await this.shader(kernel);
    const { label } = kernel;
    try {
      const pipeline = await this.gpu.createComputePipelineAsync({
        label,
        layout: this.gpu.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module },
      });
      return { pipeline, layout };
    } catch (error) {
      throw new CompileError("B4", label, oneLine((error as Error).message));
    }
  }

  submit(commands: GPUCommandBuffer): void {
    this.counts.submits++;
    this.gpu.queue.submit([commands]);
  }

  /** A copy of the first `bytes` of a buffer that can be mapped. Throws B5 when the device is lost meanwhile. */
  async read(buffer: GPUBuffer, bytes: number, what: string): Promise<ArrayBuffer> {
    this.counts.reads++;
    await this.mapped(buffer.mapAsync(mapModeRead, 0, bytes), what);
    const copy = buffer.getMappedRange(0, bytes).slice(0);
    buffer.unmap();
    return copy;
  }

  /** Waits until a buffer is mapped. Throws B5 when the device is lost meanwhile. */
  async mapped(mapping: Promise<unknown>, what: string): Promise<void> {
    try {
      await mapping;
    } catch (error) {
      // The reason of a loss arrives on its own promise, just after.
      await Promise.resolve();
      throw new CompileError(
        "B5",
        what,
        `the device was lost (${this.#lost ?? oneLine((error as Error).message)})`,
      );
    }
    this.check(what);
  }

  /** Throws B5 when the device is lost, B4 when it has reported an error. */
  check(what: string): void {
    if (this.#lost !== undefined) throw new CompileError("B5", what, `the device was lost (${this.#lost})`);
    if (this.#failure !== undefined)
      throw new CompileError("B4", what, `the device reports: ${this.#failure}`);
  }

  close(): void {
    this.gpu.destroy();
  }
}
