/** `moec tune` as users meet it: choices are kept for this machine's adapter, used by default, and carried by targets. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { describe, expect, test } from "vitest";

import { type Profile, profiles } from "../backends/webgpu/index.ts";
import type { Product } from "../backends/webgpu/profile.ts";
import { readProfile } from "../backends/webgpu/targetFile.ts";
import { json, moec } from "./support/cli.ts";
import { temporaryFolder } from "./support/folder.ts";
import { tinyVmoe } from "./support/golden.ts";
import { productOf } from "./support/product.ts";

const folder = temporaryFolder("tune");
const at = (name: string): string => join(folder, name);
process.env["MOEC_CACHE"] = at("cache");

writeFileSync(at("tiny.json"), JSON.stringify(tinyVmoe().cases.get("bpr_C0.4")!.config));
const size = ["--size", "12"];

const untuned = (await json("target", "untuned")) as unknown as Profile;
/** One with tiles for strips, which this machine's adapter need not have. */
const [software] = profiles as [Profile];
const tile = software.tiles.at(-1)!;
const one = { ...productOf(50, 512, 2048), tile };

describe("a run of it", async () => {
  const found = await json("tune", at("tiny.json"), ...size, "--budget", "2", "-o", at("mine.json"));
  const file = found["file"] as unknown as string;

  test("measures within its budget, and keeps a whole file", async () => {
    expect(Number(found["seconds"])).toBeGreaterThan(0);
    const products = found["products"] as unknown as readonly Record<string, unknown>[];
    expect(products.length).toBeGreaterThan(4);
    expect(Number(found["ms"]?.["rule"])).toBeGreaterThan(0);
    expect(dirname(dirname(file))).toBe(at("cache"));
    expect(readdirSync(dirname(file))).toHaveLength(1);
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(await json("target"));
  });

  test("gives a target file, with which the model compiles", async () => {
    const mine = JSON.parse(readFileSync(at("mine.json"), "utf8")) as Profile;
    expect({ ...mine, name: untuned.name, tuned: undefined }).toEqual({ ...untuned, tuned: undefined });
    expect(await json("target", at("mine.json"))).toEqual(mine);
    const args = [at("tiny.json"), ...size, "--no-weights", "-o", at("bundle")];
    const compiled = await json("compile", "--target", at("mine.json"), ...args);
    expect(compiled).toMatchObject({ target: mine.name, validated: true });
  });

  test("is of weights as they are stored", async () => {
    const narrow = ["--precision", "half-weights", "--quantize-experts", "int8", "--budget", "1"];
    const { products } = await json("tune", at("tiny.json"), ...size, ...narrow);
    const all = (products as unknown as readonly { readonly products: readonly Product[] }[]).flatMap(
      (subject) => subject.products,
    );
    const bits = (isOfExperts: boolean): Set<number> =>
      new Set(all.filter(({ experts }) => experts > 0 === isOfExperts).map((each) => each.bits));
    expect(bits(true)).toEqual(new Set([8]));
    // Where attention has launches of its own for products, it multiplies what is computed.
    expect(bits(false)).toContain(16);
    expect([16, 32]).toEqual(expect.arrayContaining([...bits(false)]));
  });

  test("leaves what is kept of other products, and says where", async () => {
    const kept = { ...untuned, tuned: [one, { ...one, bits: 8 }] };
    writeFileSync(file, JSON.stringify(kept));
    const none = await moec("tune", at("tiny.json"), ...size, "--budget", "0");
    expect(none.code, none.stderr).toBe(0);
    expect(none.stdout).toContain(`kept in ${file}`);
    expect(none.stdout).toContain("not measured");
    expect((await json("target")) as unknown as Profile).toEqual(kept);
    const { stdout } = await moec("target");
    expect(stdout).toMatch(/^tuned {6}\[50, 2048\] x \[2048, 512\]: \d+x\d+/m);
    expect(stdout).toMatch(/^tuned {6}\[50, 2048\] x \[2048, 512\], weights of 8 bits: \d+x\d+/m);
    expect(stdout).toContain(file);
  });

  test.each([
    ["no JSON", "{", /is not JSON.*\[W1\]$/],
    ["a tile of no rows", { ...one, tile: { ...tile, tm: 0 } }, /: tuned\.0\.tile\.tm: .* \[W1\]$/],
    [
      "a tile beyond the limits",
      { ...one, tile: { ...tile, wx: 4096 } },
      /tuned\.0\.tile: takes more .*\[W1\]$/,
    ],
    ["a tile of no family", { ...one, tile: { ...tile, tv: 2 } }, /tuned\.0\.tile: must have tv 1 .*\[W1\]$/],
    [
      "a tile of strips in workgroup memory",
      { ...one, tile: { ...tile, tv: 2, strips: true, bk: 16 } },
      /tuned\.0\.tile: must have broadcast, bk 0 .*\[W1\]$/,
    ],
    [
      "a tile of other strips",
      { ...one, tile: { ...tile, tv: 4, strips: true } },
      /tuned\.0\.tile: must have wx and tv of the first tile with strips, 8 and 2; got 8 and 4.*\[W1\]$/,
    ],
    [
      "a tile of strips that are as wide, and lie otherwise",
      { ...one, tile: { ...tile, wx: 4, tv: 4, strips: true } },
      /tuned\.0\.tile: must have wx and tv of the first tile with strips, 8 and 2; got 4 and 4.*\[W1\]$/,
    ],
    ["no product", { ...one, K: -1 }, /: tuned\.0\.K: .*\[W1\]$/],
  ])("is no target where the file is broken: %s", async (_, broken, message) => {
    const text = typeof broken === "string" ? broken : JSON.stringify({ ...software, tuned: [broken] });
    writeFileSync(file, text);
    await expect(readProfile(file)).rejects.toThrow(message);
  });

  test("is no target with tiles for strips alone", async () => {
    const tiles = software.tiles.filter(({ strips }) => strips);
    expect(tiles.length).toBeGreaterThan(1);
    writeFileSync(file, JSON.stringify({ ...software, tiles }));
    await expect(readProfile(file)).rejects.toThrow(/tiles: must have one without strips.*\[W1\]$/);
  });

  test("says what is wrong with a broken file, leaves it, and works without it", async () => {
    writeFileSync(file, "{");
    const { code, stderr } = await moec("target");
    expect(code).toBe(2);
    expect(stderr.trimEnd().split("\n").at(-1)).toMatch(/^error: .*\.json: is not JSON.*\[W1\]$/);
    expect((await moec("target", "untuned")).code).toBe(0);
    expect(readFileSync(file, "utf8")).toBe("{");
  });
});

test.each([
  [["--budget", "soon"], /^error: --budget: must be a number of seconds; got soon \[U1\]$/],
  [["-o", at("mine.txt")], /^error: --output: must be a .json file; got .* \[U1\]$/],
  [["-o", at("nowhere/mine.json")], /^error: .*mine.json: cannot be written \(ENOENT\) \[W1\]$/],
])("refuses %j before it measures", async (words, message) => {
  const { code, stderr } = await moec("tune", at("tiny.json"), ...words);
  expect(code).toBe(2);
  expect(stderr.trimEnd()).toMatch(message);
});

test("leaves nothing where it cannot keep its choices", async () => {
  mkdirSync(at("blocked"));
  writeFileSync(at("blocked/tuned"), "a file where a folder should be");
  process.env["MOEC_CACHE"] = at("blocked");
  const { code, stderr } = await moec("tune", at("tiny.json"), ...size, "--budget", "0");
  process.env["MOEC_CACHE"] = at("cache");
  expect(code).toBe(2);
  expect(stderr.trimEnd().split("\n").at(-1)).toMatch(/cannot be written \(\w+\) \[W1\]$/);
  expect(readdirSync(at("blocked"))).toEqual(["tuned"]);
});
