/** Tuning: the tiles of a program's matrix products by measuring them on a device, within a budget of time. */
import { CompileError, type Graph } from "../../../ir/index.ts";
import { pipeline, runPasses } from "../../../passes/index.ts";
import type { Device } from "../../../runtime/device.ts";
import { type Emitted, emitEach, supports } from "../emit.ts";
import type { LaunchedProduct } from "../kernel.ts";
import {
  type Product,
  productKey,
  productOf,
  type Profile,
  sameProduct,
  type Tile,
  type TunedProduct,
} from "../profile.ts";
import { layWeights } from "../weightLayout.ts";
import { packWeights } from "../weights.ts";
import { Batches } from "./batches.ts";
import { type Bench, DeviceBench, type Timed, type Work } from "./bench.ts";
import { candidates } from "./candidates.ts";

export interface TuneOptions {
  /** Names of the outputs that are wanted; all by default. */
  readonly outputs?: readonly string[];
  /** Milliseconds after which no other tile is measured; a minute by default. */
  readonly budgetMs?: number;
  /** Told of progress from 0 to 1. */
  readonly progress?: (done: number, what: string) => void;
  /** The time, in milliseconds. */
  readonly now?: () => number;
}

/** A tile, and the milliseconds that a run of the program spends in the products by it. */
export interface Measured {
  readonly tile: Tile;
  readonly ms: number;
}

/** What was found of a product, or of the two layers of experts, which share a tile. */
export interface TunedSubject {
  /** For people: the first of its launches. */
  readonly label: string;
  readonly products: readonly Product[];
  /** Launches of a run. */
  readonly launches: number;
  /** Operations of a run, two for each multiplication and addition, at most. */
  readonly flops: number;
  /** By the tile of the profile's rule; undefined where the budget ended before it was measured. */
  readonly rule: Measured | undefined;
  /** By the fastest tile; undefined where that of the rule is as fast. */
  readonly faster: Measured | undefined;
  /** Tiles that were measured, those that the device refused or computed wrongly, and those that there was no time for. */
  readonly measured: number;
  readonly refused: number;
  readonly left: number;
}

export interface Tuning {
  /** The profile with the choices, those of other programs that it had among them. */
  readonly profile: Profile;
  /** The costliest first. */
  readonly subjects: readonly TunedSubject[];
  /** Milliseconds that it took. */
  readonly ms: number;
}

/** A tile must be this much faster than that of the rule; less is noise, and would not be chosen twice. */
const noise = 0.05;

/** Products that share a tile, and what is known of them. */
interface Subject {
  readonly label: string;
  readonly products: readonly Product[];
  /** Of each product, by the tile of the rule. */
  readonly works: readonly Work[];
  /** How often a run computes each product. */
  readonly times: readonly number[];
  readonly flops: number;
  readonly tiles: readonly Tile[];
  before?: Timed;
  /** Of the tiles, the fastest, and its time as a part of that of the rule's under the same conditions. */
  best?: { readonly round: number; readonly ratio: number };
  faster?: Measured;
  next: number;
  measured: number;
  refused: number;
}

/**
 * Measures the products of `graph` on a device, the costliest first, each with tiles that may be faster than the one
 * that the rule of `profile` gives it. Throws B3 for a device without timestamps, B5 when it is lost.
 */
export async function tune(
  graph: Graph,
  device: Device,
  profile: Profile,
  options: TuneOptions = {},
): Promise<Tuning> {
  const bench = new DeviceBench(device, profile);
  try {
    return await tuneBy(bench, graph, profile, options);
  } finally {
    bench.close();
  }
}

