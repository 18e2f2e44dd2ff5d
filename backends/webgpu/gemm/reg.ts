/** Family `reg`: a block of rows times four columns in each thread, straight from global memory; no barrier. */
import {
  block,
  columnsOf,
  leftRow,
  type Plan,
  product,
  rightColumns,
  store,
  sum,
  times,
  xyzw,
} from "./description.ts";

/** The entry point's body. */
export function regBody(plan: Plan): string {
  const { M, N, K, tile, tiles, vec, right } = plan;
  const { tm } = tile;
  const rows = [...Array(tm).keys()];
  const limit = tiles ? "rows" : `${M}u`;
  const clamped = (r: number): string => `${tiles ? "first + " : ""}min(row + ${r}u, ${limit} - 1u)`;
  const inner = Math.floor(K / 4);
  const byVector = vec.left;
  const rightLoads = (k: string, count: number): string[] =>
    times(count, (i) => `let b${i} = ${rightColumns(plan, i === 0 ? k : `${k} + ${i}u`, "c")};`);
  const dots = (count: number): string[] =>
    rows.map((r) => `s${r} += ${times(count, (i) => `a${r}.${xyzw[i]} * b${i}`).join(" + ")};`);
  const leftLoads = (k: string): string[] => rows.map((r) => `let a${r} = left[l${r} + ${k}];`);

  const loop: string[] = [];
  if (byVector && right.transposed) {
    loop.push(
      `for (var k = 0u; k < ${inner}u; k++) {`,
      block(2, [
        ...times(
          4,
          (i) => `let c${i} = right[${sum([right.start?.(4), product(`n${i}`, right.stride / 4), "k"])}];`,
        ),
        ...leftLoads("k"),
        ...rows.map((r) => `s${r} += vec4f(${times(4, (i) => `dot(a${r}, c${i})`).join(", ")});`),
      ]),
      "}",
    );
    if (K % 4) {
      loop.push(
        ...times(
          4,
          (i) =>
            `let c${i} = right[${sum([right.start?.(4), product(`n${i}`, right.stride / 4), `${inner}u`])}];`,
        ),
        ...leftLoads(`${inner}u`),
        ...rows.map(
          (r) =>
            `s${r} += ${times(K % 4, (i) => `a${r}.${xyzw[i]} * vec4f(${times(4, (n) => `c${n}.${xyzw[i]}`).join(", ")})`).join(" + ")};`,
        ),
      );
    }
  } else if (byVector) {
    loop.push(
      `for (var k = 0u; k < ${inner}u; k++) {`,
      block(2, [...rightLoads("4u * k", 4), ...leftLoads("k"), ...dots(4)]),
      "}",
    );
    if (K % 4) loop.push(...rightLoads(`${4 * inner}u`, K % 4), ...leftLoads(`${inner}u`), ...dots(K % 4));
  } else {
    loop.push(
      `for (var k = 0u; k < ${K}u; k++) {`,
      block(2, [
        `let b = ${rightColumns(plan, "k", "c")};`,
        ...rows.map((r) => `s${r} += left[l${r} + k] * b;`),
      ]),
      "}",
    );
  }

  const guarded = (r: number): string[] => {
    const m = `${tiles ? "first + " : ""}row + ${r}u`;
    return [
      `if (row + ${r}u < ${limit}) {`,
      block(2, store(plan, `s${r}`, tiles ? m : `row + ${r}u`, "c")),
      "}",
    ];
  };
  return block(2, [
    `let c = group.x * ${tile.wx}u + local.x;`,
    `if (c >= ${Math.ceil(N / 4)}u) { return; }`,
    ...(tiles
      ? [tiles.head, `let row = local.y * ${tm}u;`]
      : [`let row = (group.y * ${tile.wy}u + local.y) * ${tm}u;`]),
    `if (row >= ${limit}) { return; }`,
    ...(vec.right && !right.transposed ? [] : columnsOf("c", N)),
    ...rows.map((r) => `let l${r} = ${leftRow(plan, clamped(r))};`),
    ...rows.map((r) => `var s${r} = vec4f();`),
    ...loop,
    ...rows.flatMap(guarded),
  ]);
}
