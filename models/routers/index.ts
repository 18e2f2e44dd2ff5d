/** The routers, one line each, by the names that configurations use. */
import { CompileError } from "../../ir/index.ts";
import { className } from "../config.ts";
import { balancedAssignment } from "./balancedAssignment.ts";
import { expertChoice } from "./expertChoice.ts";
import { groupLimited } from "./groupLimited.ts";
import { hashRouting } from "./hashRouting.ts";
import { klProjection } from "./klProjection.ts";
import { noisyTopExperts } from "./noisyTopExperts.ts";
import { noisyTopExpertsEnsemble } from "./noisyTopExpertsEnsemble.ts";
import { random } from "./random.ts";
import { type Router, routerPath } from "./router.ts";
import { sigmoidBias } from "./sigmoidBias.ts";
import { soft } from "./soft.ts";
import { softmaxAfterTopK } from "./softmaxAfterTopK.ts";
import { switchRouter } from "./switchRouter.ts";
import { threshold } from "./threshold.ts";
import { topKRenormalised } from "./topKRenormalised.ts";

export const routers: ReadonlyMap<string, Router> = new Map(
  [
    noisyTopExperts,
    topKRenormalised,
    softmaxAfterTopK,
    switchRouter,
    sigmoidBias,
    groupLimited,
    threshold,
    hashRouting,
    random,
    klProjection,
    expertChoice,
    soft,
    noisyTopExpertsEnsemble,
    balancedAssignment,
  ].map((router) => [router.name, router]),
);

/** The shipped routers and `own` ones, by name; throws M2 where two share one. */
export function routersWith(own: readonly Router[] = []): ReadonlyMap<string, Router> {
  const all = new Map(routers);
  for (const router of own) {
    if (all.has(router.name)) throw new CompileError("M2", `router ${router.name}`, "the name is taken");
    all.set(router.name, router);
  }
  return all;
}

/** The router of a class name, which may carry a module prefix; throws M2 for one that is not there. */
export function routerOf(name: string, own?: readonly Router[]): Router {
  const known = routersWith(own);
  const router = known.get(className(name));
  if (router) return router;
  const message = `router ${name} is not built; there is ${[...known.keys()].join(", ")}`;
  throw new CompileError("M2", [...routerPath, "name"].join("."), message);
}
