/** `moec doctor`: what this machine has, what moec would run on and why, and what to install. */
import { existsSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem } from "node:os";

import { Command } from "commander";

import { chooseBackend } from "../../backends/choose.ts";
import { describeRuntime, type RuntimeFacts } from "../../backends/onnx/runtime.ts";
import { dawnGpu } from "../../backends/webgpu/dawn.ts";
import { type AdapterFacts, describeGpu } from "../../backends/webgpu/describe.ts";
import { packageVersion } from "../../files/version.ts";
import { imageLibrary } from "../../inference/photographs.ts";
import { driverCommand, mesaPackage, osRelease, type VulkanDrivers, vulkanDrivers } from "../drivers.ts";
import { examples, jsonOption } from "../options.ts";
import { ownTarget } from "../target.ts";
import { bold } from "../terminal.ts";

/** What there is, or why there is not. */
type Found<T> = T | { readonly absent: string };

/** What `--json` prints. */
interface Diagnosis {
  readonly moec: string;
  readonly node: string;
  readonly system: Readonly<Record<"name" | "kernel" | "architecture" | "processor", string>> &
    Readonly<Record<"threads" | "memoryBytes", number>>;
  readonly webgpu: Found<readonly AdapterFacts[]>;
  /** On Linux. */
  readonly vulkan: VulkanDrivers | null;
  /** How many products `moec tune` chose tiles for, and the file that keeps them, which need not be there. */
  readonly tuned: Found<Readonly<Record<"file", string>> & Readonly<Record<"products", number>>>;
  readonly onnx: Found<RuntimeFacts>;
  readonly sharp: Found<Readonly<Record<string, string>>>;
  readonly chosen: Readonly<Record<"backend" | "device" | "reason", string>>;
  readonly advice: readonly string[];
}

