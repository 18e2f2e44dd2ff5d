/**
 * Makes sure that there is a WebGPU adapter for the tests: on Debian and Ubuntu Mesa's software driver is installed
 * where there is none, elsewhere it says what to install. Exits 1 when there is no adapter in the end.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { dawn } from "../backends/webgpu/dawn.ts";
import { mesaPackage, oldRelease, osRelease } from "../cli/drivers.ts";

/** The adapter's description, or undefined with what went wrong on stderr. */
async function probe(): Promise<string | undefined> {
  try {
    const engine = await dawn.open();
    engine.close();
    return engine.device;
  } catch (error) {
    console.error((error as Error).message);
    return undefined;
  }
}

/** The same in a process of its own: what the Vulkan loader once found, or did not, stays for a process. */
function probeAfresh(): boolean {
  try {
    execFileSync(process.execPath, [fileURLToPath(import.meta.url), "--probe"], { stdio: "inherit" });
    return true;
  } catch {
    return false;
  }
}

/** Debian's release name, such as `bookworm`; undefined where there is no apt. */
const release = (): string | undefined =>
  existsSync("/usr/bin/apt-get") ? osRelease()["VERSION_CODENAME"] : undefined;

function apt(...args: readonly string[]): void {
  const isRoot = process.getuid?.() === 0;
  const command = isRoot ? ["apt-get", ...args] : ["sudo", "-n", "apt-get", ...args];
  execFileSync(command[0] ?? "", command.slice(1), {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  });
}

/** Options under which apt also knows the release's backports, from the mirror that it uses already. */
function withBackports(codename: string, folder: string): string[] {
  const format = "$(REPO_URI)";
  const targets = execFileSync("apt-get", [
    "indextargets",
    "--format",
    format,
    "Created-By: Packages",
    `Codename: ${codename}`,
  ]);
  const [mirror] = targets.toString().split("\n");
  if (!mirror) throw new Error(`apt knows no mirror of ${codename}`);
  const own = existsSync("/etc/apt/sources.list") ? readFileSync("/etc/apt/sources.list", "utf8") : "";
  const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
  const list = join(folder, "sources.list");
  writeFileSync(list, `${own}\ndeb [signed-by=${keyring}] ${mirror} ${codename}-backports main\n`);
  return ["-o", `Dir::Etc::SourceList=${list}`];
}

function install(codename: string): void {
  const folder = mkdtempSync(join(tmpdir(), "moec-apt-"));
  try {
    console.error(`no WebGPU adapter: installing ${mesaPackage}`);
    apt("update");
    const old = codename === oldRelease;
    const options = old ? withBackports(codename, folder) : [];
    if (old) apt(...options, "update");
    const target = old ? ["-t", `${codename}-backports`] : [];
    apt(...options, "install", "-y", "--no-install-recommends", ...target, mesaPackage, "libvulkan1");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function main(): Promise<number> {
  const device = await probe();
  if (device !== undefined) console.log(`WebGPU adapter: ${device}`);
  if (device !== undefined || process.argv.includes("--probe")) return device === undefined ? 1 : 0;
  const codename = release();
  if (codename === undefined) {
    console.error(
      `error: no WebGPU adapter; install a Vulkan driver, such as Mesa's ${mesaPackage} of version 24 or later`,
    );
    return 1;
  }
  try {
    install(codename);
  } catch (error) {
    console.error(
      `error: no WebGPU adapter, and ${mesaPackage} could not be installed: ${(error as Error).message}`,
    );
    return 1;
  }
  return probeAfresh() ? 0 : 1;
}

process.exit(await main());
