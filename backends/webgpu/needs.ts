/** What running a module takes of a device, told from its kernels and launches. */
import type { DeviceModule, Limits, ModuleKernel, ModuleLaunch } from "../../runtime/module.ts";
import type { Profile } from "./profile.ts";

const most = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), 0);

/** The limits that a kernel by itself takes. */
type KernelLimit =
  | "maxStorageBuffersPerShaderStage"
  | "maxComputeWorkgroupStorageSize"
  | "maxComputeInvocationsPerWorkgroup";

/** What a kernel takes of the limits that it was written for. */
export const kernelNeeds = ({ wgsl, access }: ModuleKernel, limits: Limits): Pick<Limits, KernelLimit> => ({
  maxStorageBuffersPerShaderStage: access.filter((kind) => kind === "read" || kind === "read_write").length,
  maxComputeWorkgroupStorageSize: workgroupBytes(wgsl, limits),
  maxComputeInvocationsPerWorkgroup: invocations(wgsl),
});

/** What running a module takes: of the profile's limits and features, those that it uses. */
export function needed(
  { limits, subgroupMinSize = 0 }: Profile,
  kernels: readonly ModuleKernel[],
  buffers: DeviceModule["buffers"],
  launches: readonly ModuleLaunch[],
): Pick<DeviceModule, "limits" | "features" | "subgroupMinSize"> {
  const each = kernels.map((kernel) => kernelNeeds(kernel, limits));
  const ofKernels = (limit: KernelLimit): number => most(each.map((needs) => needs[limit]));
  const features = Object.entries(enabling).flatMap(([word, feature]) =>
    kernels.some(({ wgsl }) => new RegExp(`^enable [^;]*\\b${word}\\b`, "m").test(wgsl)) ? [feature] : [],
  );
  return {
    limits: {
      maxBufferSize: most(buffers.map(({ bytes, image }) => (image ? 0 : bytes))),
      maxStorageBufferBindingSize: most(
        launches.flatMap(({ bindings }) =>
          bindings.map(({ buffer, bytes }) => (buffers[buffer]?.image ? 0 : bytes)),
        ),
      ),
      maxStorageBuffersPerShaderStage: ofKernels("maxStorageBuffersPerShaderStage"),
      maxComputeWorkgroupStorageSize: ofKernels("maxComputeWorkgroupStorageSize"),
      maxComputeInvocationsPerWorkgroup: ofKernels("maxComputeInvocationsPerWorkgroup"),
      maxComputeWorkgroupsPerDimension: most(launches.flatMap(({ workgroups }) => workgroups)),
      maxTextureDimension2D: most(buffers.flatMap(({ image }) => (image ? [image.width, image.height] : []))),
    },
    features,
    subgroupMinSize: features.includes("subgroups") ? subgroupMinSize : 0,
  };
}

/** WebGPU's features by the words that enable them in WGSL. */
const enabling: Readonly<Record<string, string>> = {
  f16: "shader-f16",
  subgroups: "subgroups",
  subgroup_size_control: "subgroup-size-control",
  chromium_experimental_subgroup_matrix: "chromium-experimental-subgroup-matrix",
};

const invocations = (wgsl: string): number => {
  const [, sizes = ""] = /@workgroup_size\(([^)]*)\)/.exec(wgsl) ?? [];
  return sizes.split(",").reduce((product, size) => product * Number(size), 1);
};

const scalarBytes: Readonly<Record<string, number>> = { f16: 2, f32: 4, i32: 4, u32: 4, "atomic<u32>": 4 };

/** Bytes of a WGSL type; NaN for one that is not an array of scalars or vectors. */
function typeBytes(type: string): number {
  const scalar = scalarBytes[type];
  if (scalar !== undefined) return scalar;
  const [, width = "", of = ""] = /^vec([24])(?:<(\w+)>|[fiu])$/.exec(type) ?? [];
  return width ? Number(width) * (of ? (scalarBytes[of] ?? Number.NaN) : 4) : Number.NaN;
}

/** Bytes of a kernel's workgroup memory; the whole limit where they cannot be told. */
function workgroupBytes(wgsl: string, { maxComputeWorkgroupStorageSize: limit }: Limits): number {
  const arrays = [...wgsl.matchAll(/var<workgroup> \w+: (.*);/g)].map(([, type = ""]) => {
    const [, element = type, length = "1"] = /^array<(.*), (\d+)>$/.exec(type) ?? [];
    return Math.ceil((typeBytes(element) * Number(length)) / 16) * 16;
  });
  const bytes = arrays.reduce((sum, each) => sum + each, 0);
  return Number.isNaN(bytes) ? limit : bytes;
}
