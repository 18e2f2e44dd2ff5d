/** Launches timed alone, on made-up numbers, by the device's own clock. Weights may lie in caches that in a run they leave. */
import { CompileError, Tensor } from "../../../ir/index.ts";
import { type Device, type Pipeline, usage } from "../../../runtime/device.ts";
import type { ModuleImage } from "../../../runtime/module.ts";
import { timePasses } from "../../../runtime/timing.ts";
import { median } from "../../statistics.ts";
import { checkLimits } from "../emit.ts";
import type { Binding, Launch, Resource } from "../kernel.ts";
import { resourceBytes } from "../places.ts";
import type { Profile } from "../profile.ts";
import { imageBytes } from "../strips.ts";
import { WorkingState } from "./workingState.ts";

/** The least that is timed at once: the clock's steps, and whatever comes between, are then small beside it. */
const sampleMs = 5;
const mostRepeats = 256;

/** The same of samples that tell what is hopeless. */
const shortMs = 1;

/** Samples of which the median counts; fewer where one takes long. */
const samples = 7;
const longMs = 100;

/** What is this many times slower than another in both of two first samples is timed no further. */
const hopeless = 1.2;

/** Bytes of results that are compared. */
const comparedBytes = 2 ** 18;

/** How far a result may be from another tile's, as a share of the largest: sums in another order, of rounded factors. */
const tolerance = 1e-2;

/** A work that is ready to be recorded. */
interface Prepared {
  readonly label: string;
  readonly record: (pass: GPUComputePassEncoder) => void;
  readonly result: GPUBuffer;
  /** Bytes of the result, of each of its parts where another launch would add them up. */
  readonly bytes: number;
  readonly parts: number;
}

/** How long works took, Infinity where it was hopeless, and what they computed. */
export interface Timed {
  readonly ms: number;
  /** The beginnings of the results. */
  readonly results: readonly Float32Array[];
}

const add = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** The launches of one product: one, or two. */
export type Work = readonly Launch[];

/** What times products, on a device in its working state. */
export interface Bench {
  /** Builds kernels, together where the driver does so. Failures are told when they are timed. */
  build(launches: readonly Launch[]): Promise<void>;
  /**
   * Milliseconds of `works`, each counted `times[i]` times; what takes much longer than `best` is hopeless.
   * Throws B3 and B4 for launches that the device does not take, or whose results are not `expected`.
   */
  time(
    works: readonly Work[],
    times: readonly number[],
    known?: { readonly best: number; readonly expected: Timed["results"] },
  ): Promise<Timed>;
  /** Milliseconds of two lists of works that take turns, so that what else the device does falls on both. */
  compare(
    lists: readonly [readonly Work[], readonly Work[]],
    times: readonly number[],
  ): Promise<readonly [number, number]>;
}

/** Times launches on a device, each in buffers of made-up numbers. */
export class DeviceBench implements Bench {
  readonly #device: Device;
  readonly #profile: Profile;
  readonly #state: WorkingState;
  readonly #buffers = new Map<string, GPUBuffer>();
  readonly #images = new Map<string, GPUTexture>();
  readonly #noise = Float32Array.from({ length: 2 ** 18 }, (_, i) => ((i * 7919) % 4001) / 2000 - 1);
  /** The same as float16, which are integers of any bits, too. */
  readonly #halves = Tensor.from({ dtype: "f16", shape: [2 ** 18] }, this.#noise).data;

  constructor(device: Device, profile: Profile, state: WorkingState = stateOf(device)) {
    this.#device = device;
    this.#profile = profile;
    this.#state = state;
  }

