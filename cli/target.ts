/** The device that a command line names to compile for: this machine's, a built-in profile, or one in a file. */
import { openDawn } from "../backends/webgpu/dawn.ts";
import { type Profile, profileOf, profiles, withUnsafe } from "../backends/webgpu/index.ts";
import { ownProfile, readProfile, tunedFile } from "../backends/webgpu/targetFile.ts";
import { withoutUnsafe } from "../backends/webgpu/targets.ts";
import { CompileError } from "../ir/index.ts";
import type { Device } from "../runtime/device.ts";

/**
 * The profile that `--target` names, with unsafe features where these are wanted. Throws B2 where this machine's has no
 * adapter, U1 and W1 for what is no profile.
 */
export async function readTarget(name: string, isUnsafe = false): Promise<Profile> {
  if (name === "auto") return (await ownTarget(isUnsafe)).profile;
  if (name === "untuned")
    return ofThisMachine(isUnsafe, (device) =>
      isUnsafe ? withUnsafe(profileOf(device), device) : profileOf(device),
    );
  const builtIn = profiles.find((profile) => profile.name === name);
  if (builtIn) return isUnsafe ? withUnsafe(builtIn) : builtIn;
  if (name.endsWith(".json")) {
    const profile = await readProfile(name);
    return isUnsafe ? profile : withoutUnsafe(profile);
  }
  const names = profiles.map((profile) => profile.name).join(", ");
  throw new CompileError("U1", "--target", `must be auto, untuned, ${names} or a .json file; got ${name}`);
}

/** This machine's GPU, or its software driver, as it was tuned, and the file that keeps that. Throws B2, W1. */
export const ownTarget = (isUnsafe = false): Promise<{ readonly profile: Profile; readonly file: string }> =>
  ofThisMachine(isUnsafe, async (device) => ({
    profile: await ownProfile(device, isUnsafe),
    file: tunedFile(device),
  }));

async function ofThisMachine<T>(isUnsafe: boolean, of: (device: Device) => T | Promise<T>): Promise<T> {
  const device = await openDawn(isUnsafe);
  try {
    return await of(device);
  } finally {
    device.close();
  }
}
