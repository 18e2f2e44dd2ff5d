/** Matrix products: a kernel family and a tile are chosen for a description, and the launch is written. */
import {
  type Binding,
  type Lanes,
  launch,
  type Launch,
  type LaunchSpec,
  type Output,
  type Scratch,
  typeOf,
} from "../kernel.ts";
import { blockOf, type Product, type Profile, type Tile } from "../profile.ts";
import { chooseTile, tileOfListing } from "./choice.ts";
import { downFirst, type Gemm, type Matrix, type Plan, whole } from "./description.ts";
import { regBody, regDirectives, regMemory } from "./reg.ts";
import { sgmatBody, sgmatDirectives, sgmatMemory } from "./sgmat.ts";
import { rightModule, storedElement } from "./storage.ts";
import { sumParts } from "./sum.ts";
import { tileBody, tileMemory } from "./tile.ts";

export { type Listing, listingOf } from "./choice.ts";
export type { Gemm } from "./description.ts";
export { rightFactor } from "./storage.ts";

const element = (isVector: boolean): Binding["element"] => typeOf("f32", isVector ? 4 : 1);

/** Whether rows start where vectors of four elements do. */
const accessible = ({ stride, aligned = true }: Pick<Matrix, "stride" | "aligned">): boolean =>
  aligned && whole(stride);

/** Memory between launches; see `Context.scratch`. */
type MakeScratch = (element: "vec4f", length: number) => Scratch;

/** The launches that compute a product: one, or two where workgroups share the inner axis of blocks that are not listed. */
export function gemm(spec: Gemm, profile: Profile, scratch: MakeScratch): readonly Launch[] {
  const plan = planOf(spec, profile);
  const { parts = 1 } = plan.tile;
  if (parts === 1 || spec.tiles) return [multiply(plan)];
  const { bias: _, finish: __, ...factors } = spec;
  const width = Math.ceil(spec.N / 4);
  const sums = scratch("vec4f", parts * spec.M * width);
  const inParts = planOf(
    {
      ...factors,
      label: `${spec.label}, in parts`,
      module: [],
      result: {
        binding: { name: "result", resource: sums, access: "read_write" },
        stride: 4 * width,
        start: (unit) => `group.z * ${(4 * width * spec.M) / unit}u`,
      },
    },
    profile,
    plan.tile,
  );
  return [multiply(inParts), sumParts(plan, sums, profile)];
}

type Multiplication = Plan & { readonly product: Product };

function multiply(spec: Multiplication): Launch {
  const { tile, vec, output, product } = spec;
  const { batch } = product;
  const family = familyOf(spec);
  const { rows: height, columns } = blockOf(tile);
  const across = Math.ceil(spec.N / columns);
  const down = spec.tiles?.bound ?? Math.ceil(spec.M / height);
  const rows = spec.tiles ? spec.tiles.rows : spec.M * batch;
  const { narrow } = spec.right;
  const lanes: Lanes = vec.right ? 4 : 1;
  const launched = launch({
    label: spec.label,
    bindings: [
      { ...spec.left.binding, element: element(vec.left) },
      {
        ...spec.right.binding,
        element: narrow ? storedElement(narrow, lanes) : element(vec.right),
      },
      ...(narrow?.scales ? [{ ...narrow.scales.binding, element: element(vec.right) }] : []),
      ...(spec.bias ? [{ ...spec.bias.binding, element: element(vec.bias) }] : []),
      ...(spec.extra ?? []),
      ...output.extra,
      output.binding,
    ],
    workgroups: downFirst(spec) ? [down, across, batch] : [across, down, tile.parts ?? batch],
    ...family,
    module: [
      ...[spec.module ?? []].flat(),
      ...output.module,
      ...(narrow ? [rightModule(spec.right, narrow, lanes)] : []),
      ...family.module,
    ],
  });
  const { samples = {} } = spec;
  return { ...launched, flops: 2 * rows * spec.N * spec.K, product: { ...product, tile, samples } };
}

/** The kernel of the tile's family. */
function familyOf(plan: Plan): Pick<LaunchSpec, "workgroupSize" | "subgroupSize" | "directives" | "body"> & {
  readonly module: readonly string[];
} {
  const { tile } = plan;
  const { wx, wy, bk, split, matrix } = tile;
  if (matrix) {
    const own = { ...tile, matrix };
    return {
      workgroupSize: [wx * wy * matrix.subgroup],
      subgroupSize: matrix.subgroup,
      directives: sgmatDirectives(own),
      module: sgmatMemory(own),
      body: sgmatBody(plan, own),
    };
  }
  const workgroupSize = split ? ([wx, wy, split] as const) : ([wx, wy] as const);
  if (bk > 0) return { workgroupSize, module: tileMemory(tile), body: tileBody(plan) };
  return {
    workgroupSize,
    directives: regDirectives(tile),
    module: regMemory(tile),
    body: regBody(plan),
  };
}

function planOf(spec: Gemm, profile: Profile, given?: Tile): Multiplication {
  const { left, right, result, bias, M, N, K, batch = 1, tiles } = spec;
  const { transposed = false, bits = 32 } = right;
  const strips = right.strips !== undefined;
  const product: Product = { M, N, K, batch, transposed, strips, bits, experts: tiles?.experts ?? 0 };
  const inner = accessible(left) && (!transposed || accessible(right));
  const plain = {
    // Four rows of a strip are read for a vector, and no fewer.
    left: inner && (!strips || whole(K)),
    bias: whole(N) && (bias?.aligned ?? true),
    result: accessible(result) && whole(N),
  };
  // The last vector of a row may lie beyond the columns, but not beyond the row.
  const columns = strips || accessible(right);
  const tiled = inner && whole(K) && (transposed || columns);
  // A part of the inner axis is counted where a product of a batch is.
  const parts =
    batch === 1 && [left, right, result, bias].every((each) => !each?.start?.(1).includes("group.z"));
  const chosen = tiles
    ? tileOfListing(product, tiles, tiled, profile)
    : chooseTile(product, { tiled, parts }, profile);
  const tile = given ?? chosen;
  // Tiles of a transposed factor are filled column by column.
  const rightVectors = transposed ? inner && tile.bk === 0 : columns;
  const vec = { ...plain, right: rightVectors };
  return { ...spec, tile, vec, output: outputOf(spec, vec.result ? 4 : 1), product };
}

/** How the result is stored: as its op says, or as it is. */
function outputOf({ result }: Gemm, lanes: Lanes): Output {
  if ("output" in result) return result.output(lanes);
  const binding: Binding = { ...result.binding, element: element(lanes === 4) };
  return { binding, extra: [], module: [], finish: (v) => v };
}