/** The same by whatever times launches. */
export async function tuneBy(
  bench: Bench,
  graph: Graph,
  profile: Profile,
  { outputs, budgetMs = 60_000, progress = () => undefined, now = () => performance.now() }: TuneOptions,
): Promise<Tuning> {
  const started = now();
  const elapsed = (): number => now() - started;
  const show = (what: string): void => progress(Math.min(1, elapsed() / budgetMs), what);
  const rounds = new Rounds(graph, profile, outputs ?? [...graph.outputs.keys()]);
  const batches = new Batches(bench, now);
  for await (const batch of batches.of(rounds.subjects, () => budgetMs - elapsed())) {
    for (const subject of batch) {
      if (elapsed() >= budgetMs) break;
      show(subject.label);
      subject.before = await bench.time(subject.works, subject.times);
    }
  }
  const known = rounds.subjects
    .filter(({ before }) => before !== undefined)
    .toSorted((a, b) => msOf(b) - msOf(a));
  for (const [i, subject] of known.entries()) {
    // Each has its share of what is left; what it does not need is for those after it.
    const share = msOf(subject) / known.slice(i).reduce((sum, each) => sum + msOf(each), 0);
    const until = elapsed() + share * Math.max(0, budgetMs - elapsed());
    const left = (): number => {
      show(subject.label);
      return until - elapsed();
    };
    for await (const batch of batches.of(candidatesOf(subject, rounds), left))
      await measure(subject, batch, bench, left);
    await settle(subject, rounds, bench);
  }
  const subjects = rounds.subjects.map(found).toSorted((a, b) => (b.rule?.ms ?? 0) - (a.rule?.ms ?? 0));
  return { profile: withChoices(profile, subjects), subjects, ms: elapsed() };
}

const msOf = ({ before }: Subject): number => before?.ms ?? 0;

/** A subject's products by one of its tiles. */
interface Candidate {
  readonly round: number;
  readonly works: readonly Work[];
}

/** The subject's tiles from the next one on, without those that come to a kernel that was there before. */
function* candidatesOf(subject: Subject, rounds: Rounds): Generator<Candidate> {
  const seen = new Set([textOf(subject.works)]);
  while (subject.next < subject.tiles.length) {
    const round = subject.next++;
    const works = rounds.worksOf(subject, round);
    // Another tile may come to the same kernel, where the product is small or cannot be computed by it.
    if (seen.has(textOf(works))) continue;
    seen.add(textOf(works));
    yield { round, works };
  }
}

/**
 * Measures a batch of the subject's tiles while there is time, between two measurements of the rule's: what they are
 * compared with is what the rule's would have taken at that time, by the line through both.
 */
async function measure(
  subject: Subject,
  batch: readonly Candidate[],
  bench: Bench,
  left: () => number,
): Promise<void> {
  const { works: rule, times, before } = subject;
  const expected = before?.results ?? [];
  if (left() <= 0) {
    // Building took all.
    subject.next = batch[0]?.round ?? subject.next;
    return;
  }
  const first = (await bench.time(rule, times)).ms;
  let best = first * (subject.best?.ratio ?? 1);
  const measured: { readonly round: number; readonly ms: number }[] = [];
  for (const { round, works } of batch) {
    if (left() <= 0) {
      subject.next = round;
      break;
    }
    try {
      const { ms } = await bench.time(works, times, { best, expected });
      subject.measured++;
      measured.push({ round, ms });
      best = Math.min(best, ms);
    } catch (error) {
      if (!(error instanceof CompileError) || error.code === "B5") throw error;
      subject.refused++;
    }
  }
  const last = left() > 0 ? (await bench.time(rule, times)).ms : first;
  for (const [i, { round, ms }] of measured.entries()) {
    const ratio = ms / (first + ((last - first) * (i + 1)) / (measured.length + 1));
    if (ratio < (subject.best?.ratio ?? 1)) subject.best = { round, ratio };
  }
}

/** Holds the subject's fastest tile against that of the rule once more, in turns. */
async function settle(subject: Subject, rounds: Rounds, bench: Bench): Promise<void> {
  const { works, times, before, best } = subject;
  if (!before || !best || best.ratio > 1 - noise) return;
  const fastest = rounds.worksOf(subject, best.round);
  const [was, is] = await bench.compare([works, fastest], times);
  subject.before = { ...before, ms: was };
  if (is <= (1 - noise) * was) subject.faster = { tile: tileOf(fastest), ms: is };
}

const textOf = (works: readonly Work[]): string =>
  works
    .flat()
    .map(({ wgsl }) => wgsl)
    .join("\n");
const tileOf = ([work]: readonly Work[]): Tile => launchedOf(work as Work).tile;
const launchedOf = ([launch]: Work): LaunchedProduct => launch?.product as LaunchedProduct;

function found(subject: Subject): TunedSubject {
  const { label, products, works, times, flops, before, faster, measured, refused, tiles, next } = subject;
  return {
    label,
    products,
    launches: times.reduce((a, b) => a + b, 0),
    flops,
    rule: before && { tile: tileOf(works), ms: before.ms },
    faster,
    measured,
    refused,
    left: tiles.length - next,
  };
}

