/** A module in this process: loaded with weights from a source, run on tensors. */
import { CompileError, sameType, showType, type Tensor, type WeightSource } from "../../ir/index.ts";
import type { Device } from "../../runtime/device.ts";
import type { DeviceModule, Port } from "../../runtime/module.ts";
import { type HostArray, type OnProgress, Program } from "../../runtime/program.ts";
import type { Executable, Report } from "../backend.ts";
import { deviceData, fromDevice } from "./transfer.ts";
import { weightBytes } from "./weights.ts";

/** Loads a module on a device; reads every weight once. */
export async function load(
  device: Device,
  module: DeviceModule,
  weights: WeightSource,
  progress?: OnProgress,
): Promise<Executable> {
  const read = (index: number): ReturnType<typeof weightBytes> => weightBytes(module.weights, weights, index);
  return executableOf(await Program.load(device, module, read, progress));
}

/** A loaded program, given and giving tensors. */
export const executableOf = (program: Program): Executable => ({
  async run(inputs) {
    const outputs = await program.run(given(program, inputs));
    return new Map(
      program.module.outputs.map(({ name, dtype, shape }) => [
        name,
        fromDevice({ dtype, shape }, outputs.get(name) as HostArray),
      ]),
    );
  },
  async profile(inputs) {
    const times = await program.time(given(program, inputs));
    return program.module.launches.map(({ label, scope, flops = 0, bindings }, i) => {
      const bytes = bindings.reduce((sum, place) => sum + place.bytes, 0);
      return { label, scope, ms: times[i] ?? 0, flops, bytes };
    });
  },
  time: (inputs, spans) => program.time(given(program, inputs), spans),
  get report() {
    return { ...reportOf(program.module), ...program.counts };
  },
  dispose: () => program.dispose(),
});

const given = ({ module }: Program, inputs: ReadonlyMap<string, Tensor>): Map<string, HostArray> =>
  new Map(module.inputs.map((port) => [port.name, inputOf(port, inputs.get(port.name))]));

function inputOf({ name, dtype, shape }: Port, tensor: Tensor | undefined): HostArray {
  const type = { dtype, shape };
  if (tensor && sameType(tensor.type, type)) return deviceData(tensor);
  const got = tensor ? showType(tensor.type) : "nothing";
  throw new CompileError("B1", `input ${name}`, `must be ${showType(type)}; got ${got}`);
}

/** What every run of a module does. */
function reportOf({ launches, memory }: DeviceModule): Report {
  const launchesByScope = new Map<string, number>();
  for (const { scope } of launches) launchesByScope.set(scope, (launchesByScope.get(scope) ?? 0) + 1);
  return {
    launches: launches.length,
    launchesByScope,
    weightBytes: memory.weights,
    activationBytes: memory.planned,
  };
}
