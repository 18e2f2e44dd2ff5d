/** `moec export`: files that ONNX Runtime runs to the original's logits, and one line for everything that is wrong. */
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { exportOnnx } from "../backends/onnx/export.ts";
import { withData } from "../backends/onnx/file.ts";
import { decodeModel, encodeModel, isExternal, nodeProto } from "../backends/onnx/proto.ts";
import { openModel } from "../backends/onnx/runtime.ts";
import { readNpy, writeNpy } from "../cli/npy.ts";
import { Tensor } from "../ir/index.ts";
import { createModel, presets } from "../models/index.ts";
import { json, moec } from "./support/cli.ts";
import { goldenPath, tinyVmoe } from "./support/golden.ts";

const folder = mkdtempSync(join(tmpdir(), "moec-export-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

const { image, cases } = tinyVmoe();
const { config, logits } = cases.get("bpr_C0.4")!;
writeFileSync(at("tiny.json"), JSON.stringify(config));

const tiny = [at("tiny.json"), "--weights", goldenPath("tiny_vmoe_ckpt"), "--to", "onnx"];

const images = (n: number): Tensor =>
  Tensor.of("f32", [n, 12, 12, 3], (b, y, x, c) => Math.sin(b + y * x + c));

async function expectLogits(path: string): Promise<ReadonlyMap<string, Tensor>> {
  const model = await openModel(path);
  const outputs = await model.run(new Map([["image", image]]));
  await model.close();
  const off = Array.from(outputs.get("logits")!.numbers(), (v, i) => Math.abs(v - logits[i]!));
  expect(Math.max(...off)).toBeLessThan(1e-5);
  return outputs;
}

test.each([
  ["functions", [], ["RouteByGate", "Dispatch", "Experts", "Combine"]],
  ["plain nodes", ["--inline"], []],
  ["nodes of the runtime's own", ["--contrib"], ["RouteByGate"]],
  ["the newest opset", ["--opset", "26"], ["RouteByGate", "Dispatch", "Experts", "Combine"]],
])("a checkpoint as %s", async (_, more, functions) => {
  const path = at("fixed.onnx");
  const summary = await json("export", ...tiny, "-o", path, "--batch", "4", ...more);
  expect(summary).toMatchObject({ functions, files: [path, `${path}.data`], batchMultiple: null });
  expect([...(await expectLogits(path)).keys()]).toEqual(["logits"]);
});

const knobs = (k: number, slots: number, order: number): Tensor =>
  Tensor.from({ dtype: "i32", shape: [3] }, [k, slots, order]);
const seatsOf = (outputs: ReadonlyMap<string, Tensor>): number =>
  outputs
    .get("encoderblock_1/tokens")!
    .numbers()
    .filter((token) => token >= 0).length;

test("a live file takes k, capacity and priority as inputs, and is a model again", async () => {
  const path = at("live.onnx");
  const args = ["export", ...tiny, "-o", path, "--batch", "2", "--dynamic-batch", "--live"];
  await json(
    ...args,
    "--outputs",
    "logits,encoderblock_1/slots,encoderblock_1/tokens,encoderblock_1/weights",
  );
  const model = await openModel(path);
  const ran = async (given: Tensor): Promise<ReadonlyMap<string, Tensor>> =>
    model.run(new Map([["image", image], ...[1, 3].map((b) => [`knobs/encoderblock_${b}`, given] as const)]));
  const whole = await ran(knobs(2, 4, 1));
  const off = Array.from(whole.get("logits")!.numbers(), (v, i) => Math.abs(v - logits[i]!));
  expect(Math.max(...off)).toBeLessThan(1e-5);
  expect(seatsOf(await ran(knobs(2, 1, 0)))).toBeLessThan(seatsOf(await ran(knobs(1, 4, 0))));
  await model.close();
  await writeNpy(at("live.npy"), image);
  const sweep = ["--sweep", "k=1,2", "--backend", "webgpu"];
  const { rows } = await json("run", path, "--input", at("live.npy"), ...sweep);
  expect(rows?.[1]).toMatchObject({ limits: [{ block: "encoderblock_1", k: 2, slots: 4 }] });
});

test("one file for any number of groups", async () => {
  const path = at("open.onnx");
  const args = ["export", ...tiny, "-o", path, "--batch", "2", "--dynamic-batch"];
  expect(await json(...args)).toMatchObject({ batchMultiple: 2 });
  await expectLogits(path);
  const model = await openModel(path);
  for (const n of [2, 6]) {
    const outputs = await model.run(new Map([["image", images(n)]]));
    expect(outputs.get("logits")!.type.shape).toEqual([n, 5]);
  }
  await expect(model.run(new Map([["image", images(3)]]))).rejects.toThrow(
    /^onnx \(cpu\): cannot run .*\[B4\]$/,
  );
  await model.close();
});

test.each(["onnx", "reference"])("a file of moec export is a model, by %s", async (backend) => {
  const path = at("again.onnx");
  await json("export", ...tiny, "-o", path, "--batch", "2", "--dynamic-batch", "--outputs", "all");
  await writeNpy(at("x.npy"), image);
  const args = ["--input", at("x.npy"), "--backend", backend, "--output", at("y.npy")];
  const report = await json("run", path, ...args);
  expect(report).toMatchObject({ weights: path });
  expect(report["routes"]).toHaveLength(2);
  const off = Array.from((await readNpy(at("y.npy"))).numbers(), (v, i) => Math.abs(v - logits[i]!));
  expect(Math.max(...off)).toBeLessThan(1e-5);
});

test("a file of moec export is inspected, printed and verified", async () => {
  const path = at("again.onnx");
  await json("export", ...tiny, "-o", path, "--batch", "4");
  expect(await json("inspect", path)).toMatchObject({ batch: 4, imageSize: [12, 12], tokens: 10 });
  expect((await moec("inspect", path, "--text")).stdout).toContain("route_top_experts(");
  const { comparisons } = await json("verify", path, "--backends", "onnx");
  expect(comparisons?.[0]).toMatchObject({ backend: "onnx", routingEqual: true, ok: true });
});

test.each([
  ["a batch that a file is not for", ["--input", at("three.npy")], "is for multiples of 2 images; got 3"],
  ["an override of a file's model", ["--input", at("x.npy"), "--set", "num_classes=7"], "--set"],
])("%s: exit code 2, one line", async (_, args, named) => {
  const path = at("again.onnx");
  await json("export", ...tiny, "-o", path, "--batch", "2", "--dynamic-batch");
  await writeNpy(at("x.npy"), image);
  await writeNpy(at("three.npy"), images(3));
  const { code, stderr } = await moec("run", path, ...args);
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  expect(stderr).toContain(named);
  expect(code).toBe(2);
});

test("broken files are one line that names them", async () => {
  const path = at("again.onnx");
  await json("export", ...tiny, "-o", path, "--batch", "4");
  const model = readFileSync(path);
  const foreign = { graph: { node: [nodeProto("NonZero", ["x"], ["y"])] }, opsetImport: [{ version: 21 }] };
  const broken: readonly (readonly [name: string, bytes: Uint8Array, named: string])[] = [
    ["cut.onnx", model.subarray(0, model.length / 2), "cut.onnx"],
    ["words.onnx", new TextEncoder().encode("only words"), "words.onnx"],
    ["foreign.onnx", encodeModel({ irVersion: 10, ...foreign }), "foreign.onnx"],
    [
      "escape.onnx",
      Buffer.from(model.toString("latin1").replaceAll("again.onnx.data", "../../etc/passwd"), "latin1"),
      "escape.onnx",
    ],
    [
      "gone.onnx",
      Buffer.from(model.toString("latin1").replaceAll("again.onnx.data", "later.onnx.data"), "latin1"),
      "later.onnx.data",
    ],
  ];
  for (const [name, bytes, named] of broken) {
    writeFileSync(at(name), bytes);
    const { code, stdout, stderr } = await moec("verify", at(name), "--backends", "onnx");
    expect(stderr, name).toMatch(/^error: [^\n]+\n$/);
    expect(stderr).toContain(named);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  }
  truncateSync(`${path}.data`, 1000);
  const { code, stderr } = await moec("verify", path, "--backends", "onnx");
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  expect(stderr).toContain("again.onnx.data");
  expect(code).toBe(2);
});

test("weights as float16, and arithmetic too", async () => {
  const path = at("half.onnx");
  const args = ["export", ...tiny, "-o", path, "--batch", "4", "--precision"];
  const single = await json(...args, "single");
  for (const precision of ["half-weights", "half"]) {
    const summary = await json(...args, precision);
    expect(Number(summary["weightBytes"]) / Number(single["weightBytes"])).toBeLessThan(0.53);
    const model = await openModel(path);
    const outputs = await model.run(new Map([["image", image]]));
    await model.close();
    const off = Array.from(outputs.get("logits")!.numbers(), (v, i) => Math.abs(v - logits[i]!));
    expect(Math.max(...off), precision).toBeLessThan(1e-2);
  }
});

describe("the experts as integers", () => {
  const trained = tiny.slice(0, 3);
  const stored = ["--quantize-experts", "int4"];

  const known = new Map<string, Float32Array>();

  /** The logits of the model itself with the options `narrow`. */
  async function narrowLogits(...narrow: string[]): Promise<Float32Array> {
    const key = narrow.join(" ");
    await writeNpy(at("x.npy"), image);
    const to = ["--input", at("x.npy"), "--backend", "reference", "--output", at("y.npy")];
    if (!known.has(key)) {
      await json("run", ...trained, ...narrow, ...to);
      known.set(key, (await readNpy(at("y.npy"))).numbers() as Float32Array);
    }
    return known.get(key)!;
  }

  test.each([
    ["functions", [], 1e-5],
    ["plain nodes of the newest opset", ["--inline", "--opset", "26"], 1e-5],
    ["an open batch, with knobs", ["--batch", "2", "--dynamic-batch", "--live"], 1e-5],
    ["nodes of the runtime's own, in the file itself", ["--contrib", "--embed"], 1e-5],
    ["float16 beside them", ["--precision", "half-weights"], 1e-5],
    ["float16 arithmetic", ["--precision", "half"], 1e-2],
  ])("in %s", async (_, more, allowed) => {
    const path = at("integers.onnx");
    const summary = await json("export", ...tiny, "-o", path, "--batch", "4", ...stored, ...more);
    expect(summary).toMatchObject({ quantizeExperts: "int4" });
    const narrow = more.includes("half-weights") ? [...stored, ...more] : stored;
    const want = await narrowLogits(...narrow);
    expect(Math.max(...want.map((v, i) => Math.abs(v - logits[i]!)))).toBeGreaterThan(1e-3);
    const model = await openModel(path);
    const inputs = new Map([["image", image]]);
    for (const name of model.inputs.slice(1)) inputs.set(name, knobs(2, 4, 1));
    const got = (await model.run(inputs)).get("logits")!.numbers();
    await model.close();
    expect(Math.max(...want.map((v, i) => Math.abs(v - got[i]!)))).toBeLessThan(allowed);
  });

  test.each([
    ["int8", "webgpu"],
    ["int4", "onnx"],
  ])("%s: the file is a model again, by %s", async (type, backend) => {
    const path = at("integers.onnx");
    const args = [...tiny, "-o", path, "--batch", "4", "--outputs", "all"];
    const whole = Number((await json("export", ...args))["weightBytes"]);
    const narrow = Number((await json("export", ...args, "--quantize-experts", type))["weightBytes"]);
    // Of 4 experts in each of 2 blocks, with matrices [16, 32] and [32, 16]: all rows of a column share a scale.
    const elements = 2 * 4 * 2 * 16 * 32;
    const scales = 2 * 4 * (32 + 16);
    expect(whole - narrow).toBe(4 * elements - elements / (type === "int8" ? 1 : 2) - 4 * scales);
    await writeNpy(at("x.npy"), image);
    await json("run", path, "--input", at("x.npy"), "--backend", backend, "--output", at("y.npy"));
    const got = (await readNpy(at("y.npy"))).numbers();
    const want = await narrowLogits("--quantize-experts", type);
    expect(Math.max(...want.map((v, i) => Math.abs(v - got[i]!)))).toBeLessThan(1e-5);
    const { comparisons } = await json("verify", path, "--backends", "onnx");
    expect(comparisons?.[0]).toMatchObject({ routingEqual: true, ok: true });
  });

  test("a model is verified with them", async () => {
    const args = ["verify", at("tiny.json"), "--size", "12", "--backends", "onnx", "--quantize-experts"];
    const ways = [["int8"], ["int4"], ["int4", "--precision", "half-weights"]];
    const errors: unknown[] = [];
    for (const way of ways) {
      const { comparisons } = await json(...args, ...way);
      expect(comparisons?.[0]).toMatchObject({ routingEqual: true, ok: true });
      errors.push(comparisons?.[0]?.["maxError"]);
    }
    // Programs of other weights have other errors.
    expect(new Set(errors).size).toBe(ways.length);
  });

  test("for people", async () => {
    const { stdout } = await moec(
      "export",
      ...tiny,
      "-o",
      at("integers.onnx"),
      ...stored,
      "--precision",
      "half-weights",
    );
    expect(stdout).toMatch(/^weights: .*, [\d.]+ MiB, float16, experts int4$/m);
  });
});

test("weights in the file itself, and every output", async () => {
  const path = at("whole.onnx");
  await json("export", ...tiny, "-o", path, "--batch", "4", "--embed", "--outputs", "all");
  expect(existsSync(`${path}.data`)).toBe(false);
  expect([...(await expectLogits(path)).keys()]).toContain("encoderblock_1/slots");
});

test("weights lie one after the other, large ones where they can be mapped into memory", () => {
  const { graph } = createModel(presets.get("vmoe-s32-last2-e8")!);
  const { model, dataBytes } = withData(exportOnnx(graph, { outputs: ["logits"] }), "weights");
  const tensors = decodeModel(model).graph!.initializer!.filter(isExternal);
  const entries = tensors.map(
    (tensor) => new Map(tensor.externalData!.map(({ key, value }) => [key, value])),
  );
  let end = 0;
  for (const [i, entry] of entries.entries()) {
    const [offset, length] = [Number(entry.get("offset")), Number(entry.get("length"))];
    expect(length).toBe(tensors[i]!.dims!.reduce((n, size) => n * Number(size), 4));
    expect(offset % (length >= 65_536 ? 65_536 : 64)).toBe(0);
    expect(offset).toBeGreaterThanOrEqual(end);
    expect(entry.get("location")).toBe("weights");
    end = offset + length;
  }
  expect(end).toBe(dataBytes);
  expect(tensors).toHaveLength(graph.select(["logits"]).weights.length);
});

test.each([
  ["another format", ["export", at("tiny.json"), "--to", "tflite", "-o", at("x.onnx")], "--to"],
  ["no file to write", ["export", at("tiny.json"), "--to", "onnx"], "--output"],
  ["an opset out of range", ["export", ...tiny, "-o", at("x.onnx"), "--opset", "30"], "opset"],
  [
    "integers in an old opset",
    ["export", ...tiny, "-o", at("x.onnx"), "--opset", "20", "--quantize-experts", "int8"],
    "opset",
  ],
  ["an unknown output", ["export", ...tiny, "-o", at("x.onnx"), "--outputs", "logits,grades"], "grades"],
  ["a folder that is not there", ["export", ...tiny, "-o", at("no/x.onnx")], "no/x.onnx"],
  [
    "weights too large for a message",
    ["export", "vmoe-b16-every2", "--to", "onnx", "--embed", "-o", at("x.onnx")],
    "embed",
  ],
  [
    "an open batch of groups that are not whole images",
    ["export", ...tiny, "-o", at("x.onnx"), "--batch", "2", "--group-size", "4", "--dynamic-batch"],
    "group size",
  ],
  [
    "missing weights",
    ["export", at("tiny.json"), "--weights", at("none"), "--to", "onnx", "-o", at("x.onnx")],
    "none",
  ],
])("%s: exit code 2, one line, no file", async (_, args, named) => {
  const before = readdirSync(folder);
  const { code, stdout, stderr } = await moec(...args);
  expect(stderr).toMatch(/^error: [^\n]+\n$/);
  expect(stderr).toContain(named);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(readdirSync(folder)).toEqual(before);
});
