/** From a graph to what a device is told: kernels, launches, and where everything lies. Needs no device. */
import type { Graph, Value } from "../../ir/index.ts";
import type { Access, DeviceModule, ModuleKernel, ModuleLaunch, Place, Port } from "../../runtime/module.ts";
import { type Emitted, emitAll } from "./emit.ts";
import type { Launch } from "./kernel.ts";
import { needed } from "./needs.ts";
import { placeAll } from "./places.ts";
import type { Profile } from "./profile.ts";
import { layWeights } from "./weightLayout.ts";
import { packWeights } from "./weights.ts";

/**
 * The module of a graph, every op of which is supported, for devices of `profile`. Throws B3 for what is beyond the
 * profile's limits.
 */
export function lower(given: Graph, profile: Profile): DeviceModule {
  const laid = layWeights(given, profile);
  const { graph } = laid;
  const weights = packWeights(graph.weights, profile.limits, laid);
  const launches = emitAll(graph, profile, weights);
  const places = placeAll(graph, launches, profile.limits, weights);
  const buffers = [...weights.buffers, ...places.arenas.map((bytes, i) => ({ label: `arena ${i}`, bytes }))];
  const kernels = new KernelTable();
  const placed = ({ scope, launch }: Emitted): ModuleLaunch => {
    const bindings = launch.bindings.map(({ resource }) => places.of(resource));
    const { label, workgroups, flops } = launch;
    const kernel = kernels.add(launch, bindings);
    return { label, scope, kernel, workgroups, ...(flops !== undefined && { flops }), bindings };
  };
  const [once, always] = [launches.once.map(placed), launches.always.map(placed)];
  const port = (name: string, value: Value): Port => ({ name, ...value.type, place: places.of(value) });
  return {
    name: graph.name,
    ...needed(profile, kernels.list, buffers, [...once, ...always]),
    kernels: kernels.list,
    buffers,
    weightBuffers: weights.buffers.length,
    inputs: graph.inputs.map((value) => port(value.leaf?.name ?? "", value)),
    outputs: [...graph.outputs].map(([name, value]) => port(name, value)),
    weights: weights.parts,
    once,
    launches: always,
    memory: {
      weights: weights.buffers.reduce((sum, { bytes }) => sum + bytes, 0),
      planned: places.arenas.reduce((sum, bytes) => sum + bytes, 0),
      least: places.least,
    },
  };
}

/** The kernels of a module: equal texts are one. */
class KernelTable {
  readonly list: ModuleKernel[] = [];
  readonly #indices = new Map<string, number>();

  /** The index of a launch's kernel, with its bindings at the given places. */
  add({ label, wgsl, bindings }: Launch, places: readonly Place[]): number {
    // A launch binds a buffer in one way alone: as writable, where it writes another part of it.
    const written = new Set(
      places.filter((_, i) => bindings[i]?.access === "read_write").map(({ buffer }) => buffer),
    );
    const access = places.map(
      ({ buffer }, i): Access => bindings[i]?.image?.format ?? (written.has(buffer) ? "read_write" : "read"),
    );
    const text = withAccess(wgsl, access);
    const known = this.#indices.get(text);
    if (known !== undefined) return known;
    this.#indices.set(text, this.list.length);
    return this.list.push({ label, wgsl: text, access }) - 1;
  }
}

/** `wgsl` with its bindings 0, 1, ... declared for the given access. */
export const withAccess = (wgsl: string, access: readonly Access[]): string =>
  wgsl.replace(
    /@binding\((\d+)\) var<storage, \w+>/g,
    (_, binding: string) => `@binding(${binding}) var<storage, ${access[Number(binding)]}>`,
  );
