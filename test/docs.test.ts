/** The documents: generated pages are fresh, letters are in the glossary, links lead somewhere, how-tos run. */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { expect, test } from "vitest";

import { opset } from "../ir/index.ts";
import { opsPage } from "../scripts/opsPage.ts";
import { routersPage } from "../scripts/routersPage.ts";
import { weightsPage } from "../scripts/weightsPage.ts";
import { blocksOf } from "./support/blocks.ts";
import { copyInto, linkModules, root, temporaryFolder } from "./support/folder.ts";

const docs = join(root, "docs");
const pages = readdirSync(docs, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".md"));
const page = (name: string): string => readFileSync(join(docs, name), "utf8");

test.each([
  ["ops.md", opsPage],
  ["routers.md", routersPage],
  ["weights.md", weightsPage],
])("docs/%s is what npm run docs writes", (name, written) => {
  expect(page(name)).toBe(written());
});

test("every letter of every signature is in the glossary", () => {
  const known = new Set(
    [...page("glossary.md").matchAll(/^\| (`[A-Z`, ]+) \|/gm)].flatMap(
      ([, cell = ""]) => cell.match(/[A-Z]/g) ?? [],
    ),
  );
  const used = [...opset.values()].flatMap((op) =>
    [...op.operands, ...op.results].flatMap((slot) =>
      slot.axes.flatMap((axis) => (axis.kind === "axis" ? [axis.name] : [])),
    ),
  );
  const letters = used.filter((name) => /^[A-Z]$/.test(name));
  expect(letters.filter((letter) => !known.has(letter))).toEqual([]);
  expect(used.filter((name) => /^[A-Z]./.test(name))).toEqual([]);
});

test("links lead somewhere", () => {
  const dead = [...pages.map((name) => join("docs", name)), "README.md"].flatMap((name) => {
    const text = readFileSync(join(root, name), "utf8");
    const links = [...text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(([, path = ""]) => path);
    return links
      .filter((path) => !existsSync(join(root, dirname(name), path)))
      .map((path) => `${name}: ${path}`);
  });
  expect(dead).toEqual([]);
});

/** What a module prints, run in `folder`; the package refers to itself by name, from inside. */
function printedBy(code: string, folder: string): string {
  const file = join(root, "dist", `example-${process.pid}.js`);
  // Dawn would keep the process.
  writeFileSync(file, `${code}\nprocess.exit(0);\n`);
  try {
    return execFileSync(process.execPath, [file], { cwd: folder, stdio: "pipe" }).toString();
  } finally {
    rmSync(file);
  }
}

test("the README's library example runs as it is written", () => {
  const code = blocksOf(readFileSync(join(root, "README.md"), "utf8")).find(
    ({ language }) => language === "ts",
  );
  expect(printedBy(code!.text, root)).toBe("[ 1, 1000 ] 8\n");
});

test("library.md runs as it is written, and prints what it says", () => {
  const folder = temporaryFolder("library");
  cpSync(join(root, "test", "fixtures"), join(folder, "photos"), { recursive: true });
  const blocks = blocksOf(page("library.md"));
  const examples = blocks.flatMap(({ language, text }, i) =>
    language === "ts" ? [[text, blocks[i + 1]?.text]] : [],
  );
  expect(examples).toHaveLength(4);
  for (const [code, printed] of examples) expect(printedBy(code!, folder)).toBe(printed);
});

/** Applies lines of a diff: those with a space must stand in the file, in order; those with a plus follow them. */
function patched(text: string, diff: string): string {
  const lines = text.split("\n");
  let at = 0;
  for (const line of diff.split("\n").filter(Boolean)) {
    if (line.startsWith("+")) lines.splice(at++, 0, line.slice(1));
    else {
      const found = lines.indexOf(line.slice(1), at);
      if (found < 0) throw new Error(`no line ${JSON.stringify(line.slice(1))}`);
      at = found + 1;
    }
  }
  return lines.join("\n");
}

/** What the how-tos change, compile and test. */
const packageSources = [
  "ir",
  "files",
  "passes",
  "runtime",
  "backends",
  "models",
  "inference",
  "cli",
  "test",
  "docs",
  "scripts",
  "testing",
  "index.ts",
  "node.ts",
  "package.json",
  "tsconfig.json",
  "tsconfig.build.json",
  "vitest.config.ts",
];

/** What is added to the package; a router may stand outside, see test/published.test.ts. */
const howTos = pages.filter((name) => name.startsWith("adding-") && name !== "adding-a-router.md");

test.each(howTos)("%s runs as it is written", { timeout: 300_000 }, (name) => {
  const folder = temporaryFolder("docs");
  copyInto(folder, packageSources);
  linkModules(folder);
  const made: string[] = [];
  let lines = 0;
  for (const { language, file, text } of blocksOf(page(name))) {
    if (language === "sh") {
      for (const command of text.trim().split("\n")) {
        execFileSync("sh", ["-c", command], {
          cwd: folder,
          stdio: "pipe",
          env: { ...process.env, CI: "1" },
        });
      }
    } else if (file !== undefined) {
      const path = join(folder, file);
      mkdirSync(dirname(path), { recursive: true });
      if (language === "diff") {
        writeFileSync(path, patched(readFileSync(path, "utf8"), text));
        lines += text.split("\n").filter((line) => /^\+(?!import)/.test(line)).length;
      } else {
        writeFileSync(path, text, { flag: "wx" });
        if (language === "ts") made.push(file);
      }
    }
  }
  // What an addition costs: one file and one line, besides its import.
  expect(made).toHaveLength(1);
  expect(lines).toBe(1);
  execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "--noEmit"], {
    cwd: folder,
    stdio: "pipe",
  });
});
