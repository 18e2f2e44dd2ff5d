/** The reference backend: interprets each op by its declared semantics; the oracle of every test. */
import { evaluate, type Graph, type Tensor, type WeightSource } from "../../ir/index.ts";
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
  const names = program.weights.map((value) => value.leaf?.name ?? "");
  for (const [i, name] of names.entries()) {
    progress?.(i / names.length, "reading weights");
    weights.set(name, await source.read(name));
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