async function found<T>(look: () => Promise<T>): Promise<Found<T>> {
  try {
    return await look();
  } catch (error) {
    return { absent: (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "" };
  }
}

const isAbsent = (value: Found<unknown>): value is { readonly absent: string } =>
  typeof value === "object" && value !== null && "absent" in value;

async function diagnose(): Promise<Diagnosis> {
  const { platform, arch } = process;
  const linux = platform === "linux";
  const machine = {
    system: {
      name: linux ? (osRelease()["PRETTY_NAME"] ?? platform) : platform,
      kernel: release(),
      architecture: arch,
      processor: cpus()[0]?.model.trim() ?? "",
      threads: availableParallelism(),
      memoryBytes: totalmem(),
    },
    webgpu: await found(async () => describeGpu(await dawnGpu())),
    vulkan: linux ? vulkanDrivers(process.env) : null,
    tuned: await found(async () => {
      const { profile, file } = await ownTarget();
      return { file, products: profile.tuned?.length ?? 0 };
    }),
    onnx: await found(describeRuntime),
    sharp: await found(imageLibrary),
  };
  const { backend, engine, reason } = await chooseBackend();
  const chosen = { backend: backend.name, device: engine.device, reason };
  engine.close();
  return { moec: packageVersion(), node: process.version, ...machine, chosen, advice: adviceOn(machine) };
}

/** Devices of a GPU on Linux: NVIDIA's, and any that Mesa may drive. */
const gpuDevices = ["/dev/nvidia0", "/dev/dri/renderD128"];

/** What would make more of the machine, one sentence each. */
function adviceOn({
  webgpu,
  vulkan,
  onnx,
  sharp,
}: Pick<Diagnosis, "webgpu" | "vulkan" | "onnx" | "sharp">): string[] {
  const advice: string[] = [];
  if (vulkan?.told && vulkan.missing.length > 0) {
    const { variable } = vulkan.told;
    advice.push(
      `${variable} names ${vulkan.missing.join(" and ")}, which is not there: unset it, or name a driver`,
    );
  }
  const adapters = isAbsent(webgpu) ? [] : webgpu;
  if (adapters.length === 0 && vulkan && !vulkan.told) {
    const command = driverCommand(osRelease());
    const how =
      command === undefined ? `such as Mesa's ${mesaPackage}, version 24 or later` : `by ${command}`;
    advice.push(`there is no WebGPU adapter: install a Vulkan driver, ${how}`);
  }
  const device = gpuDevices.find((path) => existsSync(path));
  if (device !== undefined && !adapters.some(({ software }) => !software))
    advice.push(
      `there is a GPU (${device}) without a Vulkan driver that Dawn takes: install its maker's, or a newer Mesa`,
    );
  if (isAbsent(onnx)) advice.push(`there is no ONNX Runtime: ${onnx.absent.replace(/ \[B2\]$/, "")}`);
  if (isAbsent(sharp)) advice.push(sharp.absent.replace(/ \[B2\]$/, ""));
  return advice;
}

const yes = (has: boolean): string => (has ? "yes" : "no");
const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

/** The limits that decide what fits. */
const shownLimits = ["maxBufferSize", "maxStorageBufferBindingSize", "maxComputeWorkgroupStorageSize"];

function describe({
  moec,
  node,
  system,
  webgpu,
  vulkan,
  tuned,
  onnx,
  sharp,
  chosen,
  advice,
}: Diagnosis): string {
  const adapters = isAbsent(webgpu)
    ? [`none: ${webgpu.absent}`]
    : webgpu.flatMap(({ vendor, architecture, description, software, f16, subgroups, features, limits }) => [
        `${[vendor, architecture, description].filter(Boolean).join(", ")}${software ? " (software)" : ""}`,
        `  float16 ${yes(f16)}, subgroups ${yes(subgroups)}, ${features.length} features`,
        `  ${shownLimits.map((name) => `${name} ${limits[name]}`).join(", ")}`,
      ]);
  const told = vulkan?.told ? ` (${vulkan.told.variable}=${vulkan.told.value})` : "";
  const engines = isAbsent(onnx)
    ? ""
    : onnx.engines
        .map(({ name, bundled }) => (bundled ? name : `${name} (needs its own libraries)`))
        .join(", ");
  const facts: readonly (readonly [string, readonly string[]])[] = [
    ["moec", [`${moec} on Node ${node}`]],
    [
      "system",
      [
        `${system.name}, ${system.kernel}, ${system.architecture}`,
        `${system.processor}, ${system.threads} threads, ${gibibytes(system.memoryBytes)}`,
      ],
    ],
    ["WebGPU", adapters.length > 0 ? adapters : ["no adapter"]],
    ...(vulkan
      ? [["Vulkan", vulkan.manifests.length > 0 ? vulkan.manifests : [`no driver${told}`]] as const]
      : []),
    ["tuned", [isAbsent(tuned) ? `nothing: ${tuned.absent}` : `${tuned.products} products, ${tuned.file}`]],
    ["ONNX Runtime", [isAbsent(onnx) ? `none: ${onnx.absent}` : `${onnx.version}: ${engines}`]],
    ["sharp", [isAbsent(sharp) ? `none: ${sharp.absent}` : `${sharp["sharp"]}, libvips ${sharp["vips"]}`]],
    ["would run on", [`${chosen.backend}: ${chosen.device}`, chosen.reason]],
    ["advice", advice.length > 0 ? advice : ["none"]],
  ];
  return facts
    .map(([name, lines]) =>
      lines.map((line, i) => `${i === 0 ? bold(name.padEnd(14)) : " ".repeat(14)}${line}`).join("\n"),
    )
    .join("\n");
}

/** `moec doctor`. */
export const doctorCommand: Command = new Command("doctor")
  .description("say what this machine has, what moec would run on and why, and what to install")
  .addOption(jsonOption())
  .addHelpText("after", examples("doctor", "doctor --json | jq .chosen"))
  .action(async ({ json }: { readonly json?: boolean }) => {
    const diagnosis = await diagnose();
    console.log(json ? JSON.stringify(diagnosis) : describe(diagnosis));
  });
