/** Vulkan drivers of a Linux machine: which are there, and which package to install where none is. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Mesa's drivers, hardware and software, as Debian and most others call the package. */
export const mesaPackage = "mesa-vulkan-drivers";

/** The release of Debian whose own Mesa is older than Dawn accepts; its backports have one that is not. */
export const oldRelease = "bookworm";

/** Values of /etc/os-release by key; none where there is no such file. */
export function osRelease(): Readonly<Record<string, string>> {
  if (!existsSync("/etc/os-release")) return {};
  const lines = readFileSync("/etc/os-release", "utf8").split("\n");
  return Object.fromEntries(
    lines.flatMap((line) => {
      const [, key, value] = /^([A-Z_]+)="?(.*?)"?$/.exec(line) ?? [];
      return key === undefined ? [] : [[key, value ?? ""]];
    }),
  );
}

/** Variables that say which drivers Vulkan's loader takes, in its own order. */
const variables = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] as const;
const folders = ["/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/usr/share/vulkan/icd.d"];

/** What Vulkan's loader is told and finds. */
export interface VulkanDrivers {
  /** The variable that names drivers, and its value, where one does. */
  readonly told: { readonly variable: string; readonly value: string } | null;
  /** The manifests of drivers that are there. */
  readonly manifests: readonly string[];
  /** Files that are named and are not there. */
  readonly missing: readonly string[];
}

/** The drivers that the loader would try under the variables of `env`. */
export function vulkanDrivers(env: NodeJS.ProcessEnv): VulkanDrivers {
  const variable = variables.find((name) => env[name] !== undefined);
  if (variable === undefined) {
    const manifests = folders
      .filter((folder) => existsSync(folder))
      .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
      .filter((path) => path.endsWith(".json"));
    return { told: null, manifests: manifests.toSorted(), missing: [] };
  }
  const value = env[variable] ?? "";
  const named = value.split(":").filter(Boolean);
  return {
    told: { variable, value },
    manifests: named.filter((path) => existsSync(path)),
    missing: named.filter((path) => !existsSync(path)),
  };
}

/** How a Linux system installs Mesa's drivers, by the family of its distribution. */
const installs: Readonly<Record<string, (codename: string) => string>> = {
  debian: (codename) =>
    `apt-get install ${codename === oldRelease ? `-t ${codename}-backports ` : ""}${mesaPackage} libvulkan1`,
  fedora: () => `dnf install ${mesaPackage} vulkan-loader`,
  arch: () => "pacman -S vulkan-swrast vulkan-icd-loader",
  suse: () => "zypper install libvulkan_lvp libvulkan1",
  alpine: () => "apk add mesa-vulkan-swrast vulkan-loader",
};

/** The command that gives a system of this /etc/os-release a driver; undefined where none is known. */
export function driverCommand({
  ID = "",
  ID_LIKE = "",
  VERSION_CODENAME = "",
}: Readonly<Record<string, string>>): string | undefined {
  const family = [ID, ...ID_LIKE.split(" ")].find((name) => name in installs);
  return family === undefined ? undefined : installs[family]?.(VERSION_CODENAME);
}
