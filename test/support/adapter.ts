/** The adapter that the tests run on: a software driver or any GPU, whose own facts decide what some of them can ask of it. */
import { dawnGpu } from "../../backends/webgpu/dawn.ts";
import { type Profile, profileOf, webgpuOn } from "../../backends/webgpu/index.ts";
import { Graph, input, ops, Tensor, type Value } from "../../ir/index.ts";
import { Device } from "../../runtime/device.ts";
import { noWeights } from "./engines.ts";

export const gpu: GPU = await dawnGpu();

const device = await Device.open(gpu);
const { limits, features, subgroupMinSize, vendor, software, matrices } = device;
const { description } = device.gpu.adapterInfo;
device.close();

/** What it says of itself. */
export const adapter: Pick<Profile, "limits" | "features" | "subgroupMinSize"> &
  Pick<Device, "software"> &
  Pick<GPUAdapterInfo, "description"> = {
  limits,
  features: [...features],
  subgroupMinSize,
  software,
  description,
};

/** The profile of CPU drivers with the adapter's own limits, and those of the tiles that it can run. */
export const asCpu: Profile = profileOf({
  limits,
  features,
  subgroupMinSize,
  vendor,
  software: true,
  matrices,
});

/**
 * Whether its driver contracts a b + c into one operation that rounds once: for a = b = 1 + 2^-12 and c = -(1 + 2^-11)
 * that is 2^-24, and 0 where a b is rounded first.
 */
export async function driverContracts(): Promise<boolean> {
  const numbers = { a: 1 + 2 ** -12, b: 1 + 2 ** -12, c: -(1 + 2 ** -11) };
  const leaves = Object.keys(numbers).map((name) => input(name, { dtype: "f32", shape: [1] }));
  const [a, b, c] = leaves as [Value, Value, Value];
  const graph = new Graph("contracted", leaves, [["sum", ops.add(ops.multiply(a, b), c)]]);
  const engine = await webgpuOn(() => Promise.resolve(gpu)).open();
  try {
    const executable = await engine.compile(graph, noWeights);
    const tensors = Object.entries(numbers).map(
      ([name, value]) => [name, Tensor.of("f32", [1], () => value)] as const,
    );
    const [sum] = (await executable.run(new Map(tensors))).get("sum")!.numbers();
    if (executable.report.launches !== 1 || (sum !== 0 && sum !== 2 ** -24))
      throw new Error(`a b + c is ${sum} in ${executable.report.launches} launches`);
    return sum !== 0;
  } finally {
    engine.close();
  }
}
