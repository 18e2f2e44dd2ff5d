/** `moec run` on many photographs: which, in which order, in batches, with names of classes, printed in every form. */
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { readLabels } from "../cli/labels.ts";
import { readNpy } from "../cli/npy.ts";
import { findPictures } from "../cli/pictures.ts";
import { json, moec } from "./support/cli.ts";
import { temporaryFolder } from "./support/folder.ts";
import { goldenPath, tinyVmoe } from "./support/golden.ts";

const folder = temporaryFolder("pictures");
const at = (...names: string[]): string => join(folder, ...names);

const fixtures = join(import.meta.dirname, "fixtures");
mkdirSync(at("photos", "below", "empty"), { recursive: true });
const files = ["b.PNG", "a.png", "a[1].png", "B.jpg", join("below", 'a,"c".jpg'), join("below", "z.png")];
for (const [i, name] of files.entries())
  copyFileSync(join(fixtures, ["coffee.png", "chelsea.png", "rocket.jpg"][i % 3]!), at("photos", name));
writeFileSync(at("photos", "notes.txt"), "no picture");
const sorted = ["B.jpg", "a.png", "a[1].png", "b.PNG", join("below", 'a,"c".jpg'), join("below", "z.png")];
const paths = sorted.map((name) => at("photos", name));

describe("pictures", () => {
  test("of a folder are those in it and below, by code point", async () => {
    expect(await findPictures([at("photos")])).toEqual(paths);
  });

  test("of a glob are what it matches, and each stands once, where it is named first", async () => {
    expect(await findPictures([`${at("photos")}/*.png`])).toEqual([paths[1], paths[2]]);
    expect(await findPictures([paths[5]!, at("photos"), `${at("photos")}/**/*.jpg`])).toEqual([
      paths[5],
      ...paths.slice(0, 5),
    ]);
  });

  test("with brackets in their names are themselves", async () => {
    expect(await findPictures([paths[2]!])).toEqual([paths[2]]);
  });

  test.each([
    [at("photos", "below", "empty"), "has no picture in it"],
    [at("photos", "*.gif"), "matches no file"],
  ])("%s: one line", async (given, message) => {
    await expect(findPictures([given])).rejects.toThrow(`${given}: ${message} [W1]`);
  });
});

describe("labels", () => {
  test("of ImageNet are a thousand, in the order of ILSVRC 2012", async () => {
    const names = await readLabels("imagenet", 1000);
    expect([0, 281, 504, 967, 999].map((i) => names[i]!.split(",")[0])).toEqual([
      "tench",
      "tabby",
      "coffee mug",
      "espresso",
      "toilet tissue",
    ]);
    expect(names.every((name) => name.trim() === name && name.length > 1)).toBe(true);
  });

  test("of a file are its lines, as many as there are classes", async () => {
    writeFileSync(at("names.txt"), "one\r\ntwo\r\n\r\nfour\r\n");
    expect(await readLabels(at("names.txt"), 4)).toEqual(["one", "two", "", "four"]);
    await expect(readLabels(at("names.txt"), 5)).rejects.toThrow("names 4 classes; the model has 5 [U1]");
    await expect(readLabels("imagenet", 21_843)).rejects.toThrow(
      "imagenet names 1000 classes; the model has 21843",
    );
    await expect(readLabels(at("none.txt"), 4)).rejects.toThrow("no such file");
  });
});

// Each image is a group of its own, so that batches do not change what becomes of it.
const { config } = tinyVmoe().cases.get("bpr_C0.4")!;
writeFileSync(at("tiny.json"), JSON.stringify(config));
writeFileSync(at("five.txt"), 'ant\nbee\ncat, tabby\n"dog"\neel\n');
const command = `run ${at("tiny.json")} --weights ${goldenPath("tiny_vmoe_ckpt")} --image ${at("photos")}
 --backend reference --set encoder.moe.group_size=10 --labels ${at("five.txt")}`.split(/\s+/);

