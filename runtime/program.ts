/** A compiled program on a device: its buffers filled, its launches ready to be encoded, its runs. */
import { CompileError } from "../ir/error.ts";
import type { DType } from "../ir/type.ts";
import { type Device, mapModeWrite, usage } from "./device.ts";
import type { DeviceModule, ModuleBuffer, ModuleImage, ModuleLaunch, Place, Port } from "./module.ts";
import { timePasses } from "./timing.ts";

/** Elements as they are on the device; see `Port`. */
export type HostArray = Float32Array | Int32Array | Uint32Array;

/** The array in which a port of `dtype` is given and returned. */
export function hostArray(
  dtype: DType,
): Float32ArrayConstructor | Int32ArrayConstructor | Uint32ArrayConstructor {
  if (dtype === "i32") return Int32Array;
  return dtype === "u32" || dtype === "bool" ? Uint32Array : Float32Array;
}

/** Some of a weight buffer's bytes, from byte `offset` on. */
export interface Part {
  readonly offset: number;
  readonly bytes: ArrayBufferView;
}

/** Where the weights' bytes come from: weight buffer `index`, part after part. What lies between parts is never read. */
export type ReadWeights = (index: number) => AsyncIterable<Part>;

/** Told of progress from 0 to 1. */
export type OnProgress = (done: number, what: string) => void;

/** What the last run did. */
export interface RunCounts {
  readonly submits: number;
  /** Reads from the device before the outputs' own. */
  readonly readbacks: number;
  /** Host time to encode and submit; copying the inputs to the device takes its own. */
  readonly hostMs: number;
}

/** Bytes that may wait in the queue: it keeps a copy until the device has taken them. */
const pendingBytes = 64 * 2 ** 20;

/** Memory of the device. */
type Memory = GPUBuffer | GPUTexture;

/** Some launches of a run, one after the other: from the first of these places up to, without, the second. */
export type Span = readonly [first: number, end: number];

/** A launch with its pipeline and its buffers. */
interface Step {
  readonly workgroups: ModuleLaunch["workgroups"];
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
}

/** Where inputs and outputs lie between the host and the device, one after the other. */
interface Staging {
  readonly inputs: GPUBuffer;
  readonly outputs: GPUBuffer;
}

export class Program {
  readonly module: DeviceModule;
  readonly #device: Device;
  readonly #memory: readonly Memory[];
  readonly #steps: readonly Step[];
  readonly #staging: Staging;
  /** When what is written to the inputs' staging buffer may be written anew. */
  #writable: Promise<unknown>;
  #last: Promise<unknown> = Promise.resolve();
  #counts: RunCounts = { submits: 0, readbacks: 0, hostMs: 0 };

  private constructor(
    device: Device,
    module: DeviceModule,
    memory: readonly Memory[],
    steps: readonly Step[],
    staging: Staging,
  ) {
    this.#device = device;
    this.module = module;
    this.#memory = memory;
    this.#steps = steps;
    this.#staging = staging;
    this.#writable = mapToWrite(staging.inputs);
  }

  /** Loads `module` with the weights that `read` reads, each once. Throws B3 for memory, B4 for kernels. */
  static async load(
    device: Device,
    module: DeviceModule,
    read: ReadWeights,
    progress: OnProgress = () => undefined,
  ): Promise<Program> {
    device.ensure(module.name, module);
    // Built while weights are uploaded; awaited below, but a failure must not go unhandled meanwhile.
    const pipelines = Promise.all(module.kernels.map((kernel) => device.pipeline(kernel)));
    pipelines.catch(() => undefined);
    const memory: Memory[] = [];
    try {
      for (const [index, described] of module.buffers.entries()) {
        const { write, own } = await allocate(device, described);
        memory.push(own);
        if (index >= module.weightBuffers) continue;
        progress((0.8 * index) / module.weightBuffers, "uploading weights");
        await upload(device, write, read(index));
      }
      const staged = async (label: string, ports: readonly Port[], flags: number): Promise<GPUBuffer> => {
        const total = ports.reduce((sum, { place }) => sum + place.bytes, 0);
        const own = await device.buffer(label, total, flags);
        memory.push(own);
        return own;
      };
      // Buffers of their own, kept: queues make one for whatever is large, which takes longer than to fill it.
      const staging = {
        inputs: await staged("inputs", module.inputs, usage.mapWrite | usage.copySource),
        outputs: await staged("outputs", module.outputs, usage.mapRead | usage.copyTarget),
      };
      progress(0.8, "building kernels");
      const built = await pipelines;
      const stepsOf = (launches: readonly ModuleLaunch[]): Step[] =>
        launches.map(({ kernel, label, workgroups, bindings }) => {
          const { pipeline, layout } = built[kernel] as (typeof built)[number];
          const entries = bindings.map((place, binding) => ({
            binding,
            resource: bound(memory[place.buffer] as Memory, place),
          }));
          return { workgroups, pipeline, group: device.gpu.createBindGroup({ label, layout, entries }) };
        });
      const encoder = device.gpu.createCommandEncoder();
      encodePass(encoder, stepsOf(module.once));
      device.submit(encoder.finish());
      await device.gpu.queue.onSubmittedWorkDone();
      const steps = stepsOf(module.launches);
      device.check(module.name);
      progress(1, "ready");
      return new Program(device, module, memory, steps, staging);
    } catch (error) {
      for (const each of memory) each.destroy();
      throw error;
    }
  }

