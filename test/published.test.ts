/** The package as it is published: how-tos for its users run as they are written, in a folder of the user's own. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { blocksOf } from "./support/blocks.ts";
import { linkModules, root, temporaryFolder } from "./support/folder.ts";

const folder = temporaryFolder("published");
const modules = join(folder, "node_modules");

const run = (command: string): string =>
  execFileSync("sh", ["-c", command], {
    cwd: folder,
    stdio: "pipe",
    env: { ...process.env, CI: "1" },
  }).toString();

// As npm installs it, but for what it depends on, which is here already.
linkModules(folder, [".bin"]);
mkdirSync(join(modules, ".bin"));
const packed = execFileSync("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], {
  cwd: root,
  stdio: "pipe",
});
mkdirSync(join(modules, "moec"));
run(`tar -xzf ${packed.toString().trim().split("\n").at(-1)} -C node_modules/moec --strip-components 1`);
const main = join("moec", "dist", "cli", "main.js");
symlinkSync(join("..", main), join(modules, ".bin", "moec"));
chmodSync(join(modules, main), 0o755);
copyFileSync(join(root, "test", "fixtures", "coffee.png"), join(folder, "photo.jpg"));

test("docs/adding-a-router.md", { timeout: 300_000 }, () => {
  const printed: string[] = [];
  const made: string[] = [];
  for (const { language, file, text } of blocksOf(
    readFileSync(join(root, "docs", "adding-a-router.md"), "utf8"),
  )) {
    if (language === "sh") printed.push(...text.trim().split("\n").map(run));
    else if (file !== undefined) {
      writeFileSync(join(folder, file), text, { flag: "wx" });
      made.push(file);
    }
  }
  expect(made).toEqual(["my-router.ts", "config.json", "my-router.test.ts"]);
  const [listed, ran, drawn, verified, exported, tested] = printed;
  expect(printed).toHaveLength(6);
  expect(listed).toContain("\n\nTemperedRouter\n");
  expect(ran).toMatch(/encoderblock_1 {2}8 experts, capacity 16, dropped/);
  expect(drawn).toMatch(/encoderblock_1 {2}8 experts, capacity 16, dropped/);
  expect(readFileSync(join(folder, "routes.svg"), "utf8")).toContain("routed by TemperedRouter");
  expect(verified).toMatch(/webgpu .* equal +ok\nonnx .* equal +ok\nreference .* equal +ok/);
  expect(exported).toContain("config.json in model.onnx and model.onnx.data");
  expect(tested).toMatch(/# pass 13\n# fail 0\n/);
  expect(tested).toContain("onnx agrees with the reference");
  // What the author writes is typed by the package's declarations.
  const options =
    "--noEmit --strict --module nodenext --target es2023 --allowImportingTsExtensions --skipLibCheck";
  run(`node node_modules/typescript/bin/tsc ${options} --types node my-router.ts my-router.test.ts`);
});

/** Stands in for what a page has and Node lacks; chooses a file, and prints what the page then shows. */
const browser = `
import { readFileSync } from "node:fs";
import { create } from "webgpu";
const input = {};
const output = { set textContent(text) { console.log(text); process.exit(); } };
const pixels = (length) => Uint8ClampedArray.from({ length }, (_, i) => i % 256);
Object.defineProperty(globalThis, "navigator", { value: { gpu: create([]) } });
Object.assign(globalThis, {
  document: { querySelector: (name) => (name === "input" ? input : output) },
  fetch: async (path) => new Response(readFileSync(path)),
  createImageBitmap: async (file) => file,
  OffscreenCanvas: class {
    getContext = () => ({ drawImage() {}, getImageData: (x, y, w, h) => ({ data: pixels(4 * w * h) }) });
  },
});
await import("./page.js");
await input.onchange({ target: { files: ["photo.jpg"] } });
`;

test("docs/deploying.md", { timeout: 300_000 }, () => {
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  rmSync(join(folder, "config.json"), { force: true });
  const blocks = blocksOf(readFileSync(join(root, "docs", "deploying.md"), "utf8"));
  for (const { file, text } of blocks) {
    if (file !== undefined) writeFileSync(join(folder, file), text, { flag: "wx" });
  }
  const [compiled, classified] = blocks
    .filter(({ language }) => language === "sh")
    .flatMap(({ text }) => text.trim().split("\n").map(run));
  expect(compiled).toMatch(/^config.json for minimum in bundle, 1 image at a time\n/);
  expect(classified).toMatch(/ 10\n$/);
  const [, runtime = ""] =
    /"moec\/runtime": "\.\/([^"]+)"/.exec(readFileSync(join(folder, "index.html"), "utf8")) ?? [];
  expect(existsSync(join(folder, runtime))).toBe(true);
  writeFileSync(join(folder, "browser.js"), browser);
  expect(run("node browser.js")).toMatch(/^class \d\n$/);
});

test("moec/testing says that it needs fast-check", () => {
  rmSync(join(modules, "fast-check"));
  const code = 'import("moec/testing").catch((error) => console.log(error.message))';
  expect(run(`node -e '${code}'`)).toBe(
    "moec/testing needs fast-check; run npm install --save-dev fast-check\n",
  );
});