interface Line {
  readonly image: string;
  readonly top5: readonly { readonly class: number; readonly label: string; readonly probability: number }[];
}

/** What routes say of single tokens. */
const tokens = (routes: unknown): unknown =>
  (routes as { map: unknown; dropped: unknown }[]).map(({ map, dropped }) => ({ map, dropped }));

describe("moec run", () => {
  const whole = json(...command, "--output", at("whole.npy")) as unknown as Promise<{
    readonly images: readonly string[];
    readonly top5: readonly Line["top5"][];
    readonly routes: unknown;
    readonly batch: number;
  }>;

  test("gives every picture in order, with names of classes", async () => {
    const { images, top5, batch } = await whole;
    expect({ images, batch }).toEqual({ images: paths, batch: 6 });
    const names = ["ant", "bee", "cat, tabby", '"dog"', "eel"];
    for (const scores of top5)
      expect(scores.map(({ label }) => label)).toEqual(scores.map((s) => names[s.class]));
  });

  test("gives the same in batches, of which the last is filled up", async () => {
    const { images, top5, routes } = await whole;
    const two = await json(...command, "--batch", "4", "--output", at("two.npy"));
    expect(two).toMatchObject({ images, top5, batch: 4 });
    expect(tokens(two["routes"])).toEqual(tokens(routes));
    expect(await readNpy(at("two.npy"))).toEqual(await readNpy(at("whole.npy")));
    expect(await json(...command, "--batch", "2")).toMatchObject({ images, top5, routes });
  });

  test("prints a line of JSON for each image", async () => {
    const { top5 } = await whole;
    const { stdout } = await moec(...command, "--batch", "4", "--jsonl");
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Line);
    expect(lines).toEqual(paths.map((image, i) => ({ image, top5: top5[i] })));
  });

  test("prints CSV that quotes what must be quoted", async () => {
    const { top5 } = await whole;
    const { stdout } = await moec(...command, "--batch", "5", "--csv");
    const [head, ...lines] = stdout.trim().split("\n");
    expect(head).toBe("image,rank,class,label,logit,probability");
    expect(lines).toHaveLength(30);
    expect(lines[0]).toMatch(new RegExp(`^${paths[0]},1,${top5[0]![0]!.class},`));
    expect(lines[20]!.startsWith(`"${folder}/photos/below/a,""c"".jpg",1,`)).toBe(true);
    expect(stdout).toContain(',2,"cat, tabby",');
    expect(stdout).toContain(',3,"""dog""",');
  });

  test("prints a line for each image of many, and what became of the tokens", async () => {
    const { top5 } = await whole;
    const { stdout } = await moec(...command, "--batch", "4");
    const best = top5[1]![0]!;
    expect(stdout).toContain(
      `${paths[1]}: ${best.class} ${best.label} ${(100 * best.probability).toFixed(2)} %`,
    );
    expect(stdout).toMatch(/6 images in [\d.]+ ms, 4 at a time/);
    expect(stdout).toMatch(/encoderblock_1 +4 +\d+ +[\d.]+ %/);
  });

  test.each([
    ["labels of another model", ["--labels", "imagenet"], "imagenet names 1000 classes; the model has 5"],
    ["two forms", ["--csv", "--jsonl"], "--jsonl and --csv"],
    ["repeating batches", ["--batch", "4", "--repeat", "2"], "--repeat"],
    ["a batch of none", ["--batch", "0"], "--batch"],
    [
      "what is no picture, after a batch",
      ["--batch", "4", "--image", at("photos"), at("photos", "notes.txt")],
      "notes.txt",
    ],
  ])("%s: one line, no file", async (_, more, named) => {
    const { code, stderr } = await moec(...command, ...more, "--json", "--output", at("never.npy"));
    expect(stderr).toMatch(/^error: [^\n]+\n$/);
    expect(stderr).toContain(named);
    expect({ code, written: existsSync(at("never.npy")) }).toEqual({ code: 2, written: false });
  });
});