  async build(launches: readonly Launch[]): Promise<void> {
    await Promise.allSettled(launches.map((launch) => this.#pipeline(launch)));
  }

  async time(
    works: readonly Work[],
    times: readonly number[],
    known?: Parameters<Bench["time"]>[2],
  ): Promise<Timed> {
    const { best = Infinity, expected } = known ?? {};
    const results: Float32Array[] = [];
    const each: number[] = [];
    for (const [i, work] of works.entries()) {
      const prepared = await this.#prepare(work);
      // Drivers finish a kernel when it is first launched.
      results.push(await this.#resultOf(prepared, expected?.[i]));
      const once = await this.#fewest(prepared);
      const factor = times[i] ?? 1;
      if (add(each) + once * factor > hopeless * best) return { ms: Infinity, results };
      each.push(factor * (await this.#median(prepared, once)));
    }
    return { ms: add(each), results };
  }

  async compare(
    lists: readonly [readonly Work[], readonly Work[]],
    times: readonly number[],
  ): Promise<readonly [number, number]> {
    const sums: [number, number] = [0, 0];
    for (const [i, factor] of times.entries()) {
      const pair: Prepared[] = [];
      for (const [turn, works] of lists.entries()) pair.push(await this.#prepare(works[i] as Work, turn));
      const once = await this.#fewest(pair[1] as Prepared);
      const rounds = once > longMs ? 3 : samples;
      const taken = await this.#sample(pair, repeatsFor(once), 2 * rounds);
      for (const which of [0, 1] as const)
        sums[which] += factor * median(taken.filter((_, sample) => sample % 2 === which));
    }
    return sums;
  }

  close(): void {
    for (const each of [...this.#buffers.values(), ...this.#images.values()]) each.destroy();
  }

  /** Milliseconds by the faster of two short samples. */
  async #fewest(prepared: Prepared): Promise<number> {
    const [first = 0] = await this.#sample([prepared], 1, 1);
    // A pass of a single short launch takes longer than the launch.
    const repeats = repeatsFor(first, shortMs);
    return Math.min(first, ...(await this.#sample([prepared], repeats, repeats > 1 ? 2 : 1)));
  }

  async #median(prepared: Prepared, once: number): Promise<number> {
    return median(await this.#sample([prepared], repeatsFor(once), once > longMs ? 3 : samples));
  }

  /** Milliseconds of `count` samples of the works in turn, each of `repeats`; the works themselves are the load before. */
  async #sample(works: readonly Prepared[], repeats: number, count: number): Promise<number[]> {
    let growing = 1;
    const load = async (): Promise<void> => {
      const [ms = 0] = await this.#take(works, growing, 1);
      // The host's share of a run is time in which the device is idle.
      if (ms * growing < sampleMs) growing = Math.min(mostRepeats, 2 * growing);
    };
    return this.#state.in(load, () => this.#take(works, repeats, count));
  }

  async #take(works: readonly Prepared[], repeats: number, count: number): Promise<number[]> {
    const label = works[0]?.label ?? "";
    const taken = await timePasses(this.#device, label, count, (pass, i) => {
      for (let repeat = 0; repeat < repeats; repeat++) works[i % works.length]?.record(pass);
    });
    return taken.map((ms) => ms / repeats);
  }

  #pipeline({ label, wgsl, bindings }: Launch): Promise<Pipeline> {
    const access = bindings.map(({ access: own, image }) => image?.format ?? own);
    return this.#device.pipeline({ label, wgsl, access });
  }

  /** Binds buffers to the launches of a work; of works that take turns each has what it writes, and lists, of its own. */
  async #prepare(work: Work, turn = 0): Promise<Prepared> {
    const made = new Map<Resource, GPUBuffer>();
    const steps: ((pass: GPUComputePassEncoder) => void)[] = [];
    let [result, written]: [GPUBuffer | undefined, number] = [undefined, 0];
    for (const [index, launch] of work.entries()) {
      checkLimits(launch, this.#profile);
      const { label, bindings, workgroups } = launch;
      const { pipeline, layout } = await this.#pipeline(launch);
      const entries: GPUBindGroupEntry[] = [];
      for (const [place, binding] of bindings.entries()) {
        if (binding.image) {
          const texture = await this.#imageFor(binding.name, binding.image);
          entries.push({ binding: place, resource: texture.createView() });
          continue;
        }
        const bytes = resourceBytes(binding.resource);
        const isNarrow = binding.name === "right" && (launch.product?.bits ?? 32) < 32;
        const buffer =
          made.get(binding.resource) ?? (await this.#bufferFor(binding, `${turn}.${index}`, bytes, isNarrow));
        const integers = launch.product?.samples[binding.name]?.();
        if (integers) this.#device.gpu.queue.writeBuffer(buffer, 0, integers);
        entries.push({ binding: place, resource: { buffer, offset: 0, size: Math.ceil(bytes / 16) * 16 } });
        if (binding.access === "read") continue;
        made.set(binding.resource, buffer);
        [result, written] = [buffer, bytes];
      }
      const group = this.#device.gpu.createBindGroup({ label, layout, entries });
      steps.push((pass) => {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(...workgroups);
      });
    }
    const { label = "", product } = work.at(-1) ?? {};
    if (!result) throw new CompileError("B4", label, "writes nothing");
    const parts = product?.tile.parts ?? 1;
    const record = (pass: GPUComputePassEncoder): void => steps.forEach((step) => step(pass));
    return { label, record, result, bytes: written / parts, parts };
  }

  /**
   * A buffer of floats between -1 and 1, as float16 for narrow factors, of zeros for integers that are none; factors serve
   * whoever binds some by that name.
   */
  async #bufferFor(
    { access, element, name }: Binding,
    owner: string,
    bytes: number,
    isNarrow: boolean,
  ): Promise<GPUBuffer> {
    const isFloat = element === "f32" || element === "vec4f";
    const isFactor = isNarrow || (isFloat && access === "read");
    const key = isFactor ? `${name}${isNarrow ? ", narrow" : ""}` : `${name} of ${owner}`;
    const known = this.#buffers.get(key);
    if (known && known.size >= bytes) return known;
    known?.destroy();
    this.#buffers.delete(key);
    const flags = usage.storage | usage.copySource | usage.copyTarget;
    const buffer = await this.#device.buffer(name, bytes, flags);
    this.#buffers.set(key, buffer);
    if (!isFloat && !isNarrow) return buffer;
    const noise = isNarrow ? this.#halves : this.#noise;
    for (let at = 0; at < buffer.size; at += noise.byteLength) {
      const length = Math.min(noise.length, (buffer.size - at) / noise.BYTES_PER_ELEMENT);
      this.#device.gpu.queue.writeBuffer(buffer, at, noise, 0, length);
    }
    return buffer;
  }

  /** An image of numbers between -1 and 1, the same for all launches that bind one of its size. */
  async #imageFor(name: string, image: ModuleImage): Promise<GPUTexture> {
    const key = JSON.stringify(image);
    const known = this.#images.get(key);
    if (known) return known;
    const texture = await this.#device.image(name, imageBytes(image), image);
    this.#images.set(key, texture);
    const { width, height, format } = image;
    const [bytesPerRow, noise] = [
      imageBytes(image) / height,
      format === "rgba32float" ? this.#noise : this.#halves,
    ];
    const rows = Math.floor(noise.byteLength / bytesPerRow);
    for (let y = 0; y < height; y += rows) {
      const size = [width, Math.min(rows, height - y)];
      this.#device.gpu.queue.writeTexture({ texture, origin: [0, y] }, noise, { bytesPerRow }, size);
    }
    return texture;
  }

  /** The beginning of a work's result, its parts added up. Throws B4 where it is not as expected. */
  async #resultOf(
    { label, record, result, bytes, parts }: Prepared,
    expected?: Float32Array,
  ): Promise<Float32Array> {
    const { gpu } = this.#device;
    const compared = Math.min(comparedBytes, bytes);
    const staging = await this.#device.buffer("compared", parts * compared, usage.mapRead | usage.copyTarget);
    try {
      gpu.pushErrorScope("validation");
      const encoder = gpu.createCommandEncoder();
      encoder.clearBuffer(result);
      const pass = encoder.beginComputePass();
      record(pass);
      pass.end();
      for (let part = 0; part < parts; part++)
        encoder.copyBufferToBuffer(result, part * bytes, staging, part * compared, compared);
      this.#device.submit(encoder.finish());
      const error = await gpu.popErrorScope();
      if (error) throw new CompileError("B4", label, error.message.split("\n")[0] ?? "");
      const read = new Float32Array(await this.#device.read(staging, parts * compared, label));
      const each = compared / 4;
      const got = read.slice(0, each).map((first, i) => {
        let sum = first;
        for (let part = 1; part < parts; part++) sum += read[part * each + i] as number;
        return sum;
      });
      const largest = expected?.reduce((most, v) => Math.max(most, Math.abs(v)), 0) ?? 0;
      if (expected?.some((v, i) => !(Math.abs(v - (got[i] ?? Number.NaN)) <= tolerance * largest)))
        throw new CompileError("B4", label, "computes something else by this tile on this driver");
      return got;
    } finally {
      staging.destroy();
    }
  }
}

const repeatsFor = (once: number, ms = sampleMs): number =>
  Math.min(mostRepeats, Math.max(1, Math.ceil(ms / Math.max(once, 1e-3))));

const stateOf = ({ software }: Device): WorkingState => new WorkingState(software ? 0 : undefined);
