/** Programs with applications that share launches and with none that do, and what tells them apart. */
import { afterAll, expect } from "vitest";

import { dawn } from "../../backends/webgpu/dawn.ts";
import { type Group, groupsOf } from "../../backends/webgpu/groups.ts";
import { type Profile, profiles, webgpuOn } from "../../backends/webgpu/index.ts";
import type { Launch } from "../../backends/webgpu/kernel.ts";
import { type DType, Graph, print, type Tensor, type Value, type WeightSource } from "../../ir/index.ts";
import { driverContracts, gpu } from "./adapter.ts";
import { expectClose } from "./close.ts";
import { noWeights } from "./engines.ts";

const [software] = profiles as [Profile];

/** A profile as it is, and without fusion. */
export const both = async (profile: Profile): Promise<readonly [fused: Engine, apart: Engine]> => {
  const open = (fuses: boolean): Promise<Engine> =>
    webgpuOn(() => Promise.resolve(gpu), { ...profile, fuses }).open();
  const engines = [await open(true), await open(false)] as const;
  afterAll(() => engines.forEach((engine) => engine.close()));
  return engines;
};
type Engine = Awaited<ReturnType<ReturnType<typeof webgpuOn>["open"]>>;

/** Whether the driver makes one operation of a product and a sum. */
export const contracts: boolean = await driverContracts();

/** The numbers of a tensor; both zeros are one, since infinities and signs of zero are the driver's affair. */
const bits = (tensor: Tensor): unknown => Array.from(tensor.numbers(), (v) => (v === 0 ? 0 : v));

/** The dtypes that an output goes through: where these are narrow, a bit before the rounding may be a step after it. */
const through = (graph: Graph, name: string): readonly DType[] =>
  graph
    .withOutputs([[name, graph.outputs.get(name)!]])
    .nodes.flatMap(({ results }) => results.map(({ type }) => type.dtype));

const expectBits = (got: Tensor, want: Tensor, what: string): void =>
  expect(bits(got), what).toEqual(bits(want));

const expectRounded = (got: Tensor, want: Tensor, dtypes: readonly DType[]): void =>
  expectClose([got], [want], dawn.tolerance, dtypes);

/** The outputs of both engines are equal, but for rounding where the driver contracts; returns their launches. */
export async function expectSame(
  engines: readonly [Engine, Engine],
  graph: Graph,
  inputs: ReadonlyMap<string, Tensor>,
  { weights = noWeights, bitwise = !contracts }: { weights?: WeightSource; bitwise?: boolean } = {},
): Promise<readonly [fused: number, apart: number]> {
  const [got, want] = (await Promise.all(
    engines.map(async (engine) => {
      const executable = await engine.compile(graph, weights, { check: true });
      const outputs = await executable.run(inputs);
      executable.dispose();
      return { outputs, launches: executable.report.launches ?? 0 };
    }),
  )) as unknown as [Ran, Ran];
  for (const [name, tensor] of want.outputs) {
    const pair = [got.outputs.get(name)!, tensor] as const;
    if (bitwise) expectBits(...pair, `${name} of ${print(graph)}`);
    else expectRounded(...pair, through(graph, name));
  }
  return [got.launches, want.launches];
}

interface Ran {
  readonly outputs: ReadonlyMap<string, Tensor>;
  readonly launches: number;
}

/** The program of some values. */
export const graphOf = (outputs: readonly Value[], inputs: readonly Value[] = []): Graph =>
  new Graph(
    "groups",
    inputs,
    outputs.map((value, i) => [`r${i}`, value]),
  );

/** A program's groups. */
const groups = (outputs: readonly Value[], profile: Profile = software): readonly Group[] =>
  groupsOf(graphOf(outputs), profile);

/** What they are called. */
export const labels = (outputs: readonly Value[]): string[] => groups(outputs).map(({ label }) => label);

/** Their launches. */
export const launches = (outputs: readonly Value[], profile: Profile = software): Launch[] =>
  groups(outputs, profile).flatMap((group) =>
    group.emit({
      scratch: (element, length) => ({ element, length }),
      shards: () => [],
      strips: () => undefined,
    }),
  );
