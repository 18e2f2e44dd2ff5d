/** Where every value and every scratch of a program lies: what is needed when, and a plan for it. */
import { CompileError, type Graph, type Value } from "../../ir/index.ts";
import type { Limits, Place } from "../../runtime/module.ts";
import { leastBytes, type Pair, planArenas, type Spot } from "./arenas.ts";
import type { Launches } from "./emit.ts";
import type { Binding, Launch, Resource, Scratch } from "./kernel.ts";
import { deviceBytes, isPacked } from "./transfer.ts";
import { originOf } from "./views.ts";
import { type PackedWeights, type PlacedShard, tooLarge } from "./weights.ts";

/** Where everything lies; buffers are counted from the weights' on. */
export interface Places {
  /** Bytes of each arena. */
  readonly arenas: readonly number[];
  /** The most bytes in arenas that are needed at once. */
  readonly least: number;
  of(resource: Resource): Place;
}

/** What comes and goes, or one in place of the other, with the launches from the first that touches it to the last. */
interface Room {
  readonly index: number;
  readonly bytes: number;
  readonly from: number;
  to: number;
}

/** Throws B3 for what is beyond one binding. */
export function placeAll(
  graph: Graph,
  { once, always }: Launches,
  { maxBufferSize, maxStorageBufferBindingSize: most }: Limits,
  weights: PackedWeights,
): Places {
  const rooms = new Map<Value | Scratch, Room>();
  const tenants: Room[] = [];
  const pairs: Pair[] = [];

  /** The room of what a launch binds at `time`, that of what it replaces; undefined for weights. */
  const touch = (
    { resource, replaces }: Pick<Binding, "resource" | "replaces">,
    time: number,
    label = "",
  ): Room | undefined => {
    const owner = ownerOf(resource);
    if ("type" in owner && weights.shards.has(owner)) return undefined;
    let room = rooms.get(replaces ?? owner);
    if (!room) {
      room = { index: tenants.length, bytes: checkedBytes(owner, label, most), from: time, to: time };
      tenants.push(room);
    }
    rooms.set(owner, room);
    room.to = time;
    return room;
  };

  // A run begins by writing all inputs, and ends by reading all outputs.
  for (const input of graph.inputs) touch({ resource: input }, once.length);
  const emitted = [...once, ...always];
  for (const [time, { launch }] of emitted.entries()) {
    const touched = launch.bindings.map((binding) => touch(binding, time, launch.label));
    pairs.push(...pairsOf(launch, touched));
  }
  for (const output of graph.outputs.values()) touch({ resource: output }, emitted.length);
  // What is made once and used by runs stays for good.
  for (const room of tenants) {
    if (room.from < once.length && room.to >= once.length) room.to = emitted.length;
  }

  const plan = planArenas(tenants, pairs, maxBufferSize);
  const rented = (owner: Value | Scratch, offset: number, bytes: number): Place => {
    const spot = plan.spots[(rooms.get(owner) as Room).index] as Spot;
    return { buffer: weights.buffers.length + spot.arena, offset: spot.offset + offset, bytes };
  };
  const of = (resource: Resource): Place => {
    if ("weight" in resource) {
      return "part" in resource ? (resource as PlacedShard).part.place : of(resource.weight);
    }
    if (!("type" in resource)) return rented(resource, 0, scratchBytes(resource));
    const { value, offset } = originOf(resource);
    const bytes = deviceBytes(resource.type);
    const parts = weights.shards.get(value);
    if (!parts) return rented(value, offset, bytes);
    if (parts.length > 1) throw tooLarge(nameOf(value), value, most);
    const [{ part }] = parts as readonly [PlacedShard];
    if (isPacked(value)) return part.place;
    return { buffer: part.place.buffer, offset: part.place.offset + offset, bytes };
  };
  return { arenas: plan.arenas, least: leastBytes(tenants), of };
}

/** What a launch reads with what it writes, given the rooms of its bindings. */
function pairsOf(launch: Launch, rooms: readonly (Room | undefined)[]): Pair[] {
  const bound = launch.bindings.flatMap((binding, i) => {
    const room = rooms[i];
    return room ? [{ binding, room }] : [];
  });
  return bound
    .filter(({ binding }) => binding.access === "read")
    .flatMap(({ binding, room }) => {
      // Writable bindings may not overlap, even where they only read.
      const twice = bound.filter((other) => other.room === room).length > 1;
      const strict = twice || !mayBindWritable(launch, binding);
      return bound
        .filter((other) => other.binding.access === "read_write")
        .map((other): Pair => ({ tenants: [room.index, other.room.index], strict }));
    });
}

/**
 * Whether a launch may bind what it reads as writable. WGSL then takes the contents for what another thread may have
 * written, so that they must not decide who meets at a barrier; floats never do.
 */
export const mayBindWritable = ({ wgsl }: Launch, { element }: Binding): boolean =>
  element === "f32" || element === "vec4f" || !/Barrier|subgroup/.test(wgsl);

/** Whose memory a resource is. */
function ownerOf(resource: Resource): Value | Scratch {
  if ("weight" in resource) return originOf(resource.weight).value;
  return "type" in resource ? originOf(resource).value : resource;
}

/** Bytes of what a launch binds. */
export function resourceBytes(resource: Resource): number {
  if (!("weight" in resource))
    return "type" in resource ? deviceBytes(resource.type) : scratchBytes(resource);
  const { weight, start, stop } = resource;
  return (deviceBytes(weight.type) / (weight.type.shape[0] ?? 1)) * (stop - start);
}

const scratchBytes = ({ element, length }: Scratch): number => (element.startsWith("vec4") ? 16 : 4) * length;

function checkedBytes(owner: Value | Scratch, label: string, most: number): number {
  const bytes = "type" in owner ? deviceBytes(owner.type) : scratchBytes(owner);
  if (bytes <= most) return bytes;
  if ("type" in owner) throw tooLarge(nameOf(owner), owner, most);
  const message = `must fit one binding of ${most} bytes here; its scratch memory is ${bytes}`;
  throw new CompileError("B3", label, message);
}

const nameOf = ({ leaf, node }: Value): string =>
  leaf ? (leaf.kind === "input" ? `input ${leaf.name}` : leaf.name) : (node?.op.name ?? "value");
