/** Where the tokens went: loads and drops of each sparse block, and the map of patches to experts. */
import type { Tensor } from "../ir/index.ts";
import { type Model, type SparseBlock, tokensOf } from "../models/index.ts";

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

/** What the outputs of a run say of each sparse block. */
export const routesOf = (model: Model, outputs: ReadonlyMap<string, Tensor>): BlockRoutes[] =>
  model.blocks.map((block) => routesOfBlock(block, model, outputs));

function routesOfBlock(
  { name, groups, experts, capacity, members }: SparseBlock,
  { grid, router }: Model,
  outputs: ReadonlyMap<string, Tensor>,
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
  const heaviest = Array.from({ length: slots.length / k }, (_, t) => {
    const [first] = slots
      .slice(t * k, (t + 1) * k)
      .map((slot, j) => ({ slot, weight: weights[t * k + j] as number }))
      .filter(({ slot }) => slot >= 0)
      .toSorted((a, b) => b.weight - a.weight);
    return first ? Math.floor(first.slot / capacity) : -1;
  });
  const perImage = tokensOf(grid);
  const copies = heaviest.length / perImage;
  const map = Array.from({ length: copies }, (_, copy) => {
    const [image, member] = [Math.floor(copy / members), copy % members];
    return Array.from(
      { length: perImage },
      (_token, t) => heaviest[(image * perImage + t) * members + member] ?? -1,
    );
  });
  const chooses = (router?.choices ?? 0) > 0;
  return {
    block: name,
    groups,
    experts,
    capacity,
    loads,
    dropped: chooses ? slots.filter((slot) => slot < 0).length : 0,
    choices: chooses ? slots.length : 0,
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
