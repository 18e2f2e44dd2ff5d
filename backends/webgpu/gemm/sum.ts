/** The second launch of a product whose inner axis workgroups have shared: adds up their parts, always in the same order. */
import { bind, grid, launch, type Launch, type Scratch, typeOf } from "../kernel.ts";
import type { Profile } from "../profile.ts";
import { block } from "../wgsl.ts";
import { type Plan, store } from "./description.ts";

/** One thread four columns of a row; `parts` holds vectors [parts, M, N / 4], rounded up. */
export function sumParts(plan: Plan, parts: Scratch, profile: Profile): Launch {
  const { label, M, N, bias, output, vec, tile } = plan;
  const columns = Math.ceil(N / 4);
  const { workgroups, index } = grid(M * columns, profile);
  return launch({
    label,
    bindings: [
      bind("parts", parts, "vec4f"),
      ...(bias ? [{ ...bias.binding, element: typeOf("f32", vec.bias ? 4 : 1) }] : []),
      ...output.extra,
      output.binding,
    ],
    workgroups,
    workgroupSize: [profile.workgroup],
    module: [...[plan.module ?? []].flat(), ...output.module],
    body: block(2, [
      index,
      `if (i >= ${M * columns}u) { return; }`,
      "var s = parts[i];",
      `for (var part = 1u; part < ${tile.parts ?? 1}u; part++) { s += parts[part * ${M * columns}u + i]; }`,
      `let m = i / ${columns}u;`,
      `let c = i % ${columns}u;`,
      ...store(plan, "s", "m", "c"),
    ]),
  });
}
