/**
 * Memory planning: where everything that comes and goes lies, so that what is needed at the same time lies apart and
 * the rest shares. Several arenas, each one buffer, since a launch may not bind a buffer both ways.
 */

/** Something that needs memory during launches `from .. to`. */
export interface Tenant {
  readonly bytes: number;
  readonly from: number;
  readonly to: number;
}

/** Tenants that are better in different arenas: one launch reads the one and writes the other. */
export interface Pair {
  readonly tenants: readonly [number, number];
  /** Whether they must be; else the launch may bind both as writable. */
  readonly strict: boolean;
}

/** Where a tenant lies. */
export interface Spot {
  readonly arena: number;
  readonly offset: number;
}

export interface ArenaPlan {
  /** Bytes of each arena. */
  readonly arenas: readonly number[];
  /** The spot of each tenant. */
  readonly spots: readonly Spot[];
}

/** What the offset of every binding is a multiple of: the most that a device may ask for. */
export const alignment = 256;

const aligned = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** The most bytes that tenants need at once: no plan has less. */
export function leastBytes(tenants: readonly Tenant[]): number {
  const changes = tenants
    .flatMap(({ bytes, from, to }) => [
      { at: from, by: bytes },
      { at: to + 1, by: -bytes },
    ])
    .toSorted((a, b) => a.at - b.at || a.by - b.by);
  let [now, most] = [0, 0];
  for (const { by } of changes) {
    now += by;
    most = Math.max(most, now);
  }
  return most;
}

/** A plan of at most so many times the least is as good as any. */
const goodEnough = 1.1;

/**
 * A plan in which tenants that overlap in time do not in memory, the pairs are in different arenas as far as they must
 * be, and no arena is larger than `arenaBytes`. The best of some orders in which tenants are placed, one after the
 * other, each where it fits best; a function of its arguments alone. O(n^2) an order.
 */
export function planArenas(
  tenants: readonly Tenant[],
  pairs: readonly Pair[],
  arenaBytes: number,
): ArenaPlan {
  const enough = goodEnough * leastBytes(tenants);
  const apart = tenants.map(() => ({ must: new Set<number>(), better: new Set<number>() }));
  for (const { tenants: pair, strict } of pairs) {
    for (const [one, other] of [pair, pair.toReversed()] as [number, number][]) {
      apart[one]?.[strict ? "must" : "better"].add(other);
    }
  }
  let best: ArenaPlan | undefined;
  for (const manner of manners()) {
    const banned = apart.map(({ must, better }) => (manner.strict ? [...must, ...better] : [...must]));
    const plan = placeInTurn(tenants, banned, manner, arenaBytes);
    if (!best || sum(plan.arenas) < sum(best.arenas)) best = plan;
    if (sum(best.arenas) <= enough) break;
  }
  return best as ArenaPlan;
}

/** A way to place tenants in turn. */
interface Manner {
  /** Those of higher rank are placed first. */
  readonly rank: (tenant: Tenant) => number;
  /** Whether what would make an arena larger by all of itself rather gets an arena of its own. */
  readonly spread: boolean;
  /** Whether all pairs are separated, not only those that must be. */
  readonly strict: boolean;
}

const duration = ({ from, to }: Tenant): number => to - from + 1;

const mostArenas = 4;
const shuffles = 24;

/** Large ones first; or those of long, or of early lives. */
const ranks: readonly Manner["rank"][] = [
  ({ bytes }) => bytes,
  (tenant) => tenant.bytes * duration(tenant),
  duration,
  ({ from }) => -from,
];

/** The manners that are tried, in order; the last ones shuffle sizes somewhat, those of like tenants alike. */
function* manners(): Generator<Manner> {
  for (const strict of [true, false]) {
    for (const rank of ranks) for (const spread of [false, true]) yield { rank, spread, strict };
  }
  for (let seed = 0; seed < shuffles; seed++) {
    const rank = (tenant: Tenant): number =>
      tenant.bytes * (0.3 + noise(31 * tenant.bytes + duration(tenant), seed));
    yield { rank, spread: seed % 2 === 1, strict: false };
  }
}

/** A number of [0, 1) that looks random. */
function noise(x: number, seed: number): number {
  const hash = Math.imul(x ^ Math.imul(seed + 1, 0x9e3779b9), 0x7feb352d);
  return ((hash ^ (hash >>> 15)) >>> 0) / 2 ** 32;
}

/** An arena while it is filled. */
interface Filling {
  bytes: number;
  readonly held: { readonly tenant: Tenant; readonly offset: number }[];
}

function placeInTurn(
  tenants: readonly Tenant[],
  banned: readonly (readonly number[])[],
  { rank, spread }: Manner,
  arenaBytes: number,
): ArenaPlan {
  const ranked = tenants.map(rank);
  const order = [...tenants.keys()].toSorted((a, b) => (ranked[b] ?? 0) - (ranked[a] ?? 0) || a - b);
  const arenas: Filling[] = [];
  const spots: Spot[] = [];
  for (const index of order) {
    const tenant = tenants[index] as Tenant;
    const taken = new Set((banned[index] ?? []).map((other) => spots[other]?.arena));
    const open = [...arenas.keys()].filter((arena) => !taken.has(arena));
    const spot = bestSpot(tenant, arenas, open, spread, arenaBytes);
    const arena = (arenas[spot.arena] ??= { bytes: 0, held: [] });
    arena.bytes = Math.max(arena.bytes, spot.offset + aligned(tenant.bytes));
    arena.held.push({ tenant, offset: spot.offset });
    spots[index] = spot;
  }
  return { arenas: arenas.map(({ bytes }) => bytes), spots };
}

/** Where in the open arenas a tenant makes memory least larger, then where it leaves the least room beside it. */
function bestSpot(
  tenant: Tenant,
  arenas: readonly Filling[],
  open: readonly number[],
  spread: boolean,
  arenaBytes: number,
): Spot {
  const need = aligned(tenant.bytes);
  const choices = open
    .map((arena) => {
      const { bytes, held } = arenas[arena] as Filling;
      const { offset, room } = tightestGap(tenant, held);
      return { arena, offset, room, growth: Math.max(0, offset + need - bytes) };
    })
    .filter(({ offset }) => offset + need <= arenaBytes)
    .toSorted((a, b) => a.growth - b.growth || a.room - b.room || a.arena - b.arena);
  const [choice] = choices;
  const own = !choice || (spread && choice.growth === need && arenas.length < mostArenas);
  return own ? { arena: arenas.length, offset: 0 } : { arena: choice.arena, offset: choice.offset };
}

/** The tightest gap for a tenant between those that are there at the same time, and the room that it leaves. */
function tightestGap(
  { bytes, from, to }: Tenant,
  held: Filling["held"],
): { readonly offset: number; readonly room: number } {
  const there = held
    .filter(({ tenant }) => tenant.from <= to && from <= tenant.to)
    .toSorted((a, b) => a.offset - b.offset);
  let best = { offset: -1, room: Number.POSITIVE_INFINITY };
  let end = 0;
  for (const { tenant, offset } of there) {
    const room = offset - end - aligned(bytes);
    if (room >= 0 && room < best.room) best = { offset: end, room };
    end = Math.max(end, offset + aligned(tenant.bytes));
  }
  return best.offset < 0 ? { offset: end, room: Number.POSITIVE_INFINITY } : best;
}