/** `profile` with what was chosen in place of what it had for the same products. */
export function withChoices({ tuned = [], ...rest }: Profile, subjects: readonly TunedSubject[]): Profile {
  const settled = subjects.filter(({ rule }) => rule !== undefined).flatMap(({ products }) => products);
  const others = tuned.filter((old) => !settled.some((each) => sameProduct(each, old)));
  const chosen = subjects.flatMap(({ products, faster }): TunedProduct[] =>
    faster ? products.map((product) => ({ ...product, tile: faster.tile })) : [],
  );
  const all = [...others, ...chosen];
  return all.length > 0 ? { ...rest, tuned: all } : rest;
}

/** A program's products by one tile after the other. */
class Rounds {
  readonly subjects: readonly Subject[];
  readonly #profile: Profile;
  readonly #emit: (tuned: readonly TunedProduct[]) => Iterable<Work>;
  readonly #known = new Map<number, ReadonlyMap<string, Work>>();

  constructor(graph: Graph, profile: Profile, outputs: readonly string[]) {
    this.#profile = profile;
    const laid = layWeights(runPasses(graph, pipeline({ supports }, outputs)), profile);
    const weights = packWeights(laid.graph.weights, profile.limits, laid);
    this.#emit = (tuned) => worksIn([...emitEach(laid.graph, { ...profile, tuned }, weights)]);
    this.subjects = this.#subjects();
  }

  /** The subject's products by its tile number `round`. */
  worksOf({ products }: Subject, round: number): readonly Work[] {
    const known = this.#known.get(round) ?? firstOf(this.#emit(this.#choices(round)));
    this.#known.set(round, known);
    return products.map((product) => known.get(productKey(product)) as Work);
  }

  /** Every product with its tile number `round`, as far as it has so many. */
  #choices(round: number): readonly TunedProduct[] {
    return this.subjects.flatMap(({ products, tiles }) => {
      const tile = tiles[round];
      return tile ? products.map((product) => ({ ...product, tile })) : [];
    });
  }

  /** The products by the tiles of the rule, those with most operations first. */
  #subjects(): readonly Subject[] {
    const all = new Map<string, Work[]>();
    for (const work of this.#emit([])) {
      const key = subjectOf(launchedOf(work));
      all.set(key, [...(all.get(key) ?? []), work]);
    }
    const subjects = [...all.values()].map((works): Subject => {
      const each = [...firstOf(works).values()];
      const products = each.map((work) => productOf(launchedOf(work)));
      const [first] = products as [Product];
      const had = this.#profile.tuned?.find((old) => sameProduct(old, first))?.tile;
      return {
        label: each[0]?.at(-1)?.label ?? "",
        products,
        works: each,
        times: products.map(
          (product) => works.filter((work) => sameProduct(launchedOf(work), product)).length,
        ),
        flops: works.reduce((sum, [launch]) => sum + (launch?.flops ?? 0), 0),
        tiles: [...(had ? [had] : []), ...candidates(first, this.#profile)],
        next: 0,
        measured: 0,
        refused: 0,
      };
    });
    return subjects.toSorted((a, b) => b.flops - a.flops);
  }
}

/** The products of every run among launches in their order: a launch of its own adds up parts, but for those of experts. */
function* worksIn(emitted: readonly (Emitted & { readonly isFixed: boolean })[]): Generator<Work> {
  for (const [i, { launch, isFixed }] of emitted.entries()) {
    if (!launch.product || isFixed) continue;
    const { experts, tile } = launch.product;
    const isAdded = experts === 0 && (tile.parts ?? 1) > 1;
    yield emitted.slice(i, isAdded ? i + 2 : i + 1).map((each) => each.launch);
  }
}

/** Products with one key share a tile: the layers of experts share the tiles in which rows are listed. */
function subjectOf(product: Product): string {
  const { N, K, experts } = product;
  return productKey(experts > 0 ? { ...product, N: Math.max(N, K), K: Math.min(N, K) } : product);
}

/** The first work of each product. */
function firstOf(works: Iterable<Work>): ReadonlyMap<string, Work> {
  const first = new Map<string, Work>();
  for (const work of works) {
    const key = productKey(launchedOf(work));
    if (!first.has(key)) first.set(key, work);
  }
  return first;
}
