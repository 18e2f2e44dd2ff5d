/** What a run opens is closed again, whatever stops it. */
import { existsSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { infer } from "../../cli/inference.ts";
import { writeFileAtomically } from "../../files/disk.ts";
import { writeSafetensors } from "../../models/weights/safetensors.ts";
import { root, temporaryFolder } from "../support/folder.ts";
import { tinyVmoe } from "../support/golden.ts";

const folder = temporaryFolder("opened");
const at = (name: string): string => join(folder, name);
const { weights, cases } = tinyVmoe();
writeFileSync(at("tiny.json"), JSON.stringify(cases.get("bpr_C0.4")!.config));
writeFileSync(at("notes.txt"), "no photograph\n");
await writeFileAtomically(at("tiny.safetensors"), (sink) => writeSafetensors(weights, sink));

const descriptors = "/proc/self/fd";

test.skipIf(!existsSync(descriptors)).each([
  ["weights do not fit", "vit-s32", join(root, "test", "fixtures", "coffee.png")],
  ["photograph is none", at("tiny.json"), at("notes.txt")],
])("a run whose %s leaves no file open", async (_, name, image) => {
  const given = { weights: at("tiny.safetensors"), image: [image], fit: "squash", seed: 0 } as const;
  const options = { ...given, set: [], plugin: [], session: {}, backend: "auto", target: "auto" };
  await expect(infer(name, options, true, () => Promise.resolve())).rejects.toThrow(/\[W[12]\]$/);
  const open = readdirSync(descriptors).flatMap((fd) => {
    const path = join(descriptors, fd);
    return existsSync(path) ? [readlinkSync(path)] : [];
  });
  expect(open).not.toContain(given.weights);
});
