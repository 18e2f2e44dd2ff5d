/** The device that a command line names to compile for: this machine's, a built-in profile, or one in a file. */
import { dawnGpu } from "../backends/webgpu/dawn.ts";
import { type Profile, profileOf, profiles } from "../backends/webgpu/index.ts";
import { ownProfile, readProfile, tunedFile } from "../backends/webgpu/targetFile.ts";
import { CompileError } from "../ir/index.ts";
import { Device } from "../runtime/device.ts";

/** The profile that `--target` names. Throws B2 where this machine's has no adapter, U1 and W1 for what is no profile. */
export async function readTarget(name: string): Promise<Profile> {
  if (name === "auto") return (await ownTarget()).profile;
  if (name === "untuned") return ofThisMachine(profileOf);
  const builtIn = profiles.find((profile) => profile.name === name);
  if (builtIn) return builtIn;
  if (name.endsWith(".json")) return readProfile(name);
  const names = profiles.map((profile) => profile.name).join(", ");
  throw new CompileError("U1", "--target", `must be auto, untuned, ${names} or a .json file; got ${name}`);
}

/** This machine's GPU, or its software driver, as it was tuned, and the file that keeps that. Throws B2, W1. */
export const ownTarget = (): Promise<{ readonly profile: Profile; readonly file: string }> =>
  ofThisMachine(async (device) => ({ profile: await ownProfile(device), file: tunedFile(device) }));

async function ofThisMachine<T>(of: (device: Device) => T | Promise<T>): Promise<T> {
  const device = await Device.open(await dawnGpu());
  try {
    return await of(device);
  } finally {
    device.close();
  }
}
