/** `moec route`: the same data as JSON, in the terminal and as a picture. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import sharp from "sharp";
import { afterAll, expect, test } from "vitest";

import { json, moec } from "./support/cli.ts";
import { goldenPath, tinyVmoe } from "./support/golden.ts";

const folder = mkdtempSync(join(tmpdir(), "moec-route-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const photo = (name: string): string => join(import.meta.dirname, "fixtures", name);

const { config } = tinyVmoe().cases.get("bpr_C0.4")!;
writeFileSync(at("tiny.json"), JSON.stringify(config));
const photos = ["--image", photo("coffee.png"), photo("chelsea.png")];
const trained = [
  at("tiny.json"),
  "--weights",
  goldenPath("tiny_vmoe_ckpt"),
  ...photos,
  "--backend",
  "reference",
];

test("JSON says which expert took each patch, and the picture shows it", async () => {
  const report = await json("route", ...trained, "--svg", at("routes.svg"));
  expect(report).toMatchObject({ model: at("tiny.json"), router: "NoisyTopExpertsPerItemRouter" });
  const routes = report["routes"] as unknown as { block: string; map: number[][]; loads: number[] }[];
  expect(routes.map(({ block }) => block)).toEqual(["encoderblock_1", "encoderblock_3"]);
  const svg = readFileSync(at("routes.svg"), "utf8");
  for (const { map } of routes) {
    // Nine patches after the class token.
    expect(map.map((image) => image.length)).toEqual([10, 10]);
  }
  const titles = [...svg.matchAll(/<title>(dropped|expert \d+)<\/title>/g)].map(([, title]) => title);
  const patches = [0, 1].flatMap((image) => routes.flatMap(({ map }) => map[image]!.slice(1)));
  expect(titles).toEqual(patches.map((expert) => (expert < 0 ? "dropped" : `expert ${expert}`)));
  expect([...svg.matchAll(/href="data:image\/jpeg;base64,/g)]).toHaveLength(2);
  const { width, height } = await sharp(at("routes.svg")).metadata();
  expect(svg).toContain(`width="${width}" height="${height}"`);
});

test("another router takes over the model's capacities", async () => {
  const args = [at("tiny.json"), ...photos, "--size", "12", "--backend", "reference"];
  const router = "NoisyTopItemsPerExpertRouter";
  const report = await json("route", ...args, "--router", router);
  expect(report).toMatchObject({ router });
  // ceil(20 tokens * 0.4 / 4 experts) = 2, raised to a multiple of 4: every expert fills its slots.
  expect(report["routes"]?.[0]).toMatchObject({ capacity: 4, loads: [4, 4, 4, 4] });
});

test("names in titles are text", async () => {
  writeFileSync(at('a<b>&".json'), JSON.stringify(config));
  const { code } = await moec("route", at('a<b>&".json'), ...trained.slice(1), "--svg", at("t.svg"));
  expect(code).toBe(0);
  expect(readFileSync(at("t.svg"), "utf8")).toContain("a&lt;b&gt;&amp;&quot;.json");
});

test.each([
  ["an unknown router", [...trained, "--router", "MagicRouter", "--svg", at("x.svg")], "MagicRouter"],
  ["a dense model", ["vit-s32", ...photos, "--router", "NoisyTopExpertsPerItemRouter"], "--router"],
  ["a folder that is not there", [...trained, "--svg", at("no/x.svg")], "no/x.svg"],
])("%s: exit code 2, one line, no picture", async (_, args, named) => {
  const { code, stdout, stderr } = await moec("route", ...args);
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  expect(stderr).toContain(named);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(existsSync(at("x.svg"))).toBe(false);
});
