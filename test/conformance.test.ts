/** Every backend agrees with the reference on every op: integers exactly, floats within its own tolerance. */
import fc from "fast-check";
import { afterAll, describe, test } from "vitest";

import { Graph, opset } from "../ir/index.ts";
import { isDecided } from "../testing/decided.ts";
import { floatsFor, legalCase } from "./support/arbitrary.ts";
import { expectClose } from "./support/close.ts";
import { bothWays, underTest } from "./support/engines.ts";
import { runs } from "./support/runs.ts";

describe.each(underTest)("$name", async ({ load, tolerance, dtypes, cases }) => {
  const backend = await load();
  const engine = await backend.open();
  afterAll(() => engine.close());

  test.each([...opset])("%s", async (_, op) => {
    for (const floats of floatsFor(op)) {
      await fc.assert(
        fc.asyncProperty(legalCase(op, { floats, ...(dtypes && { dtypes }) }), async (c) => {
          const results = op
            .apply(c.params, c.attrs)
            .map((value, i): [string, typeof value] => [`r${i}`, value]);
          const inputs = new Map(c.tensors.map((tensor, i) => [`p${i}`, tensor]));
          const graph = new Graph("case", c.params, results);
          const names = [...graph.outputs.keys()];
          fc.pre(!op.has("inexact") || isDecided({ graph, inputs, weights: new Map() }, names, false));
          const { got, want } = await bothWays(engine, graph, inputs);
          expectClose(got, want, tolerance ?? backend.tolerance, Object.values(c.attrs));
        }),
        { numRuns: runs(cases) },
      );
    }
  });
});
