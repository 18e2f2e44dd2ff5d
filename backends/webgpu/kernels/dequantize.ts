/** Matrices of small integers as f32, where no product reads them as they are stored. */
import { ops, sizeOf } from "../../../ir/index.ts";
import { storedModule } from "../gemm/storage.ts";
import { grid, kernel, launch, type LaunchKernel, read, write } from "../kernel.ts";

export const dequantize: LaunchKernel = kernel(
  ops.dequantize,
  ({ operands: { words, scales }, results: { y }, sizes: { Q, R, F, bits, rows, block }, profile }) => {
    const { workgroups, index } = grid(sizeOf(y.type.shape), profile);
    return [
      launch({
        label: "dequantize",
        bindings: [read("words", words), read("scales", scales), write("result", y)],
        workgroups,
        workgroupSize: [profile.workgroup],
        module: storedModule({ bits: bits === 8 ? 8 : 4 }, 1, "words"),
        body: `
      ${index}
      if (i >= arrayLength(&result)) { return; }
      let matrix = i / ${rows * F}u;
      let at = i % ${rows * F}u;
      let scale = scales[(matrix * ${R}u + at / ${F * block}u) * ${F}u + at % ${F}u];
      result[i] = wordsAt(matrix * ${(Q * 32) / bits}u + at) * scale;`,
      }),
    ];
  },
);
