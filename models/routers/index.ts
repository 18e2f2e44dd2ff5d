/** The routers, one line each, by the class names of the original's configurations. */
import { CompileError } from "../../ir/index.ts";
import { className } from "../config.ts";
import { noisyTopExperts } from "./noisyTopExperts.ts";
import { type Router, routerPath } from "./router.ts";

export const routers: ReadonlyMap<string, Router> = new Map(
  [noisyTopExperts].map((router) => [router.name, router]),
);

/** The router of a class name, which may carry a module prefix; throws M2 for one that is not built. */
export function routerOf(name: string): Router {
  const router = routers.get(className(name));
  if (router) return router;
  const message = `router ${name} is not built; there is ${[...routers.keys()].join(", ")}`;
  throw new CompileError("M2", [...routerPath, "name"].join("."), message);
}
