/** The laws of routing as tests for any runner. */
import { openBackend } from "../backends/choose.ts";
import type { Json, Router } from "../models/index.ts";
import { compared, expectAgreement } from "./agreement.ts";
import { cases } from "./arbitrary.ts";
import type { Case } from "./case.ts";
import { isDecided } from "./decided.ts";
import { fc } from "./fastCheck.ts";
import { laws } from "./laws.ts";
import { experts, programOf } from "./program.ts";

/** One law about one router: a name, and a check that throws a counterexample where the router breaks the law. */
export interface RouterLaw {
  readonly name: string;
  readonly check: () => Promise<void>;
}

/** How a router is tried. */
export interface RouterLawOptions {
  /** Options of the router's own that every case has; the others are drawn or have their defaults. */
  readonly options?: Json;
  /** Backends, by name, that must agree with the reference; one that cannot be opened fails. By default none. */
  readonly backends?: readonly string[];
  /** Random cases of each law; by default as many as fast-check is told. */
  readonly numRuns?: number;
  /** Random cases on each backend, which may compile for every one of them; 5 by default. */
  readonly backendRuns?: number;
}

/**
 * The laws that are about `router`, by what it declares: `for (const law of routerLaws(mine)) test(law.name, law.check)`.
 * Their random cases are small, and have ties, empty experts and every capacity among them.
 */
export function routerLaws(router: Router, options: RouterLawOptions = {}): RouterLaw[] {
  const { options: fixed = {}, backends = [], numRuns, backendRuns = 5 } = options;
  const tried = (
    exact: boolean,
    holds: (c: Case) => Promise<void>,
    runs: { readonly numRuns?: number },
  ): Promise<void> =>
    fc.assert(
      fc.asyncProperty(cases(router, { fixed, exact }), async (c) => {
        fc.pre(c !== undefined);
        await holds(c);
      }),
      runs,
    );
  const own = laws
    .filter(({ about = () => true }) => about(router))
    .map(({ name, holds, exact = false }): RouterLaw => ({
      name,
      check: () => tried(exact, (c) => holds(router, c), numRuns === undefined ? {} : { numRuns }),
    }));
  const agreement = backends.map((name): RouterLaw => ({
    name: `${name} agrees with the reference`,
    async check() {
      const { backend, engine } = await openBackend(name);
      try {
        const agrees = async (c: Case): Promise<void> => {
          const program = await programOf(router, c, experts);
          if (isDecided(program, compared, router.keepsTies))
            await expectAgreement(engine, program, backend.tolerance);
        };
        await tried(true, agrees, { numRuns: backendRuns });
      } finally {
        engine.close();
      }
    },
  }));
  return [...own, ...agreement];
}
