/** Where the tokens went: loads and drops of each sparse block, and the map of patches to experts. */
import type { Tensor } from "../ir/index.ts";
import { tokensOf } from "./grid.ts";
import type { Model, SparseBlock } from "./model.ts";

/** The routing of one sparse block in one run. */
export interface BlockRoutes {
  readonly block: string;
  readonly groups: number;
  readonly experts: number;
  readonly capacity: number;
  /** Slots filled, by expert, over all groups. */
  readonly loads: readonly number[];
  /** Choices that found their expert full. */
  readonly dropped: number;
  /** Choices of all tokens; 0 where tokens do not choose. */
  readonly choices: number;
  /** Dropped choices as a share of all; 0 where tokens do not choose. */
  readonly dropRate: number;
  /** Entropy of the loads as shares of their sum, over its largest, log E: 1 where all are equal, 0 where one has all. */
  readonly loadEntropy: number;
  /** Experts whose outputs a token is made of; a weight of 0 counts for none. */
  readonly expertsPerToken: { readonly mean: number; readonly min: number; readonly max: number };
  /** Tokens that no expert serves. */
  readonly unserved: number;
  /**
   * For each image, and each member of an ensemble, the expert whose output each token weighs most, class token first;
   * -1 where none serves it.
   */
  readonly map: readonly (readonly number[])[];
}

/** The outputs that `routesOf` reads. */
export const routeOutputs = ({ blocks }: Model): string[] =>
  blocks.flatMap(({ name }) => ["tokens", "slots", "weights"].map((part) => `${name}/${part}`));

/**
 * What the outputs of a run say of each sparse block: groups and loads of all that was routed, the rest of the first
 * `images` images, by default of all.
 */
export const routesOf = (
  model: Model,
  outputs: ReadonlyMap<string, Tensor>,
  images: number = Number.POSITIVE_INFINITY,
): BlockRoutes[] => model.blocks.map((block) => routesOfBlock(block, model, outputs, images));

const tokensIn = ({ map }: BlockRoutes): number => map.reduce((total, each) => total + each.length, 0);

/** The routes of several runs of a model as those of one. */
export function joinedRoutes(runs: readonly (readonly BlockRoutes[])[]): BlockRoutes[] {
  const [first = []] = runs;
  return first.map((block, b) => {
    const all = runs.map((routes) => routes[b] ?? block);
    const sum = (of: (routes: BlockRoutes) => number): number =>
      all.reduce((total, each) => total + of(each), 0);
    const [loads, choices, dropped] = [
      block.loads.map((_, e) => sum((routes) => routes.loads[e] ?? 0)),
      sum((routes) => routes.choices),
      sum((routes) => routes.dropped),
    ];
    return {
      ...block,
      groups: sum((routes) => routes.groups),
      loads,
      dropped,
      choices,
      dropRate: dropped / Math.max(choices, 1),
      loadEntropy: entropyOf(loads),
      expertsPerToken: {
        mean: sum((routes) => routes.expertsPerToken.mean * tokensIn(routes)) / Math.max(1, sum(tokensIn)),
        min: Math.min(...all.map((routes) => routes.expertsPerToken.min)),
        max: Math.max(...all.map((routes) => routes.expertsPerToken.max)),
      },
      unserved: sum((routes) => routes.unserved),
      map: all.flatMap((routes) => routes.map),
    };
  });
}

function routesOfBlock(
  { name, groups, experts, capacity, members }: SparseBlock,
  { grid, router }: Model,
  outputs: ReadonlyMap<string, Tensor>,
  images: number,
): BlockRoutes {
  const part = (what: string): Tensor => outputs.get(`${name}/${what}`) as Tensor;
  const [seats, slots, weights] = ["tokens", "slots", "weights"].map((what) =>
    Array.from(part(what).numbers()),
  ) as [number[], number[], number[]];
  const loads = Array.from(
    { length: experts },
    (_, e) => seats.filter((token, i) => token >= 0 && Math.floor(i / capacity) % experts === e).length,
  );
  const k = part("slots").type.shape[2] ?? 1;
  const perImage = tokensOf(grid);
  const own = slots.slice(0, Math.min(slots.length, images * perImage * members * k));
  const served = Array.from({ length: own.length / k }, (_, t) =>
    own
      .slice(t * k, (t + 1) * k)
      .map((slot, j) => ({ expert: Math.floor(slot / capacity), weight: weights[t * k + j] as number }))
      .filter(({ expert }) => expert >= 0)
      .toSorted((a, b) => b.weight - a.weight),
  );
  const heaviest = served.map(([first]) => first?.expert ?? -1);
  const copies = heaviest.length / perImage;
  const map = Array.from({ length: copies }, (_, copy) => {
    const [image, member] = [Math.floor(copy / members), copy % members];
    return Array.from(
      { length: perImage },
      (_token, t) => heaviest[(image * perImage + t) * members + member] ?? -1,
    );
  });
  const choices = (router?.choices ?? 0) > 0 ? own.length : 0;
  const dropped = choices > 0 ? own.filter((slot) => slot < 0).length : 0;
  return {
    block: name,
    groups,
    experts,
    capacity,
    loads,
    dropped,
    choices,
    dropRate: dropped / Math.max(choices, 1),
    loadEntropy: entropyOf(loads),
    expertsPerToken: spreadOf(
      served.map((all) => new Set(all.filter(({ weight }) => weight > 0).map(({ expert }) => expert)).size),
    ),
    unserved: heaviest.filter((expert) => expert < 0).length,
    map,
  };
}

/** The routes of each block and, of an ensemble, each member, with a map for each of `images` images. */
export const byMember = (routes: readonly BlockRoutes[], images: number): BlockRoutes[] =>
  routes.flatMap((each) => {
    const members = each.map.length / images;
    return Array.from({ length: members }, (_, member) => ({
      ...each,
      block: members > 1 ? `${each.block}, member ${member}` : each.block,
      map: each.map.filter((_tokens, copy) => copy % members === member),
    }));
  });

function entropyOf(loads: readonly number[]): number {
  const total = loads.reduce((a, b) => a + b, 0);
  if (loads.length === 1) return 1;
  const terms = loads.map((load) => (load > 0 ? -(load / total) * Math.log(load / total) : 0));
  return terms.reduce((a, b) => a + b, 0) / Math.log(loads.length);
}

const spreadOf = (counts: readonly number[]): BlockRoutes["expertsPerToken"] => ({
  mean: counts.reduce((a, b) => a + b, 0) / counts.length,
  min: counts.reduce((a, b) => Math.min(a, b)),
  max: counts.reduce((a, b) => Math.max(a, b)),
});
