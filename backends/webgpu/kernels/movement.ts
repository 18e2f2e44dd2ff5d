/** Copies whose elements' places are arithmetic on constants; one thread an element of the result. */
import { ops, type Shape, sizeOf, stridesOf, type Value } from "../../../ir/index.ts";
import { grid, type Kernel, kernel, launch, type Launch, read, write } from "../kernel.ts";
import type { Profile } from "../profile.ts";
import { stridedIndex } from "../wgsl.ts";

/** The launch that fills `y` from the elements of `x` at `offset` plus `strides` times the index. */
function gather(label: string, x: Value, y: Value, strides: Shape, profile: Profile, offset = 0): Launch {
  const { shape } = y.type;
  const { workgroups, index } = grid(sizeOf(shape), profile);
  return launch({
    label,
    bindings: [read("x", x), write("y", y)],
    workgroups,
    workgroupSize: [profile.workgroup],
    body: `
      ${index}
      if (i >= ${sizeOf(shape)}u) { return; }
      y[i] = x[${stridedIndex("i", shape, strides, offset)}];`,
  });
}

export const transpose: Kernel = kernel(
  ops.transpose,
  ({ operands: { x }, results: { y }, sizes, profile }) => {
    const strides = stridesOf(x.type.shape);
    return [
      gather(
        "transpose",
        x,
        y,
        sizes.perm.map((axis) => strides[axis] ?? 0),
        profile,
      ),
    ];
  },
);

export const broadcast: Kernel = kernel(ops.broadcast, ({ operands: { x }, results: { y }, profile }) => {
  const lead = y.type.shape.length - x.type.shape.length;
  const strides = stridesOf(x.type.shape);
  const steps = y.type.shape.map((_, axis) =>
    x.type.shape[axis - lead] === 1 ? 0 : (strides[axis - lead] ?? 0),
  );
  return [gather("broadcast", x, y, steps, profile)];
});

export const slice: Kernel = kernel(ops.slice, ({ operands: { x }, results: { y }, sizes, profile }) => {
  const strides = stridesOf(x.type.shape);
  const offset = strides.reduce((sum, stride, axis) => sum + stride * (sizes.start[axis] ?? 0), 0);
  return [gather("slice", x, y, strides, profile, offset)];
});

export const concat: Kernel = kernel(
  ops.concat,
  ({ operands: { x, y }, results: { z }, sizes: { axis }, profile }) => {
    const { shape } = z.type;
    const [first, second] = [sizeOf(x.type.shape.slice(axis)), sizeOf(y.type.shape.slice(axis))];
    const { workgroups, index } = grid(sizeOf(shape), profile);
    return [
      launch({
        label: "concat",
        bindings: [read("x", x), read("y", y), write("z", z)],
        workgroups,
        workgroupSize: [profile.workgroup],
        body: `
        ${index}
        if (i >= ${sizeOf(shape)}u) { return; }
        let row = i / ${first + second}u;
        let place = i % ${first + second}u;
        if (place < ${first}u) { z[i] = x[row * ${first}u + place]; }
        else { z[i] = y[row * ${second}u + place - ${first}u]; }`,
      }),
    ];
  },
);
