/** A ViT-S of random weights is the same in every format and from every source; and files larger than 4 GB are read by range. */
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, describe, expect, test } from "vitest";

import { onnx } from "../../backends/onnx/runtime.ts";
import { type ByteSource, memorySource } from "../../files/bytes.ts";
import { Tensor, type WeightSource } from "../../ir/index.ts";
import { createModel, type Json, mergeConfig, presets, probing, randomWeights } from "../../models/index.ts";
import { headOf } from "../../models/weights/configure.ts";
import { matchWeights } from "../../models/weights/match.ts";
import { npyHeader } from "../../models/weights/npy.ts";
import { openWeights } from "../../models/weights/open.ts";
import { readWeights } from "../../models/weights/read.ts";
import { writeSafetensors } from "../../models/weights/safetensors.ts";
import { huggingFace } from "../../models/weights/sources/huggingFace.ts";
import { jax } from "../../models/weights/sources/jax.ts";
import type { Source } from "../../models/weights/sources/source.ts";
import { timm } from "../../models/weights/sources/timm.ts";
import { vmoe } from "../../models/weights/sources/vmoe.ts";
import { flax, npz, savedBy, sourceOf, zipDirectory, zipLocal } from "../support/foreign.ts";

const depth = process.env["MOEC_NIGHTLY"] ? 12 : 1;
const imageSize = [224, 224] as const;
const preset = presets.get("vit-s16")!;
const config = mergeConfig(preset, { encoder: { num_layers: depth } });
const { parameters } = createModel(config, { imageSize });
const drawn = randomWeights(probing(parameters), 7);
const original = new Map<string, Tensor>();
for (const name of drawn.tensors.keys()) original.set(name, await drawn.read(name));
const weights = sourceOf(original);

type Tensors = ReadonlyMap<string, Tensor>;

async function safetensors(tensors: Tensors): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  await writeSafetensors(sourceOf(tensors), (bytes) => Promise.resolve(void parts.push(bytes.slice())));
  return new Uint8Array(Buffer.concat(parts));
}

const prefixed = (prefix: string, tensors: Tensors): Tensors =>
  new Map([...tensors].map(([name, tensor]) => [prefix + name, tensor]));

/** The model in files: by whom, in which format, and written how. */
const files: readonly (readonly [Source, string, (tensors: Tensors) => Uint8Array | Promise<Uint8Array>])[] =
  [
    [vmoe, "safetensors", safetensors],
    [jax, ".npz", (tensors) => npz(tensors, false)],
    [jax, "deflated .npz of a training run", (tensors) => npz(prefixed("opt/target/", tensors), true)],
    [jax, "msgpack", (tensors) => flax(tensors)],
    [vmoe, "msgpack in pieces", (tensors) => flax(prefixed("params/", tensors), 100_000)],
    [timm, "safetensors", safetensors],
    [huggingFace, "safetensors", safetensors],
  ];

const engine = await onnx().open();
afterAll(() => engine.close());
const image = Tensor.of("f32", [1, ...imageSize, 3], (_, y, x, c) => Math.sin(y * 0.1 + x * 0.07 + c));

async function logitsOf(source: WeightSource, said: Json): Promise<Float32Array> {
  const model = createModel(mergeConfig(said, config), { imageSize });
  const program = await engine.compile(model.graph, matchWeights(model.parameters, source, "file"), {
    outputs: ["logits"],
  });
  const outputs = await program.run(new Map([["image", image]]));
  program.dispose();
  return outputs.get("logits")!.numbers() as Float32Array;
}

describe("a random ViT-S", () => {
  test.each(files)("of $name as %s", async (source, _, write) => {
    const bytes = await write(await savedBy(source, weights));
    let most = 0;
    const file: ByteSource = { ...memorySource("file", bytes) };
    const counted: ByteSource = {
      ...file,
      read(offset, length) {
        most = Math.max(most, length);
        return file.read(offset, length);
      },
    };
    const read = await readWeights(counted);
    expect(read.origin).toBe(source.name);
    expect(read.config).toEqual(source.config);
    expect(headOf(read)).toEqual({ num_classes: 1000, representation_size: null });
    const matched = matchWeights(parameters, read, "file");
    for (const { name } of parameters) {
      expect(Buffer.compare((await matched.read(name)).bytes, original.get(name)!.bytes), name).toBe(0);
    }
    // Rows, and those alone.
    const mlp = "Encoder/encoderblock_0/Mlp/Dense_1/kernel";
    most = 0;
    expect((await matched.read(mlp, [700, 703])).data).toEqual((await weights.read(mlp, [700, 703])).data);
    expect(most).toBeLessThanOrEqual(source.rows.some(([, , layout]) => layout) ? 4 * 384 * 1536 : 2 ** 16);
    const [got, want] = [await logitsOf(read, read.config), await logitsOf(weights, source.config)];
    expect(Math.max(...got.map((v, i) => Math.abs(v - want[i]!)))).toBeLessThanOrEqual(1e-5);
  });
});

describe("an archive of more than 4 GB", () => {
  const folder = mkdtempSync(join(tmpdir(), "moec-npz-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  test("is read by range, members beyond 4 GB too", async () => {
    const path = join(folder, "big.npz");
    const shape = [1_100_000, 1024];
    const head = npyHeader(shape);
    const size = head.length + 4 * shape[0]! * shape[1]!;
    const big = { name: "big.npy", method: 0, compressed: size, size, offset: 0 } as const;
    const local = zipLocal(big);
    const small = {
      name: "small.npy",
      method: 0,
      compressed: 132,
      size: 132,
      offset: local.length + size,
    } as const;
    const end = small.offset + zipLocal(small).length + small.size;
    const file = openSync(path, "w");
    // What is not written is zeros that take no place on the disk.
    writeSync(file, Buffer.concat([local, head]), 0, undefined, 0);
    writeSync(file, Buffer.from(Float32Array.of(5, 6).buffer), 0, 8, local.length + size - 8);
    writeSync(
      file,
      Buffer.concat([zipLocal(small), npyHeader([1]), Buffer.from(Float32Array.of(9).buffer)]),
      0,
      undefined,
      small.offset,
    );
    writeSync(file, zipDirectory([big, small], end), 0, undefined, end);
    closeSync(file);
    const source = await openWeights(path);
    expect(source.tensors.get("big")).toEqual({ dtype: "f32", shape });
    const rows = await source.read("big", [shape[0]! - 1, shape[0]!]);
    expect(Array.from(rows.data.slice(-3))).toEqual([0, 5, 6]);
    expect((await source.read("small")).data).toEqual(Float32Array.of(9));
    await source.close();
  });
});