  get counts(): RunCounts {
    return this.#counts;
  }

  /**
   * Milliseconds of each launch of a run, in order, or of each of `spans`, which finds what the launches before it leave.
   * Each has a pass of its own, whose beginning and end are counted, too: on GPUs some microseconds. Throws as `run` does,
   * and B3 for a device without timestamps.
   */
  time(
    inputs: ReadonlyMap<string, HostArray>,
    spans: readonly Span[] = this.#steps.map((_, i) => [i, i + 1]),
  ): Promise<number[]> {
    return this.#next(async () => {
      await this.#stage(inputs);
      // What comes between is timed, too: only then is it sure to have ended when the next begins.
      const passes = withWhatIsBetween(spans);
      try {
        const times = await timePasses(
          this.#device,
          this.module.name,
          passes.length,
          (pass, i) => encode(pass, this.#steps.slice(...(passes[i] as Pass).span)),
          (encoder, i) => {
            if (passes[i]?.span[0] === 0) this.#copyInputs(encoder);
          },
        );
        return times.filter((_, i) => passes[i]?.isAsked);
      } finally {
        this.#writable = mapToWrite(this.#staging.inputs);
      }
    });
  }

  /** Runs are made one after the other: they share buffers. */
  #next<T>(act: () => Promise<T>): Promise<T> {
    const next = this.#last.then(act);
    this.#last = next.catch(() => undefined);
    return next;
  }

  /** Copies the inputs to where the device takes them from. */
  async #stage(inputs: ReadonlyMap<string, HostArray>): Promise<void> {
    const { name, inputs: ports } = this.module;
    this.#device.check(name);
    const arrays = ports.map((port) => fitting(port, inputs.get(port.name)));
    await this.#device.mapped(this.#writable, name);
    const staging = this.#staging.inputs;
    const bytes = new Uint8Array(staging.getMappedRange());
    let at = 0;
    for (const { buffer, byteOffset, byteLength } of arrays) {
      bytes.set(new Uint8Array(buffer, byteOffset, byteLength), at);
      at += byteLength;
    }
    staging.unmap();
  }

  /** Records that the device takes the inputs. */
  #copyInputs(encoder: GPUCommandEncoder): void {
    let at = 0;
    for (const { place } of this.module.inputs) {
      encoder.copyBufferToBuffer(this.#staging.inputs, at, this.#buffer(place), place.offset, place.bytes);
      at += place.bytes;
    }
  }

  /**
   * The outputs by name. Throws B1 for inputs that do not fit,
   * B4 and B5 when the device fails.
   */
  run(inputs: ReadonlyMap<string, HostArray>): Promise<Map<string, HostArray>> {
    return this.#next(() => this.#run(inputs));
  }

  async #run(inputs: ReadonlyMap<string, HostArray>): Promise<Map<string, HostArray>> {
    const [device, { name, outputs }] = [this.#device, this.module];
    const before = { ...device.counts };
    await this.#stage(inputs);
    const encoder = device.gpu.createCommandEncoder();
    this.#copyInputs(encoder);
    const started = performance.now();
    encodePass(encoder, this.#steps);
    let total = 0;
    for (const { place } of outputs) {
      encoder.copyBufferToBuffer(
        this.#buffer(place),
        place.offset,
        this.#staging.outputs,
        total,
        place.bytes,
      );
      total += place.bytes;
    }
    device.submit(encoder.finish());
    this.#writable = mapToWrite(this.#staging.inputs);
    const hostMs = performance.now() - started;
    const readbacks = device.counts.reads - before.reads;
    const bytes = await device.read(this.#staging.outputs, total, name);
    this.#counts = { submits: device.counts.submits - before.submits, readbacks, hostMs };
    let at = 0;
    return new Map(
      outputs.map(({ name: output, dtype, place }) => {
        const data = bytes.slice(at, at + place.bytes);
        at += place.bytes;
        return [output, new (hostArray(dtype))(data)];
      }),
    );
  }

  #buffer({ buffer }: Place): GPUBuffer {
    return this.#memory[buffer] as GPUBuffer;
  }

  dispose(): void {
    for (const each of this.#memory) each.destroy();
  }
}

/** The array of an input. Throws B1 for one that does not fit. */
function fitting({ name, dtype, shape, place }: Port, data: HostArray | undefined): HostArray {
  const array = hostArray(dtype);
  if (data instanceof array && data.byteLength === place.bytes) return data;
  const got = data ? `${data.constructor.name}(${data.length})` : "nothing";
  const want = `${array.name}(${place.bytes / 4}), ${dtype}[${shape.join(", ")}]`;
  throw new CompileError("B1", `input ${name}`, `must be ${want}; got ${got}`);
}

/** A pass that is timed, and whether anybody has asked for it. */
interface Pass {
  readonly span: Span;
  readonly isAsked: boolean;
}

/**
 * `spans` with those launches between them that have not been made since the inputs were there: from the first launch on,
 * where a span begins before the last one's end, since other values may lie in the inputs' place by then.
 */
function withWhatIsBetween(spans: readonly Span[]): readonly Pass[] {
  let made = 0;
  return spans.flatMap((span) => {
    const [first, end] = span;
    const from = first < made ? 0 : made;
    made = end;
    const asked = { span, isAsked: true };
    return from < first ? [{ span: [from, first] as const, isAsked: false }, asked] : [asked];
  });
}

/** Asks for a buffer to be written; who waits for it is told of failures. */
function mapToWrite(buffer: GPUBuffer): Promise<unknown> {
  const mapping = buffer.mapAsync(mapModeWrite);
  mapping.catch(() => undefined);
  return mapping;
}

function encodePass(encoder: GPUCommandEncoder, steps: readonly Step[]): void {
  const pass = encoder.beginComputePass();
  encode(pass, steps);
  pass.end();
}

function encode(pass: GPUComputePassEncoder, steps: readonly Step[]): void {
  let current: GPUComputePipeline | undefined;
  for (const { pipeline, group, workgroups } of steps) {
    if (pipeline !== current) pass.setPipeline(pipeline);
    current = pipeline;
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(...workgroups);
  }
}

/** Device memory, and how a part of its bytes is written. */
async function allocate(
  device: Device,
  { label, bytes, image }: ModuleBuffer,
): Promise<{ readonly own: Memory; readonly write: (part: Part) => void }> {
  const { queue } = device.gpu;
  if (image) {
    const own = await device.image(label, bytes, image);
    const texel = bytes / (image.width * image.height);
    return { own, write: (part) => writeTexels(queue, own, { ...image, texel }, part) };
  }
  const own = await device.buffer(label, bytes, usage.storage | usage.copySource | usage.copyTarget);
  return {
    own,
    write: ({ offset, bytes: { buffer, byteOffset, byteLength } }) =>
      queue.writeBuffer(own, offset, buffer, byteOffset, byteLength),
  };
}

/** Writes bytes of an image of texels of `texel` bytes, whole ones: the end of a row, whole rows, and the beginning of one. */
function writeTexels(
  queue: GPUQueue,
  texture: GPUTexture,
  { width, height, texel }: ModuleImage & { readonly texel: number },
  { offset, bytes }: Part,
): void {
  const count = bytes.byteLength / texel;
  for (let done = 0; done < count;) {
    const at = offset / texel + done;
    const [x, y] = [at % width, Math.floor(at / width)];
    const rows = x === 0 ? Math.min(height - y, Math.floor((count - done) / width)) : 0;
    const across = rows > 0 ? width : Math.min(width - x, count - done);
    queue.writeTexture(
      { texture, origin: [x, y] },
      bytes.buffer,
      { offset: bytes.byteOffset + done * texel, bytesPerRow: width * texel },
      [across, Math.max(1, rows)],
    );
    done += across * Math.max(1, rows);
  }
}

/** What a launch binds of device memory: images whole. */
const bound = (memory: Memory, { offset, bytes }: Place): GPUBindingResource =>
  "createView" in memory ? memory.createView() : { buffer: memory, offset, size: bytes };

async function upload(
  { gpu }: Device,
  write: (part: Part) => void,
  parts: AsyncIterable<Part>,
): Promise<void> {
  let pending = 0;
  for await (const part of parts) {
    const { bytes } = part;
    write(part);
    pending += bytes.byteLength;
    if (pending < pendingBytes) continue;
    await gpu.queue.onSubmittedWorkDone();
    pending = 0;
  }
}
