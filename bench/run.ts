/**
 * How long models take on this machine's backends, side by side in one run, beside the backend's own dense product as
 * the ceiling. Prints a table; `--json` prints one line, for bench/results. Traps: bench/traps.md.
 */
import type { Engine, Executable } from "../backends/backend.ts";
import { openBackend } from "../backends/choose.ts";
import { table } from "../cli/terminal.ts";
import { Graph, input, ops, Tensor, weight, type WeightSource } from "../ir/index.ts";
import { createModel, presets, randomWeights } from "../models/index.ts";

const models = ["vit-s32", "vmoe-s32-last2-e8", "vmoe-s32-every2"];
const batches = [1, 8];
const repeats = 7;
const side = 1024;

interface Row {
  readonly what: string;
  readonly batch: number;
  readonly compileMs: number;
  readonly firstMs: number;
  /** Median of the later runs. */
  readonly warmMs: number;
  readonly gflops: number;
  readonly launches: number | null;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

async function measure(
  what: string,
  batch: number,
  flops: number,
  compile: () => Promise<Executable>,
  inputs: ReadonlyMap<string, Tensor>,
): Promise<Row> {
  const started = performance.now();
  const executable = await compile();
  const compiled = performance.now();
  await executable.run(inputs);
  const first = performance.now();
  const times: number[] = [];
  for (let i = 0; i < repeats; i++) {
    const before = performance.now();
    await executable.run(inputs);
    times.push(performance.now() - before);
  }
  const { launches } = executable.report;
  executable.dispose();
  const warmMs = median(times);
  const row = { what, batch, compileMs: compiled - started, firstMs: first - compiled, warmMs };
  return { ...row, gflops: flops / warmMs / 1e6, launches: launches ?? null };
}

/** The dense product of two square matrices: what the backend's matrix kernels can do. */
function ceiling(engine: Engine): Promise<Row> {
  const type = { dtype: "f32", shape: [side, side] } as const;
  const [x, w] = [input("x", type), weight("w", type)];
  const graph = new Graph("product", [x], [["y", ops.reduceSum(ops.matmul(x, w))]]);
  const tensor = Tensor.of("f32", [side, side], (i, j) => ((i * 31 + j * 17) % 101) / 101);
  const source: WeightSource = {
    tensors: new Map([["w", type]]),
    read: (_, rows) => {
      const [start, stop] = rows ?? [0, side];
      const part = new Tensor(
        { dtype: "f32", shape: [stop - start, side] },
        tensor.data.slice(start * side, stop * side),
      );
      return Promise.resolve(part);
    },
    close: () => Promise.resolve(),
  };
  const label = `dense product ${side}x${side}x${side}`;
  return measure(label, 1, 2 * side ** 3, () => engine.compile(graph, source), new Map([["x", tensor]]));
}

function modelRow(engine: Engine, name: string, batch: number): Promise<Row> {
  const config = presets.get(name);
  if (!config) throw new RangeError(`no preset ${name}`);
  const { graph, parameters, flops } = createModel(config, { batch });
  const image = Tensor.of("f32", [batch, 224, 224, 3], (b, y, x, c) => Math.sin(b + y / 9 + x / 7 + c));
  const compile = (): Promise<Executable> =>
    engine.compile(graph, randomWeights(parameters, 0), { outputs: ["logits"] });
  return measure(name, batch, batch * flops, compile, new Map([["image", image]]));
}

const { engine } = await openBackend("webgpu");
const rows = [await ceiling(engine)];
for (const name of models) for (const batch of batches) rows.push(await modelRow(engine, name, batch));
const date = new Date().toISOString().slice(0, 10);
if (process.argv.includes("--json"))
  console.log(JSON.stringify({ date, device: engine.device, repeats, rows }));
else {
  console.log(`${engine.device}, ${date}, median of ${repeats} runs\n`);
  const cells = rows.map((row) => [
    row.what,
    row.batch,
    row.compileMs.toFixed(0),
    row.firstMs.toFixed(0),
    row.warmMs.toFixed(1),
    (row.warmMs / row.batch).toFixed(1),
    row.gflops.toFixed(2),
    row.launches ?? "",
  ]);
  console.log(
    table([
      ["what", "batch", "compile ms", "first ms", "warm ms", "ms an image", "GFLOP/s", "launches"],
      ...cells,
    ]),
  );
}
engine.close();
process.exit(0);
