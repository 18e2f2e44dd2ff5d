/** `moec target`: what this machine's GPU is to the compiler, and the kinds of devices that there are. */
import { Command } from "commander";

import { type Profile, profiles } from "../../backends/webgpu/index.ts";
import { examples, jsonOption, unsafeOption } from "../options.ts";
import { ownTarget, readTarget } from "../target.ts";
import { table } from "../terminal.ts";
import { showBlock, showProduct, showTile } from "../tiles.ts";

interface TargetOptions {
  readonly list?: boolean;
  readonly unsafeFeatures?: boolean;
  readonly json?: boolean;
}

async function target(name: string, options: TargetOptions): Promise<void> {
  if (options.list) {
    console.log(options.json ? JSON.stringify(profiles) : table([head, ...profiles.map(row)]));
    return;
  }
  const { profile, file } =
    name === "auto"
      ? await ownTarget(options.unsafeFeatures)
      : { profile: await readTarget(name, options.unsafeFeatures) };
  console.log(options.json ? JSON.stringify(profile) : describe(profile));
  if (!options.json && file !== undefined && profile.tuned) console.log(`kept in    ${file}`);
}

const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;

const head = ["target", "binding", "buffers", "workgroup", "threads", "features", "tiles"];

const row = ({ name, limits, features, tiles }: Profile): (string | number)[] => [
  name,
  mebibytes(limits.maxStorageBufferBindingSize),
  limits.maxStorageBuffersPerShaderStage,
  `${limits.maxComputeWorkgroupStorageSize / 2 ** 10} KiB`,
  limits.maxComputeInvocationsPerWorkgroup,
  features.join(", ") || "none",
  [...new Set(tiles.map(showBlock))].join(", "),
];

/** A profile for people: one fact a line. */
function describe({
  name,
  limits,
  features,
  tiles,
  minWorkgroups,
  lanesPerRow,
  workgroup,
  attention,
  tuned = [],
}: Profile): string {
  const lines: [string, string | number][] = [
    ["target", name],
    ["buffer", mebibytes(limits.maxBufferSize)],
    ["binding", mebibytes(limits.maxStorageBufferBindingSize)],
    ["bindings", `${limits.maxStorageBuffersPerShaderStage} a kernel`],
    [
      "workgroup",
      `${limits.maxComputeWorkgroupStorageSize / 2 ** 10} KiB, ${limits.maxComputeInvocationsPerWorkgroup} threads`,
    ],
    ["grid", `${limits.maxComputeWorkgroupsPerDimension} workgroups a side`],
    ["features", features.join(", ") || "none"],
    ["tiles", tiles.map(showTile).join("; ")],
    [
      "prefers",
      `${minWorkgroups} workgroups or more, ${lanesPerRow} threads a row, ${workgroup} a workgroup, attention in ${attention}`,
    ],
    ...tuned.map((each): [string, string] => ["tuned", `${showProduct(each)}: ${showTile(each.tile)}`]),
  ];
  return lines.map(([label, value]) => `${label.padEnd(10)} ${value}`).join("\n");
}

/** `moec target`. */
export const targetCommand: Command = new Command("target")
  .description("show what this machine's GPU is to the compiler, or a target by name")
  .argument("[target]", "auto, untuned, a built-in target or a .json file", "auto")
  .option("--list", "the built-in targets")
  .addOption(unsafeOption())
  .addOption(jsonOption())
  .addHelpText("after", examples("target", "target --list", "target --json > mine.json"))
  .action((name: string, options: TargetOptions) => target(name, options));
