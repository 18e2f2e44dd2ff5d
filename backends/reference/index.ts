/** The reference backend: interprets each op by its declared semantics; the oracle of every test. */
import { evaluate, type Graph, readWeight, type Tensor, type WeightSource } from "../../ir/index.ts";
import type { Backend, CompileOptions, Engine, Executable } from "../backend.ts";

const engine: Engine = {
  device: "the reference interpreter",
  software: true,
  supports: () => true,
  compile,
  close: () => undefined,
};

export const reference: Backend = {
  name: "reference",
  tolerance: { f32: 0, f16: 0, bf16: 0 },
  open: () => Promise.resolve(engine),
};

async function compile(
  graph: Graph,
  source: WeightSource,
  options: CompileOptions = {},
): Promise<Executable> {
  const { outputs, progress } = options;
  // Neither lowered nor fused: what is declared is what is computed.
  const program = outputs ? graph.select(outputs) : graph;
  const weights = new Map<string, Tensor>();
  for (const [i, value] of program.weights.entries()) {
    progress?.(i / program.weights.length, "reading weights");
    weights.set(value.leaf?.name ?? "", await readWeight(source, value));
  }
  return {
    report: {},
    run: async (inputs) => {
      const given = { input: inputs, weight: weights };
      return evaluate(
        program,
        ({ leaf }) => leaf && given[leaf.kind].get(leaf.name),
        (done) => progress?.(done / program.nodes.length, "running"),
      );
    },
    dispose: () => weights.clear(),
  };
}
