/** The backends under test, and comparison with the reference. */
import type { Backend, Engine } from "../../backends/backend.ts";
import { backends } from "../../backends/index.ts";
import { reference } from "../../backends/reference/index.ts";
import { type DType, evaluate, type Graph, type Tensor, type WeightSource } from "../../ir/index.ts";
import { pipeline, runPasses } from "../../passes/index.ts";
import { rounding, type Tolerance } from "./close.ts";

const supports: Engine["supports"] = (op) => !op.decompose;

/** A backend with core kernels alone: shows that every op reaches any backend by decomposition. */
const coreOnly: Backend = {
  name: "core-only",
  tolerance: reference.tolerance,
  async open(): Promise<Engine> {
    const engine = await reference.open();
    return {
      ...engine,
      supports,
      compile(graph, weights, options = {}) {
        const lowered = runPasses(graph, pipeline({ supports }, [...graph.outputs.keys()]), { check: true });
        return engine.compile(lowered, weights, options);
      },
    };
  },
};

/** A backend and how it is held to the reference. */
export interface UnderTest {
  readonly name: string;
  readonly load: () => Promise<Backend>;
  /** Where it is not the backend's own. */
  readonly tolerance?: Tolerance;
  /** The dtypes that a class may stand for; by default all. */
  readonly dtypes?: readonly DType[];
  /** Random cases of one op, and random models of some thirty: a backend may compile a kernel for each op. */
  readonly cases: number;
  readonly models: number;
}

const usual = { cases: 20, models: 40 };
/** For backends that compile kernels for every new program. */
const fewer: Readonly<Record<string, typeof usual>> = { webgpu: { cases: 4, models: 12 } };

/** Every backend but the oracle. A missing device is a failure, never a skip. */
export const underTest: readonly UnderTest[] = [
  // A decomposition in 16 bits rounds at every step, so only its meaning in f32 is comparable.
  {
    name: coreOnly.name,
    load: () => Promise.resolve(coreOnly),
    tolerance: rounding,
    dtypes: ["f32", "i32", "u32", "bool"],
    ...usual,
  },
  ...Object.entries(backends)
    .filter(([name]) => name !== reference.name)
    .map(([name, load]) => ({ name, load, ...(fewer[name] ?? usual) })),
];

export const noWeights: WeightSource = {
  tensors: new Map(),
  read: (name) => Promise.reject(new Error(`there is no weight ${name}`)),
  close: () => Promise.resolve(),
};

/** The outputs of `graph` by the reference and by `engine`, on the same inputs. */
export async function bothWays(
  engine: Engine,
  graph: Graph,
  inputs: ReadonlyMap<string, Tensor>,
): Promise<{ readonly got: Tensor[]; readonly want: Tensor[] }> {
  const executable = await engine.compile(graph, noWeights, { check: true });
  try {
    const got = [...(await executable.run(inputs)).values()];
    const want = [...evaluate(graph, (value) => inputs.get(value.leaf?.name ?? "")).values()];
    return { got, want };
  } finally {
    executable.dispose();
  }
}
