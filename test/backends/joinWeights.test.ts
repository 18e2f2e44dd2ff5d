/** Weights side by side are read as one weight: any rows of it are those rows of what `concat` makes. */
import fc from "fast-check";
import { expect, test } from "vitest";

import { joinWeights } from "../../backends/webgpu/joinWeights.ts";
import { defaultLimits } from "../../backends/webgpu/profile.ts";
import { packWeights, weightBytes } from "../../backends/webgpu/weights.ts";
import { evaluate, Graph, input, ops, Tensor, type TensorType, type Value, weight } from "../../ir/index.ts";
import type { WeightSource } from "../../ir/index.ts";

/** Weights [D, widths] of which some are stored with their second axis split. */
const cases = fc.record({
  D: fc.integer({ min: 1, max: 5 }),
  widths: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 2, maxLength: 4 }),
  split: fc.boolean(),
  half: fc.boolean(),
  rows: fc.nat(4),
});

const memory = (tensors: ReadonlyMap<string, Tensor>): WeightSource => ({
  tensors: new Map([...tensors].map(([name, { type }]) => [name, type])),
  read(name, rows) {
    const { type, data } = tensors.get(name)!;
    const [all = 1, ...rest] = type.shape;
    const [start, stop] = rows ?? [0, all];
    const run = data.length / all;
    const part = { ...type, shape: [stop - start, ...rest] };
    return Promise.resolve(new Tensor(part, data.slice(start * run, stop * run)));
  },
  close: () => Promise.resolve(),
});

test("any rows of any weights", async () => {
  await fc.assert(
    fc.asyncProperty(cases, async ({ D, widths, split, half, rows }) => {
      const tensors = new Map<string, Tensor>();
      const parts = widths.map((width, n): Value => {
        const type: TensorType = {
          dtype: half ? "f16" : "f32",
          shape: split ? [D, 2, width] : [D, 2 * width],
        };
        const tensor = Tensor.of(
          type.dtype,
          type.shape,
          (...at) => 100 * n + at.reduce((sum, i) => 10 * sum + i, 0),
        );
        tensors.set(`w${n}`, tensor);
        const wide = half ? ops.cast(weight(`w${n}`, type), { to: "f32" }) : weight(`w${n}`, type);
        return ops.reshape(wide, { shape: [D, 2 * width] });
      });
      const joined = parts.reduce((all, part) => ops.concat(all, part, { axis: 1 }));
      const x = input("x", joined.type);
      const graph = new Graph("joined", [x], [["y", ops.add(x, joined)]]);
      const zeros = Tensor.of("f32", x.type.shape, () => 0);
      const want = evaluate(graph, ({ leaf }) => (leaf!.name === "x" ? zeros : tensors.get(leaf!.name)!)).get(
        "y",
      )!;

      const { graph: program, joins } = joinWeights(graph);
      expect(program.weights.map(({ type }) => type)).toEqual([
        { ...joined.type, dtype: half ? "f16" : "f32" },
      ]);
      // A binding of one row at least, so that the weight is read in parts of rows.
      const most = 4 * joined.type.shape[1]! * (1 + (rows % D));
      const limits = { ...defaultLimits, maxStorageBufferBindingSize: most };
      const { buffers, parts: cut } = packWeights(program.weights, limits, { joins });
      const got: number[] = [];
      for (const index of buffers.keys()) {
        for await (const { bytes } of weightBytes(cut, memory(tensors), index))
          got.push(...(bytes as Float32Array | Uint16Array));
      }
      const bits = half ? Tensor.from({ ...want.type, dtype: "f16" }, want.numbers()) : want;
      expect(got).toEqual(Array.from(bits.data));
    }),
  );
});

const wide = (dtype: "f16" | "i32"): Value =>
  ops.cast(weight(dtype, { dtype, shape: [2, 2] }), { to: "f32" });

test("what is not weights side by side stays as it is", () => {
  const [x, w, v] = [
    input("x", { dtype: "f32", shape: [2, 2] }),
    weight("w", { dtype: "f32", shape: [2, 2] }),
    weight("v", { dtype: "f32", shape: [4] }),
  ];
  const outputs: Value[] = [
    ops.concat(x, w, { axis: 1 }),
    ops.concat(w, w, { axis: 0 }),
    ops.concat(w, ops.reshape(v, { shape: [2, 2] }), { axis: 1 }),
    ops.concat(w, ops.transpose(w, { perm: [1, 0] }), { axis: 1 }),
    ops.concat(w, wide("f16"), { axis: 1 }),
    ops.concat(wide("i32"), wide("i32"), { axis: 1 }),
    ops.concat(ops.cast(ops.cast(w, { to: "f16" }), { to: "f32" }), w, { axis: 1 }),
  ];
  const graph = new Graph(
    "kept",
    [x],
    outputs.map((value, i) => [`r${i}`, value]),
  );
  expect(joinWeights(graph).graph).toBe(graph);
});
