/**
 * The dense product beside what the adapter can do at most: fused multiply-adds alone, and a copy of memory, by the device's
 * clock. Options: bench/measure.ts. Traps: bench/traps.md.
 */
import { median } from "../backends/statistics.ts";
import { takeTurns } from "../backends/turns.ts";
import { openDawn } from "../backends/webgpu/dawn.ts";
import { load } from "../backends/webgpu/executable.ts";
import { compile } from "../backends/webgpu/index.ts";
import { ownProfile } from "../backends/webgpu/targetFile.ts";
import { table } from "../cli/terminal.ts";
import { type Device, usage } from "../runtime/device.ts";
import { timePasses } from "../runtime/timing.ts";
import { tell } from "./measure.ts";
import { denseProduct } from "./programs.ts";

const rounds = 7;
/** Times that a kernel is launched in a sample, so that the clock's steps are small beside it. */
const repeats = 4;

/** Something whose rate is measured. */
interface Kernel {
  readonly what: string;
  /** Operations, or bytes, of one launch. */
  readonly amount: number;
  readonly wgsl: string;
  readonly buffers: readonly number[];
  readonly workgroups: readonly [number, number];
}

const [chains, steps, threads] = [16, 16, 256];

/** Fused multiply-adds in registers, in as many chains as hide their latency. */
function multiplyAdds(workgroups: number, loops: number): Kernel {
  const each = (line: (i: number) => string): string =>
    Array.from({ length: chains }, (_, i) => line(i)).join(" ");
  return {
    what: "multiply-adds alone",
    amount: 2 * workgroups * threads * chains * steps * loops,
    buffers: [4 * workgroups * threads],
    workgroups: [workgroups, 1],
    wgsl: `
@group(0) @binding(0) var<storage, read_write> sums: array<f32>;
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let factor = f32(id.x % 7u) * 0.0001f + 0.5f;
  let term = f32(id.x % 3u) * 0.001f;
  ${each((i) => `var a${i} = f32(id.x + ${i}u) * 0.001f;`)}
  for (var i = 0u; i < ${loops}u; i++) {
    ${Array.from({ length: steps }, () => each((i) => `a${i} = fma(a${i}, factor, term);`)).join("\n    ")}
  }
  sums[id.x] = ${Array.from({ length: chains }, (_, i) => `a${i}`).join(" + ")};
}`,
  };
}

/** A copy of memory, a vector a thread; bytes read and written both count. */
function copy(vectors: number): Kernel {
  const across = 1024;
  return {
    what: "copy",
    amount: 32 * vectors,
    buffers: [16 * vectors, 16 * vectors],
    workgroups: [across, vectors / threads / across],
    wgsl: `
@group(0) @binding(0) var<storage, read_write> source: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> copied: array<vec4f>;
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.y * ${across * threads}u + id.x;
  copied[i] = source[i];
}`,
  };
}

/** Milliseconds of a launch, each time that it is called. */
async function timer(
  device: Device,
  { what, wgsl, buffers, workgroups }: Kernel,
): Promise<() => Promise<number>> {
  const access = buffers.map(() => "read_write" as const);
  const { pipeline, layout } = await device.pipeline({ label: what, wgsl, access });
  const entries = await Promise.all(
    buffers.map(async (bytes, binding) => ({
      binding,
      resource: { buffer: await device.buffer(what, bytes, usage.storage) },
    })),
  );
  const group = device.gpu.createBindGroup({ layout, entries });
  return async () => {
    const [ms = 0] = await timePasses(device, what, 1, (pass) => {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      for (let i = 0; i < repeats; i++) pass.dispatchWorkgroups(...workgroups);
    });
    return ms / repeats;
  };
}

const device = await openDawn();
// A software driver takes seconds for what a GPU does in milliseconds.
const [side, groups, loops, vectors] = device.software ? [1024, 64, 64, 2 ** 22] : [2048, 4096, 512, 2 ** 25];
const { graph, weights, inputs, flops } = denseProduct(side);
const program = await load(device, compile(graph, await ownProfile(device)), weights);
const product = async (): Promise<number> => {
  const launches = (await program.profile?.(inputs)) ?? [];
  return launches.filter((each) => each.flops > 0).reduce((sum, { ms }) => sum + ms, 0);
};
const kernels = [multiplyAdds(groups, loops), copy(vectors)];
const timers = await Promise.all(kernels.map((kernel) => timer(device, kernel)));
const turns = await takeTurns([...timers, product], { rounds });
const ms = turns.map((each) => median(each.map((turn) => median(turn))));
const [fma = 0, bytes = 0, dense = 0] = ms.map((time, i) => (kernels[i]?.amount ?? flops) / time / 1e6);
const rates = table([
  ["what", "GFLOP/s", "GB/s"],
  ["fused multiply-adds alone", fma.toFixed(0), ""],
  [`dense product, ${side}`, dense.toFixed(0), ""],
  ["copy, bytes read and written", "", bytes.toFixed(0)],
]);
tell({
  device: device.description,
  how: `medians of ${rounds} turns, by the device's clock`,
  numbers: { side, gflops: { fma, dense }, gigabytesPerSecond: bytes },
  text: `${rates}\n\nthe product is ${((100 * dense) / fma).toFixed(0)} % of the multiply-adds`,
});
device.close();
process.exit(0);
