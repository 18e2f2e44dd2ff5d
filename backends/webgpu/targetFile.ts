/** Profiles in files: targets of a user's own, and what tuning found of this machine's adapters. For Node. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

import { z } from "zod";

import { fileError } from "../../files/bytes.ts";
import { checkWritable, readJson, writeFileAtomically } from "../../files/disk.ts";
import { packageVersion } from "../../files/version.ts";
import type { Device } from "../../runtime/device.ts";
import { defaultLimits, fits, isPowerOfTwo, type Profile, type Tile } from "./profile.ts";
import { profileOf, withUnsafe } from "./targets.ts";

const count = z.int().positive();

const tileSchema = z.strictObject({
  wx: count,
  wy: count,
  tm: count,
  tv: count,
  bk: z.int().nonnegative().multipleOf(4),
  split: count.optional(),
  broadcast: z.boolean().optional(),
  parts: count.optional(),
  matrix: z
    .strictObject({
      M: count.multipleOf(4),
      N: count.multipleOf(4),
      K: count.multipleOf(4),
      component: z.enum(["f16", "f32"]),
      subgroup: count,
    })
    .optional(),
  strips: z.boolean().optional(),
});

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
    maxTextureDimension2D: count.default(defaultLimits.maxTextureDimension2D),
  }),
  features: z.array(z.string()),
  subgroupMinSize: z.int().nonnegative().optional(),
  tiles: z.array(tileSchema).min(1),
  minWorkgroups: count,
  tuned: z
    .array(
      z.strictObject({
        M: count,
        N: count,
        K: count,
        batch: count,
        transposed: z.boolean(),
        strips: z.boolean().default(false),
        bits: z.union([z.literal(32), z.literal(16), z.literal(8), z.literal(4)]).default(32),
        experts: z.int().nonnegative(),
        tile: tileSchema,
      }),
    )
    .optional(),
  lanesPerRow: count,
  workgroup: count,
  attention: z.enum(["three launches", "one launch"]),
});

/** The profile in a JSON file. Throws W1 for what is none. */
export async function readProfile(path: string): Promise<Profile> {
  const { data, error } = profileSchema.safeParse(await readJson(path));
  if (!data) {
    const [issue] = error.issues;
    const where = issue?.path.join(".") ?? "";
    throw fileError(path, `${where ? `${where}: ` : ""}${issue?.message.replace(/^Invalid input: /, "")}`);
  }
  const all: (readonly [string, Tile])[] = [
    ...data.tiles.map((tile, i) => [`tiles.${i}`, tile] as const),
    ...(data.tuned ?? []).map(({ tile }, i) => [`tuned.${i}.tile`, tile] as const),
  ];
  const ofStrips = data.tiles.find(({ strips }) => strips);
  for (const [where, tile] of all) {
    if (!fits(tile, data))
      throw fileError(path, `${where}: takes more threads, workgroup memory or subgroups than there are`);
    if (tile.bk === 0 && tile.tv !== 1 && !tile.strips)
      throw fileError(path, `${where}: must have tv 1 where bk is 0 and strips is not set; got ${tile.tv}`);
    if (tile.strips && (!tile.broadcast || tile.bk > 0 || tile.split !== undefined))
      throw fileError(path, `${where}: must have broadcast, bk 0 and no split where strips is set`);
    if (tile.strips && (tile.wx !== ofStrips?.wx || tile.tv !== ofStrips.tv))
      throw fileError(
        path,
        `${where}: must have wx and tv of the first tile with strips, ${ofStrips?.wx} and ${ofStrips?.tv}; got ${tile.wx} and ${tile.tv}`,
      );
    if (tile.bk === 0 && tile.parts !== undefined)
      throw fileError(path, `${where}: must have bk above 0 where it has parts; got 0`);
    if (tile.matrix && (tile.bk === 0 || tile.bk % tile.matrix.K !== 0))
      throw fileError(path, `${where}: must have bk a multiple of its matrices' K; got ${tile.bk}`);
    if (tile.matrix && tile.split !== undefined)
      throw fileError(path, `${where}: must have no split where it has matrices; got ${tile.split}`);
    if (tile.bk > 0 && !tile.matrix && tile.tm % 4 !== 0)
      throw fileError(path, `${where}: must have tm a multiple of 4 where bk is above 0; got ${tile.tm}`);
    if (tile.bk > 0 && tile.split !== undefined && (!isPowerOfTwo(tile.split) || tile.bk % tile.split !== 0))
      throw fileError(
        path,
        `${where}: must have split a power of two that divides bk, ${tile.bk}; got ${tile.split}`,
      );
  }
  if (data.tiles.every(({ strips }) => strips))
    throw fileError(path, "tiles: must have one without strips, for factors that are no weights");
  return data;
}

/** Writes a profile as a file that `readProfile` reads, whole or not at all. Throws W1. */
export const writeProfile = (path: string, profile: Profile): Promise<void> =>
  writeFileAtomically(path, (sink) => sink(new TextEncoder().encode(`${JSON.stringify(profile)}\n`)));

/** Where tuning keeps what it finds: MOEC_CACHE, else moec's part of the user's cache folder. */
function cacheFolder({ MOEC_CACHE, XDG_CACHE_HOME, LOCALAPPDATA }: NodeJS.ProcessEnv): string {
  if (MOEC_CACHE) return MOEC_CACHE;
  if (XDG_CACHE_HOME) return join(XDG_CACHE_HOME, "moec");
  if (process.platform === "win32") return join(LOCALAPPDATA ?? homedir(), "moec", "cache");
  return join(homedir(), ...(process.platform === "darwin" ? ["Library", "Caches"] : [".cache"]), "moec");
}

/** The file of what was tuned on an adapter by this version of moec, whether it is there or not. */
export function tunedFile(device: Device): string {
  const { description, limits, features } = device;
  const key = JSON.stringify([packageVersion(), description, limits, [...features].toSorted()]);
  const hash = createHash("sha256").update(key).digest("hex").slice(0, 12);
  const name = description.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  return join(cacheFolder(process.env), "tuned", `${name.slice(0, 60)}-${hash}.json`);
}

/**
 * The profile of a device with what was tuned on it, and with unsafe features where these are wanted. Throws W1 where the
 * file of choices is broken.
 */
export async function ownProfile(device: Device, isUnsafe = false): Promise<Profile> {
  const [safe, file] = [profileOf(device), tunedFile(device)];
  const own = isUnsafe ? withUnsafe(safe, device) : safe;
  if (!existsSync(file)) return own;
  const { tuned } = await readProfile(file);
  const usable = isUnsafe ? tuned : tuned?.filter(({ tile }) => !tile.matrix);
  return usable ? { ...own, tuned: usable } : own;
}

/** `tunedFile`, which can be written from now on. Throws W1 where it cannot. */
export async function openTunedFile(device: Device): Promise<string> {
  const file = tunedFile(device);
  await mkdir(dirname(file), { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    throw fileError(file, `cannot be written (${error.code})`);
  });
  await checkWritable(file);
  return file;
}
