/** A GPU device behind the few acts that this backend performs, with errors that say what failed. */
import { CompileError } from "../../ir/index.ts";
import { type Limits, type Profile, profileOf } from "./profile.ts";

const limitNames = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupsPerDimension",
] as const satisfies readonly (keyof Limits)[];

/** WebGPU's flags by value: their globals do not exist where the API comes from a package. */
export const usage = { mapRead: 1, copySource: 4, copyTarget: 8, storage: 128 } as const;
const mapModeRead = 1;
const computeStage = 4;

const limitsOf = (limits: GPUSupportedLimits): Limits =>
  Object.fromEntries(limitNames.map((name) => [name, limits[name]])) as unknown as Limits;

/** A pipeline of one launch. */
export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

const oneLine = (message: string): string => message.trim().split("\n")[0] ?? "";

export class Device {
  readonly gpu: GPUDevice;
  readonly profile: Profile;
  readonly description: string;
  readonly software: boolean;
  /** Submits to the queue, and buffers mapped for reading, since the device was opened. */
  readonly counts: { submits: number; reads: number } = { submits: 0, reads: 0 };
  readonly #pipelines = new Map<string, Promise<Pipeline>>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  #failure: string | undefined;
  #lost: string | undefined;

  private constructor(gpu: GPUDevice, profile: Profile, description: string, software: boolean) {
    this.gpu = gpu;
    this.profile = profile;
    this.description = description;
    this.software = software;
    gpu.onuncapturederror = ({ error }) => (this.#failure ??= oneLine(error.message));
    void gpu.lost.then(({ reason, message }) => (this.#lost = `${reason}: ${oneLine(message)}`));
  }

  /**
   * Opens the best adapter of `gpu`, for `profile` when it is given. Throws B2 when there is no adapter, or none
   * with the profile's limits.
   */
  static async open(gpu: GPU, profile?: Profile): Promise<Device> {
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) throw new CompileError("B2", "webgpu", "there is no adapter");
    const { info } = adapter;
    const limits = limitsOf(adapter.limits);
    const software = info.isFallbackAdapter;
    const requiredLimits = { ...(profile?.limits ?? limits) };
    const device = await adapter.requestDevice({ requiredLimits }).catch((error: Error) => {
      throw new CompileError("B2", "webgpu", `the adapter gives no device: ${oneLine(error.message)}`);
    });
    const description = [info.vendor, info.architecture, info.device, info.description]
      .filter(Boolean)
      .join(", ");
    return new Device(device, profile ?? profileOf({ limits, software }), description, software);
  }

  /** A buffer of at least `bytes`, named for errors. Throws B3 when the device has no room for it. */
  async buffer(label: string, bytes: number, flags: number): Promise<GPUBuffer> {
    const most = this.profile.limits.maxBufferSize;
    if (bytes > most) {
      throw new CompileError("B3", label, `needs a buffer of ${bytes} bytes; the device has at most ${most}`);
    }
    this.gpu.pushErrorScope("out-of-memory");
    this.gpu.pushErrorScope("validation");
    const buffer = this.gpu.createBuffer({
      label,
      size: Math.max(16, Math.ceil(bytes / 16) * 16),
      usage: flags,
    });
    const errors = [await this.gpu.popErrorScope(), await this.gpu.popErrorScope()].filter(
      (error) => error !== null,
    );
    if (errors[0]) {
      throw new CompileError(
        "B3",
        label,
        `${bytes} bytes could not be had on the device: ${oneLine(errors[0].message)}`,
      );
    }
    return buffer;
  }

  /** The pipeline of `wgsl`, whose storage buffers are accessed as `access` says; one for equal texts. */
  pipeline(label: string, wgsl: string, access: readonly ("read" | "read_write")[]): Promise<Pipeline> {
    const known = this.#pipelines.get(wgsl) ?? this.#build(label, wgsl, this.#layout(access));
    this.#pipelines.set(wgsl, known);
    return known;
  }

  #layout(access: readonly ("read" | "read_write")[]): GPUBindGroupLayout {
    const key = access.join();
    const known =
      this.#layouts.get(key) ??
      this.gpu.createBindGroupLayout({
        entries: access.map((kind, binding) => ({
          binding,
          visibility: computeStage,
          buffer: { type: kind === "read" ? ("read-only-storage" as const) : ("storage" as const) },
        })),
      });
    this.#layouts.set(key, known);
    return known;
  }

  async #build(label: string, wgsl: string, layout: GPUBindGroupLayout): Promise<Pipeline> {
    this.gpu.pushErrorScope("validation");
    const module = this.gpu.createShaderModule({ label, code: wgsl });
    void this.gpu.popErrorScope();
    const { messages } = await module.getCompilationInfo();
    const problem = messages.find((message) => message.type === "error");
    if (problem) throw new CompileError("B4", label, `line ${problem.lineNum}: ${oneLine(problem.message)}`);
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
    try {
      await buffer.mapAsync(mapModeRead, 0, bytes);
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
    const copy = buffer.getMappedRange(0, bytes).slice(0);
    buffer.unmap();
    return copy;
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
