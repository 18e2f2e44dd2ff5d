/** Routers of the user's own: `--plugin` and `ModelOptions.routers`, and one line for every plugin that is wrong. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { afterAll, expect, test } from "vitest";

import { createModel, defineRouter, type Json, mergeConfig, routers } from "../models/index.ts";
import { json, moec } from "./support/cli.ts";
import { expectOneLine } from "./support/errors.ts";
import { tinyVmoe } from "./support/golden.ts";

// No package.json and no node_modules is above it: plugins find moec all the same.
const folder = mkdtempSync(join(tmpdir(), "moec-plugins-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Writes a file of the user's, and says where. */
function write(name: string, text: string): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}

const withRouter = (name: string): Json =>
  mergeConfig(tinyVmoe().cases.get("bpr_C0.4")!.config, { encoder: { moe: { router: { name } } } });
const config = write("config.json", JSON.stringify(withRouter("mine")));
const spec = `{ name: "mine", summary: "Mine.", gates: "sigmoid", options: { sharpness } }`;
write("lib/sharpness.ts", "export const sharpness: number = 2;\n");
const typed = write(
  "typed.ts",
  `import { defineRouter, type Router } from "moec";
import { routers } from "moec/models";
import { sharpness } from "./lib/sharpness.ts";
if (routers.size === 0) throw new Error("another copy of moec");
export const mine: Router = defineRouter(${spec});
`,
);
const plain = write(
  "plain.js",
  `import { defineRouter } from "moec";
const sharpness = 2;
export default [defineRouter(${spec})];
`,
);

test.each([
  ["TypeScript, by name", typed],
  ["JavaScript, by default", plain],
])("a router of the user's own in %s runs, exports and agrees everywhere", async (_, plugin) => {
  const own = [config, "--plugin", plugin];
  expect((await json("inspect", ...own))["router"]).toMatchObject({ name: "mine" });
  const { comparisons } = await json("verify", ...own, "--size", "12", "--batch", "4");
  expect(comparisons).toMatchObject(
    ["webgpu", "onnx", "reference"].map((backend) => ({ backend, routingEqual: true, ok: true })),
  );
  const output = join(folder, "mine.onnx");
  const summary = await json("export", ...own, "--to", "onnx", "-o", output, "--size", "12");
  expect(summary["files"]).toEqual([output, `${output}.data`]);
});

test("without its plugin the router is not there", async () => {
  const { code, stderr } = await moec("inspect", config);
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: expect.stringContaining("router mine is not built") as string,
  });
});

test("moec routers lists what there is, and what a plugin adds", async () => {
  const named = (await json("routers", "--plugin", typed)) as unknown as { name: string }[];
  expect(named.map(({ name }) => name)).toEqual([...routers.keys(), "mine"]);
  const mine = { name: "mine", summary: "Mine.", contract: { ties: "lower expert first" } };
  expect(named.at(-1)).toMatchObject(mine);
  const { stdout, code } = await moec("routers");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^NoisyTopExpertsPerItemRouter\n {2}Each token .*\n {2}compares {2}gates, /);
});

test("a library's caller passes routers to createModel", () => {
  const mine = defineRouter({ name: "mine", summary: "Mine." });
  expect(createModel(withRouter("mine"), { routers: [mine] }).router?.name).toBe("mine");
  const taken = defineRouter({ name: "NoisyTopExpertsPerItemRouter", summary: "" });
  for (const own of [[], [mine, mine], [mine, taken]]) {
    let error: unknown;
    try {
      createModel(withRouter("mine"), { routers: own });
    } catch (thrown) {
      error = thrown;
    }
    expect(expectOneLine(error).code).toBe("M2");
  }
});

const wrong: readonly (readonly [what: string, path: string, named: string])[] = [
  ["a missing file", join(folder, "none.ts"), "no such file"],
  ["a folder", folder, "no such file"],
  ["broken TypeScript", write("broken.ts", "\nconst x: number = ;\n"), "broken.ts:2: Expression expected"],
  ["broken JavaScript", write("broken.js", "const x = ;\n"), "SyntaxError"],
  ["TypeScript that is more than types", write("enum.ts", "export enum A { B }\n"), "enum.ts:1: "],
  ["no router", write("none.js", "export const x = { name: 'mine' };\n"), "exports no router"],
  ["a throw of several lines", write("throws.ts", 'throw new TypeError("no\\nway");\n'), "TypeError: no"],
  ["a throw of what is no error", write("odd.mjs", 'throw "odd";\n'), "odd"],
  ["an import of what is not there", write("gone.ts", 'import "./nowhere.ts";\n'), "nowhere.ts"],
  ["an export that moec has not", write("far.ts", 'import { far } from "moec";\n'), "far"],
  [
    "the name of a shipped router",
    write("taken.js", plainRouter("NoisyTopExpertsPerItemRouter")),
    "NoisyTopExpertsPerItemRouter: the name is taken",
  ],
];

function plainRouter(name: string, more = ""): string {
  return `import { defineRouter } from "moec";\nexport default defineRouter({ name: "${name}", summary: "", ${more} });\n`;
}

test.each(wrong)("%s: exit code 2, one line", async (_, path, named) => {
  const { code, stdout, stderr } = await moec("inspect", config, "--plugin", path);
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  expect(stderr).toContain(named);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
});
