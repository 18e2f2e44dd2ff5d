/** Every backend agrees with the reference on every op: integers exactly, floats within its own tolerance. */
import fc from "fast-check";
import { afterAll, describe, test } from "vitest";

import { Graph, opset } from "../ir/index.ts";
import { legalCase } from "./support/arbitrary.ts";
import { expectClose } from "./support/close.ts";
import { bothWays, underTest } from "./support/engines.ts";
import { runs } from "./support/runs.ts";

describe.each(underTest)("$name", async ({ load, tolerance, dtypes, cases }) => {
  const backend = await load();
  const engine = await backend.open();
  afterAll(() => engine.close());

  test.each([...opset])("%s", async (_, op) => {
    // Ops that round before they compare are tried on scores that lie far apart and on exact ties.
    for (const floats of op.has("discontinuous") ? (["separated", "tied"] as const) : (["grid"] as const)) {
      await fc.assert(
        fc.asyncProperty(legalCase(op, { floats, ...(dtypes && { dtypes }) }), async (c) => {
          const results = op
            .apply(c.params, c.attrs)
            .map((value, i): [string, typeof value] => [`r${i}`, value]);
          const inputs = new Map(c.tensors.map((tensor, i) => [`p${i}`, tensor]));
          const { got, want } = await bothWays(engine, new Graph("case", c.params, results), inputs);
          expectClose(got, want, tolerance ?? backend.tolerance, Object.values(c.attrs));
        }),
        { numRuns: runs(cases) },
      );
    }
  });
});
