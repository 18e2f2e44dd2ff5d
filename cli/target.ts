/** The device that a command line names to compile for: this machine's, a built-in profile, or one in a file. */
import { z } from "zod";

import { dawnGpu } from "../backends/webgpu/dawn.ts";
import { type Profile, profileOf, profiles } from "../backends/webgpu/index.ts";
import { fits } from "../backends/webgpu/profile.ts";
import { fileError } from "../files/bytes.ts";
import { readJson } from "../files/disk.ts";
import { CompileError } from "../ir/index.ts";
import { Device } from "../runtime/device.ts";

const count = z.int().positive();

/** A profile as JSON, which `moec target --json` prints. */
const profileSchema = z.strictObject({
  name: z.string(),
  limits: z.strictObject({
    maxBufferSize: count,
    maxStorageBufferBindingSize: count,
    maxStorageBuffersPerShaderStage: count,
    maxComputeWorkgroupStorageSize: count,
    maxComputeInvocationsPerWorkgroup: count,
    maxComputeWorkgroupsPerDimension: count,
  }),
  features: z.array(z.string()),
  subgroupMinSize: z.int().nonnegative().optional(),
  tiles: z
    .array(
      z.strictObject({
        wx: count,
        wy: count,
        tm: count,
        tv: count,
        bk: z.int().nonnegative(),
        split: count.optional(),
        broadcast: z.boolean().optional(),
      }),
    )
    .min(1),
  minWorkgroups: count,
  lanesPerRow: count,
  workgroup: count,
  attention: z.enum(["three launches", "one launch"]),
});

/** The profile that `--target` names. Throws B2 where `auto` finds no adapter, U1 and W1 for what is no profile. */
export async function readTarget(name: string): Promise<Profile> {
  if (name === "auto") return ownTarget();
  const builtIn = profiles.find((profile) => profile.name === name);
  if (builtIn) return builtIn;
  if (name.endsWith(".json")) return readProfile(name);
  const names = profiles.map((profile) => profile.name).join(", ");
  throw new CompileError("U1", "--target", `must be auto, ${names} or a .json file; got ${name}`);
}

/** The profile of this machine's GPU, or of its software driver. */
export async function ownTarget(): Promise<Profile> {
  const device = await Device.open(await dawnGpu());
  const profile = profileOf(device);
  device.close();
  return profile;
}

async function readProfile(path: string): Promise<Profile> {
  const { data, error } = profileSchema.safeParse(await readJson(path));
  if (!data) {
    const [issue] = error.issues;
    const where = issue?.path.join(".") ?? "";
    throw fileError(path, `${where ? `${where}: ` : ""}${issue?.message.replace(/^Invalid input: /, "")}`);
  }
  const large = data.tiles.findIndex((tile) => !fits(tile, data));
  if (large >= 0)
    throw fileError(
      path,
      `tiles.${large}: takes more threads or workgroup memory than the limits, or subgroups that there are not`,
    );
  return data;
}
