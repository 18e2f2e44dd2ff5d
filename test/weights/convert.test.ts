/** `moec convert` and `moec diff`, as users meet them: what is written, what it costs, and what is left when they are killed. */
import { spawn } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  existsSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { Tensor } from "../../ir/index.ts";
import { castTo } from "../../models/weights/cast.ts";
import { openWeights } from "../../models/weights/open.ts";
import { json, moec, moecIn } from "../support/cli.ts";
import { goldenPath } from "../support/golden.ts";

const folder = mkdtempSync(join(tmpdir(), "moec-convert-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const golden = (name: string): string => goldenPath(`weights/${name}`);

const { config } = JSON.parse(readFileSync(golden("vit.json"), "utf8")) as { config: unknown };
writeFileSync(at("vit.json"), JSON.stringify(config));

const isNightly = Boolean(process.env["MOEC_NIGHTLY"]);

/** A safetensors file of zeros without bytes on the disk: square matrices of `side`, by names of timm that make every other one transposed. */
function zeros(path: string, matrices: number, side: number): void {
  const bytes = 4 * side * side;
  const names = Array.from({ length: matrices }, (_, i) =>
    i % 2 ? `blocks.${i}.mlp.fc1.weight` : `others.${i}`,
  );
  const entries = names.map((name, i) => [
    name,
    { dtype: "F32", shape: [side, side], data_offsets: [i * bytes, (i + 1) * bytes] },
  ]);
  // What tells a file of timm's.
  entries.push(["blocks.0.attn.qkv.weight", { dtype: "F32", shape: [0, 0], data_offsets: [0, 0] }]);
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(header.length));
  const file = openSync(path, "w");
  writeSync(file, Buffer.concat([prefix, header]));
  ftruncateSync(file, 8 + header.length + matrices * bytes);
  closeSync(file);
}

describe("moec convert", () => {
  test("writes every source's tensors under our names, and what a configuration must say", async () => {
    const said = { encoder: { gelu: "none", layer_norm_epsilon: 1e-12 } };
    const facts = await json("convert", golden("hf.safetensors"), "-o", at("hf.safetensors"));
    expect(facts).toMatchObject({ origin: "hugging-face", tensors: 40, parameters: 5525, bytes: 4 * 5525 });
    const [given, written] = [
      await openWeights(golden("hf.safetensors")),
      await openWeights(at("hf.safetensors")),
    ];
    expect(written.config).toEqual(said);
    expect(written.origin).toBe("vmoe");
    expect(written.tensors).toEqual(given.tensors);
    for (const name of given.tensors.keys()) expect(await written.read(name)).toEqual(await given.read(name));
    await Promise.all([given.close(), written.close()]);
  });

  test("rounds, and takes the shapes of a model that it fits", async () => {
    const options = ["--model", at("vit.json"), "--dtype", "bf16"];
    await json("convert", golden("timm.safetensors"), "-o", at("bf16.safetensors"), ...options);
    await json(
      "convert",
      golden("timm-bf16.safetensors"),
      "-o",
      at("again.safetensors"),
      ...options.slice(0, 2),
    );
    const written = await openWeights(at("bf16.safetensors"));
    expect(written.tensors.get("Encoder/encoderblock_0/SelfAttention/out/kernel")).toEqual({
      dtype: "bf16",
      shape: [2, 8, 16],
    });
    await written.close();
    expect(readFileSync(at("bf16.safetensors"))).toEqual(readFileSync(at("again.safetensors")));
  });

  test("refuses what does not fit, naming what is missing, misshapen and stray", async () => {
    const set = ["--set", "encoder.num_layers=3", "--set", "num_classes=7", "--set", "classifier=gap"];
    const { code, stderr } = await moec(
      "convert",
      golden("timm.safetensors"),
      "-o",
      at("no.safetensors"),
      "--model",
      at("vit.json"),
      ...set,
    );
    expect(code).toBe(2);
    for (const part of [
      "Encoder/encoderblock_2/LayerNorm_0/scale is missing",
      "head/kernel is [16, 5], not [16, 7]",
      "cls is not a parameter",
      "; and 13 more [W2]\n",
    ])
      expect(stderr).toContain(part);
    expect(readdirSync(folder).filter((name) => name.startsWith("no"))).toEqual([]);
  });

  test("refuses numbers that the type cannot hold", async () => {
    const tensor = Tensor.from({ dtype: "f32", shape: [3] }, [1, Number.POSITIVE_INFINITY, -7e4]);
    const source = {
      tensors: new Map([["x", tensor.type]]),
      read: () => Promise.resolve(tensor),
      close: async () => undefined,
    };
    await expect(castTo(source, "f16", "file").read("x")).rejects.toThrow(
      "file: tensor x has -70000, too large for f16 [W3]",
    );
    expect(Array.from((await castTo(source, "bf16", "file").read("x")).numbers())).toEqual([
      1,
      Infinity,
      -70144,
    ]);
  });

  test("takes memory for a part of a file, and leaves nothing under the name when it is killed", async () => {
    const [input, output] = [at("zeros.safetensors"), at("big.safetensors")];
    const [matrices, side] = isNightly ? [16, 8192] : [4, 4096];
    zeros(input, matrices, side);
    copyFileSync(golden("timm.safetensors"), output);
    const before = readFileSync(output);
    const main = join(import.meta.dirname, "..", "..", "dist", "cli", "main.js");
    for (const signal of ["SIGKILL", "SIGTERM"] as const) {
      const child = spawn(process.execPath, [main, "convert", input, "-o", output, "--dtype", "f16"]);
      const ended = new Promise((resolve) => child.on("exit", (_, by) => resolve(by)));
      const partial = `${output}.${child.pid}.tmp`;
      const written = (): number => statSync(partial, { throwIfNoEntry: false })?.size ?? 0;
      while (written() < 2 ** 24 && child.exitCode === null)
        await new Promise((resolve) => setTimeout(resolve, 2));
      child.kill(signal);
      expect(await ended).toBe(signal);
      expect(written()).toBeLessThan(2 * matrices * side ** 2);
      expect(readFileSync(output)).toEqual(before);
      // Who is killed cannot tidy up.
      expect(existsSync(partial)).toBe(signal === "SIGKILL");
      rmSync(partial, { force: true });
    }

    const report = "process.on('exit',()=>console.error('maxrss',process.resourceUsage().maxRSS))";
    const env = {
      ...process.env,
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(report)}`,
    };
    const { code, stderr } = await moecIn(env, ["convert", input, "-o", output, "--dtype", "f16"]);
    expect(code, stderr).toBe(0);
    const kibibytes = Number(/maxrss (\d+)/.exec(stderr)?.[1]);
    expect(kibibytes).toBeGreaterThan(2 ** 15);
    expect(kibibytes).toBeLessThan((isNightly ? 600 : 350) * 1000);
    expect(statSync(output).size).toBeGreaterThan(2 * matrices * side ** 2);
    rmSync(output);
    rmSync(input);
  });
});

describe("moec diff", () => {
  test("says of every tensor how far two files are apart", async () => {
    const [a, b] = [golden("old.npz"), golden("flax.msgpack")];
    const { stdout, code } = await moec("diff", a, b);
    expect([code, stdout]).toEqual([0, "all 40 tensors are equal\n"]);
    const apart = await moec("diff", golden("timm.safetensors"), golden("hf.safetensors"));
    expect(apart.code).toBe(1);
    expect(apart.stdout).toMatch(/^a asks for .*0.000001.*, b for .*1e-12.*\n40 of 40 tensors are equal\n$/);
  });

  test("names what is missing, extra, of another shape, type or value", async () => {
    const { code, stdout } = await moec("diff", golden("timm.safetensors"), golden("training.npz"), "--json");
    expect(code).toBe(1);
    const { tensors } = JSON.parse(stdout) as { tensors: Record<string, unknown>[] };
    const of = (name: string): unknown => tensors.find((each) => each["name"] === name);
    expect(of("head/bias")).toMatchObject({ verdict: "dtype", a: { dtype: "f32" }, b: { dtype: "bf16" } });
    expect(of("Encoder/encoderblock_1/SelfAttention/value/bias")).toMatchObject({
      verdict: "shape",
      relativeError: expect.closeTo(0.0015, 3) as number,
    });
    const none = await moec("diff", golden("old.npz"), goldenPath("mini"));
    expect(none.stdout).toMatch(/^cls +missing +f32\[1, 1, 16\]\n/m);
    expect(none.stdout).toMatch(/^x +extra +f32\[5\]\n/m);
    expect(none.stdout).toContain("0 of 42 tensors are equal");
  });
});
