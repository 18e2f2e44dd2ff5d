/** The arrows between folders are the architecture; and what a browser loads is free of Node. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";

import { describe, expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");

/** What each folder may import, besides itself. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  ir: [],
  files: ["ir"],
  passes: ["ir"],
  models: ["ir", "files"],
  runtime: ["ir"],
  backends: ["ir", "files", "passes", "runtime"],
  inference: ["ir", "files", "passes", "models", "backends"],
  cli: ["ir", "files", "passes", "models", "runtime", "backends", "inference"],
  testing: ["ir", "passes", "models", "backends"],
  scripts: ["ir", "files", "passes", "models", "backends", "cli"],
  bench: ["ir", "files", "passes", "models", "backends", "runtime", "cli"],
};

/** Packages, and the only places that may import them. */
const owners: Readonly<Record<string, readonly string[]>> = {
  webgpu: ["backends/webgpu/dawn.ts"],
  "onnx-proto": ["backends/onnx/proto.ts"],
  "onnxruntime-node": ["backends/onnx/runtime.ts"],
  "@tensorflow/tfjs-core": ["bench/tfjs.ts"],
  "@tensorflow/tfjs-backend-webgpu": ["bench/tfjs.ts"],
  sharp: ["inference/photographs.ts"],
  tinyglobby: ["cli/pictures.ts"],
  commander: ["cli/main.ts", "cli/options.ts", "cli/commands/", "bench/measure.ts"],
  "cli-progress": ["cli/progress.ts"],
  zod: ["backends/webgpu/targetFile.ts", "models/"],
  "fast-check": ["testing/"],
  "@swc/wasm-typescript": ["cli/hooks.ts"],
  "@msgpack/msgpack": ["models/weights/vmoe/"],
};

const sources = (folder: string): string[] =>
  existsSync(join(root, folder))
    ? readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
        .filter((file) => file.endsWith(".ts"))
        .map((file) => join(folder, file))
    : [];

interface Import {
  readonly file: string;
  readonly path: string;
}

const importsOf = (file: string): Import[] => {
  const text = readFileSync(join(root, file), "utf8");
  return [...text.matchAll(/(?:\bfrom|\bimport\(|^import) ?"([^"]+)"/gm)].map(([, path = ""]) => ({
    file,
    path,
  }));
};

const target = ({ file, path }: Import): string => relative(root, resolve(root, file, "..", path));

test.each(Object.entries(mayImport))("%s imports only %j", (folder, allowed) => {
  const crossings = sources(folder)
    .flatMap(importsOf)
    .filter(({ path }) => path.startsWith("."))
    .filter((each) => ![folder, ...allowed].includes(target(each).split("/")[0] ?? ""));
  expect(crossings).toEqual([]);
});

test("each package has its place", () => {
  const all = Object.keys(mayImport).flatMap(sources).flatMap(importsOf);
  const bare = all.filter(({ path }) => !path.startsWith(".") && !path.startsWith("node:"));
  const strays = bare.filter(
    ({ file, path }) => !(owners[path] ?? []).some((place) => file.startsWith(place)),
  );
  expect(strays).toEqual([]);
});

/** Every file that `entry` reaches, dynamic imports included. */
function reached(entry: string): string[] {
  const seen = new Set([entry]);
  for (const file of seen) {
    for (const each of importsOf(file)) if (each.path.startsWith(".")) seen.add(target(each));
  }
  return [...seen];
}

describe.each(["index.ts", "backends/webgpu/index.ts", "backends/onnx/index.ts", "runtime/index.ts"])(
  "what a browser loads from %s",
  (entry) => {
    const files = reached(entry);

    test("imports neither Node nor packages for Node", () => {
      const nodeOnly = ["webgpu", "onnxruntime-node", "sharp", "tinyglobby", "commander", "cli-progress"];
      const found = files
        .flatMap(importsOf)
        .filter(({ path }) => path.startsWith("node:") || nodeOnly.includes(path));
      expect(found).toEqual([]);
      expect(files.length).toBeGreaterThan(5);
    });

    test("uses no global of Node's", () => {
      const used = files.filter((file) =>
        /\b(?:Buffer|process|__dirname|require)\b[.(]/.test(readFileSync(join(root, file), "utf8")),
      );
      expect(used).toEqual([]);
    });
  },
);

test("every file opens with a sentence that says what it is for", () => {
  const files = ["index.ts", "node.ts", ...Object.keys(mayImport).flatMap(sources), ...sources("test")];
  const silent = files.filter(
    (file) => !/^(?:#!.*\n)?\/\*\*?[ \n]/.test(readFileSync(join(root, file), "utf8")),
  );
  expect(silent).toEqual([]);
});

test("files are short enough to read", () => {
  const files = Object.keys(mayImport).flatMap(sources);
  const lines = files
    .map((file) => readFileSync(join(root, file), "utf8").split("\n").length)
    .toSorted((a, b) => a - b);
  expect(lines[Math.floor(lines.length / 2)]).toBeLessThanOrEqual(100);
  expect(lines[Math.floor(lines.length * 0.9)]).toBeLessThanOrEqual(250);
});
