/** A lowered program on a device: its buffers filled, its launches recorded, ready to run. */
import {
  CompileError,
  type Graph,
  type Node,
  sameType,
  showType,
  type Tensor,
  type Value,
  type WeightSource,
} from "../../ir/index.ts";
import type { CompileOptions, Executable, Report } from "../backend.ts";
import { type Device, type Pipeline, usage } from "./device.ts";
import type { Binding, Kernel, Launch, Resource, Scratch, Shard } from "./kernel.ts";
import { kernels } from "./kernels/index.ts";
import { Memory, type Place } from "./memory.ts";
import { deviceBytes, fromDevice, shardsOf, upload, uploadShard } from "./transfer.ts";

/** A launch with its pipeline and its buffers. */
interface Step {
  readonly scope: string;
  readonly workgroups: Launch["workgroups"];
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
}

/** A launch whose pipeline is still being built. */
interface Recorded {
  readonly scope: string;
  readonly launch: Launch;
  readonly places: readonly Place[];
}

/** Compiles `graph`, every op of which has a kernel or is a view. */
export async function prepare(
  device: Device,
  graph: Graph,
  weights: WeightSource,
  { progress }: CompileOptions,
): Promise<Executable> {
  const builder = new Builder(device, graph, weights);
  try {
    await builder.placeLeaves((done) => progress?.(0.8 * done, "uploading weights"));
    const { once, always } = await builder.record();
    progress?.(0.8, "building kernels");
    await runOnce(device, await stepsOf(device, once));
    const steps = await stepsOf(device, always);
    device.check(graph.name);
    progress?.(1, "ready");
    return new Program(device, graph, builder, steps);
  } catch (error) {
    builder.memory.dispose();
    throw error;
  }
}

/** Places every value of a program and records its launches, in order. */
class Builder {
  readonly memory: Memory;
  readonly #device: Device;
  readonly #graph: Graph;
  readonly #weights: WeightSource;
  readonly #places = new Map<Value, Place>();
  readonly #shards = new Map<Value, readonly (Shard & { readonly place: Place })[]>();
  /** Values that depend on no input: computed once. */
  readonly #fixed = new Set<Value>();
  weightBytes = 0;

  constructor(device: Device, graph: Graph, weights: WeightSource) {
    this.#device = device;
    this.#graph = graph;
    this.#weights = weights;
    this.memory = new Memory(device);
  }

  /** The place of a value; of a view, that of what it views. */
  place(value: Value): Place {
    const place = this.#places.get(this.#origin(value));
    if (place) return { ...place, bytes: deviceBytes(value.type) };
    const name = value.leaf?.name ?? value.node?.op.name ?? "value";
    throw new CompileError(
      "B3",
      name,
      `must fit one binding of ${this.#limit} bytes here; it is ${showType(value.type)}`,
    );
  }

  get #limit(): number {
    return this.#device.profile.limits.maxStorageBufferBindingSize;
  }

  #origin(value: Value): Value {
    let origin = value;
    while (origin.node?.op.has("view")) origin = origin.node.operands[0] as Value;
    return origin;
  }

  async placeLeaves(onProgress: (done: number) => void): Promise<void> {
    for (const value of this.#graph.inputs) {
      this.#places.set(value, await this.memory.take(`input ${value.leaf?.name}`, deviceBytes(value.type)));
    }
    const all = this.#graph.weights;
    for (const [i, value] of all.entries()) {
      onProgress(i / all.length);
      const parts: (Shard & { readonly place: Place })[] = [];
      for (const shard of shardsOf(value, this.#limit)) {
        parts.push({ ...shard, place: await uploadShard(this.#device, this.memory, this.#weights, shard) });
      }
      const [first] = parts;
      if (first && parts.length === 1) this.#places.set(value, first.place);
      this.#shards.set(value, parts);
      this.#fixed.add(value);
    }
    this.weightBytes = this.memory.bytes;
  }

  /** The launches that are made once, and those of every run. */
  async record(): Promise<{ readonly once: Recorded[]; readonly always: Recorded[] }> {
    const once: Recorded[] = [];
    const always: Recorded[] = [];
    const uses = new Map<Value, number>();
    for (const [value, count] of this.#graph.uses()) {
      const origin = this.#origin(value);
      uses.set(origin, (uses.get(origin) ?? 0) + count);
    }
    // What is computed once comes first: its buffers must not be ones that every run writes again.
    for (const node of this.#graph.nodes) {
      if (!node.operands.every((operand) => this.#fixed.has(operand))) continue;
      for (const result of node.results) this.#fixed.add(result);
      once.push(...(await this.#recordNode(node)));
    }
    for (const node of this.#graph.nodes) {
      if (node.results.every((result) => this.#fixed.has(result))) continue;
      always.push(...(await this.#recordNode(node)));
      for (const value of this.#release(node, uses)) this.memory.give(this.place(value));
    }
    return { once, always };
  }

  /** Counts down the uses of a node's operands and unused results; returns those that nothing needs any more. */
  #release(node: Node, uses: Map<Value, number>): Value[] {
    const dead: Value[] = node.op.has("view") ? [] : node.results.filter((result) => !uses.has(result));
    for (const operand of node.operands) {
      const origin = this.#origin(operand);
      // A view's own uses were counted for its origin; the view itself uses nothing up.
      const left = (uses.get(origin) ?? 0) - 1;
      uses.set(origin, left);
      const transient = origin.node && !this.#fixed.has(origin);
      if (left === 0 && transient) dead.push(origin);
    }
    return dead;
  }

  async #recordNode(node: Node): Promise<Recorded[]> {
    if (node.op.has("view")) return [];
    const kernel = kernels.get(node.op) as Kernel;
    for (const result of node.results) {
      this.#places.set(result, await this.memory.take(node.op.name, deviceBytes(result.type)));
    }
    const scratches = new Map<Scratch, Promise<Place>>();
    const launches = kernel.emit({
      operands: named(node.op.operands, node.operands),
      results: named(node.op.results, node.results),
      sizes: node.sizes,
      profile: this.#device.profile,
      scratch: (element, length) => {
        const scratch: Scratch = { element, length };
        const bytes = (element.startsWith("vec4") ? 16 : 4) * length;
        scratches.set(scratch, this.memory.take(`scratch of ${node.op.name}`, bytes));
        return scratch;
      },
      shards: (weight) =>
        this.#shards.get(this.#origin(weight)) ?? [
          { weight, index: 0, start: 0, stop: weight.type.shape[0] ?? 1 },
        ],
    });
    const places = new Map<Resource, Place>();
    for (const [scratch, place] of scratches) places.set(scratch, await place);
    const recorded = launches.map((launch) => ({
      scope: node.scope,
      launch,
      places: launch.bindings.map((binding) => this.#placeOf(binding, places)),
    }));
    for (const place of places.values()) this.memory.give(place);
    return recorded;
  }

  #placeOf({ resource }: Binding, scratches: ReadonlyMap<Resource, Place>): Place {
    const scratch = scratches.get(resource);
    if (scratch) return scratch;
    if ("weight" in resource) {
      const { weight, index } = resource;
      return this.#shards.get(this.#origin(weight))?.[index]?.place ?? this.place(weight);
    }
    return this.place(resource as Value);
  }
}

const named = (
  slots: readonly { readonly name: string }[],
  values: readonly Value[],
): Record<string, Value> => Object.fromEntries(slots.map((slot, i) => [slot.name, values[i] as Value]));

/** The launches with their pipelines, all built at once. */
async function stepsOf(device: Device, recorded: readonly Recorded[]): Promise<Step[]> {
  const most = device.profile.limits.maxComputeWorkgroupsPerDimension;
  for (const { launch } of recorded) {
    if (launch.workgroups.every((count) => count <= most)) continue;
    const message = `needs a grid of ${launch.workgroups.join(" x ")} workgroups; the device has at most ${most} a side`;
    throw new CompileError("B3", launch.label, message);
  }
  const pipelines: Promise<Pipeline>[] = recorded.map(({ launch }) =>
    device.pipeline(
      launch.label,
      launch.wgsl,
      launch.bindings.map((binding) => binding.access),
    ),
  );
  // Awaited one by one below, but a failure of any must not go unhandled meanwhile.
  await Promise.all(pipelines);
  const steps: Step[] = [];
  for (const [i, { launch, places, scope }] of recorded.entries()) {
    const { pipeline, layout } = (await pipelines[i]) as Pipeline;
    const group = device.gpu.createBindGroup({
      label: launch.label,
      layout,
      entries: places.map(({ buffer, bytes }, binding) => ({
        binding,
        resource: { buffer, size: Math.max(4, bytes) },
      })),
    });
    steps.push({ scope, workgroups: launch.workgroups, pipeline, group });
  }
  return steps;
}

function encode(encoder: GPUCommandEncoder, steps: readonly Step[]): void {
  const pass = encoder.beginComputePass();
  let current: GPUComputePipeline | undefined;
  for (const { pipeline, group, workgroups } of steps) {
    if (pipeline !== current) pass.setPipeline(pipeline);
    current = pipeline;
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(...workgroups);
  }
  pass.end();
}

async function runOnce(device: Device, steps: readonly Step[]): Promise<void> {
  const encoder = device.gpu.createCommandEncoder();
  encode(encoder, steps);
  device.submit(encoder.finish());
  await device.gpu.queue.onSubmittedWorkDone();
}

class Program implements Executable {
  readonly #device: Device;
  readonly #graph: Graph;
  readonly #builder: Builder;
  readonly #steps: readonly Step[];
  #staging: GPUBuffer | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #counts = { submits: 0, readbacks: 0 };

  constructor(device: Device, graph: Graph, builder: Builder, steps: readonly Step[]) {
    this.#device = device;
    this.#graph = graph;
    this.#builder = builder;
    this.#steps = steps;
  }

  get report(): Report {
    const launchesByScope = new Map<string, number>();
    for (const { scope } of this.#steps) launchesByScope.set(scope, (launchesByScope.get(scope) ?? 0) + 1);
    const { memory, weightBytes } = this.#builder;
    return {
      launches: this.#steps.length,
      launchesByScope,
      weightBytes,
      activationBytes: memory.bytes - weightBytes,
      ...this.#counts,
    };
  }

  /** Runs are made one after the other: they share buffers. */
  run(inputs: ReadonlyMap<string, Tensor>): Promise<Map<string, Tensor>> {
    const next = this.#last.then(() => this.#run(inputs));
    this.#last = next.catch(() => undefined);
    return next;
  }

  async #run(inputs: ReadonlyMap<string, Tensor>): Promise<Map<string, Tensor>> {
    const device = this.#device;
    device.check(this.#graph.name);
    const before = { ...device.counts };
    for (const value of this.#graph.inputs) this.#writeInput(value, inputs);
    const encoder = device.gpu.createCommandEncoder();
    encode(encoder, this.#steps);
    const outputs = [...this.#graph.outputs].map(([name, value]) => ({
      name,
      value,
      bytes: deviceBytes(value.type),
    }));
    const total = outputs.reduce((sum, { bytes }) => sum + bytes, 0);
    const staging = (this.#staging ??= await device.buffer(
      "outputs",
      total,
      usage.mapRead | usage.copyTarget,
    ));
    let offset = 0;
    for (const { value, bytes } of outputs) {
      encoder.copyBufferToBuffer(this.#builder.place(value).buffer, 0, staging, offset, bytes);
      offset += bytes;
    }
    device.submit(encoder.finish());
    const readsBefore = device.counts.reads;
    const bytes = await device.read(staging, total, this.#graph.name);
    this.#counts = { submits: device.counts.submits - before.submits, readbacks: readsBefore - before.reads };
    let at = 0;
    return new Map(
      outputs.map(({ name, value, bytes: length }) => {
        const tensor = fromDevice(value.type, bytes.slice(at, at + length));
        at += length;
        return [name, tensor];
      }),
    );
  }

  #writeInput({ leaf, type }: Value, inputs: ReadonlyMap<string, Tensor>): void {
    const name = leaf?.name ?? "";
    const tensor = inputs.get(name);
    if (!tensor || !sameType(tensor.type, type)) {
      const got = tensor ? showType(tensor.type) : "nothing";
      throw new CompileError("B1", `input ${name}`, `must be ${showType(type)}; got ${got}`);
    }
    const value = this.#graph.inputs.find((input) => input.leaf?.name === name) as Value;
    upload(this.#device, this.#builder.place(value), tensor);
  }

  dispose(): void {
    this.#staging?.destroy();
    this.#builder.memory.dispose();
  }
}
