/** Models loaded, compiled and run as a library: batches, results, and what stops. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import type { Engine } from "../../backends/backend.ts";
import { reference } from "../../backends/reference/index.ts";
import { batchesOf } from "../../inference/batches.ts";
import { compile, type ModelCompileOptions, type Program } from "../../inference/compile.ts";
import { load } from "../../inference/loaded.ts";
import * as node from "../../inference/node.ts";
import { Result } from "../../inference/result.ts";
import { Tensor, type WeightSource } from "../../ir/index.ts";
import { joinedRoutes, mergeConfig, presets, routesOf } from "../../models/index.ts";
import { expectOneLine } from "../support/errors.ts";
import { goldenPath, tinyVmoe } from "../support/golden.ts";
import { runs } from "../support/runs.ts";

const tiny = tinyVmoe();
const recordedCase = tiny.cases.get("bpr_C0.4")!;
/** Each image is a group of its own. */
const alone = mergeConfig(recordedCase.config, { encoder: { moe: { group_size: 10 } } });
const engine = await reference.open();

const program = async (batch: number, options: ModelCompileOptions = {}): Promise<Program> =>
  compile(load(alone, { weights: tiny.weights, batch }), { engine, ...options });

/** Images `start .. stop - 1` of the four recorded ones. */
const pictures = (start: number, stop: number): Tensor =>
  new Tensor(
    { dtype: "f32", shape: [stop - start, 12, 12, 3] },
    tiny.image.data.slice(start * 432, stop * 432),
  );

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** What `work` throws. */
const thrownBy = (work: () => Promise<unknown>): Promise<unknown> =>
  work().then(
    () => undefined,
    (error: unknown) => error,
  );

describe("batches", () => {
  test("are full, have every image once in order, and are filled up with those before", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 6 }),
        fc.integer({ min: 1, max: 4 }),
        async (chunks, size) => {
          let next = 0;
          // One number a pixel row: what the image is.
          const given = chunks.map((n) => Tensor.of("f32", [n, 1, 1, 3], () => Math.floor(next++ / 3)));
          const total = Math.floor(next / 3);
          const got = await all(batchesOf(given, [size, 1, 1, 3]));
          const ids = got.map(({ images }) => Array.from({ length: size }, (_, i) => images.at(i, 0, 0, 0)));
          const own = got.flatMap(({ count }, b) => ids[b]!.slice(0, count));
          expect(own).toEqual(Array.from({ length: total }, (_, i) => i));
          expect(got).toHaveLength(Math.ceil(total / size));
          const last = got.at(-1);
          if (!last) return;
          const missing = size - last.count;
          const filled = Array.from({ length: missing }, (_, i) =>
            total > size ? total - last.count - missing + i : i % last.count,
          );
          expect(ids.at(-1)!.slice(last.count)).toEqual(filled);
        },
      ),
      { numRuns: runs(80) },
    );
  });

  test("of other pictures are refused in one line", async () => {
    const wrong = Tensor.of("f32", [1, 12, 10, 3], () => 0);
    const error = await thrownBy(() => all(batchesOf([wrong], [2, 12, 12, 3])));
    expect(expectOneLine(error).message).toBe(
      "images: must be f32[n, 12, 12, 3]; got f32[1, 12, 10, 3] [B1]",
    );
  });
});

describe("results", () => {
  test("are the original's logits", async () => {
    const whole = await compile(load(recordedCase.config, { weights: tiny.weights, batch: 4 }), { engine });
    const { logits, count } = await whole.run(tiny.image);
    expect(count).toBe(4);
    expect(logits.type.shape).toEqual([4, 5]);
    const numbers = Array.from(logits.numbers());
    for (const [i, value] of recordedCase.logits.entries()) expect(numbers[i]).toBeCloseTo(value, 4);
  });

  test("name an image's best classes first, the lower first among equals", () => {
    const { model } = load(alone, { batch: 2 });
    const rows = [
      [1, 3, 3, -2, 0],
      [0, 0, 0, 0, 1e-3],
    ];
    const logits = Tensor.of("f32", [2, 5], (i, c) => rows[i]![c]!);
    const [first, second] = new Result(model, new Map([["logits", logits]]), 2).top(3);
    expect(first!.map((score) => score.class)).toEqual([1, 2, 0]);
    expect(second!.map((score) => score.class)).toEqual([4, 0, 1]);
    const total = rows[0]!.reduce((sum, v) => sum + Math.exp(v), 0);
    expect(first![0]!.probability).toBeCloseTo(Math.exp(3) / total, 6);
  });

  test("of a stream are those of its batches, however the images come", async () => {
    const [one, two] = [await program(1), await program(2)];
    const want = await Promise.all([0, 1, 2, 3].map((i) => one.run(pictures(i, i + 1))));
    const logits = want.flatMap((result) => Array.from(result.logits.numbers()));
    const best = want.flatMap((result) => result.top(2));
    for (const given of [
      [pictures(0, 4)],
      [0, 1, 2, 3].map((i) => pictures(i, i + 1)),
      [pictures(0, 3), pictures(3, 4)],
    ]) {
      const got = await all(two.stream(given));
      expect(got.flatMap((result) => Array.from(result.logits.numbers()))).toEqual(logits);
      expect(got.flatMap((result) => result.top(2))).toEqual(best);
      expect(joinedRoutes(got.map((result) => result.routes))).toEqual(
        joinedRoutes(want.map((result) => result.routes)),
      );
    }
  });

  test("say of joined runs what one run of all says", async () => {
    const [four, two] = [await program(4), await program(2)];
    const whole = await four.run(tiny.image);
    const joined = joinedRoutes((await all(two.stream([tiny.image]))).map((result) => result.routes));
    expect(joined).toEqual(routesOf(four.model, whole.outputs));
    expect(joined[0]!.dropped).toBeGreaterThan(0);
  });

  test("leave out what filled a batch up", async () => {
    const [three, four] = [await program(3), await program(4)];
    const [want, got] = [await three.run(pictures(0, 3)), await four.run(pictures(0, 3))];
    expect(got.count).toBe(3);
    expect(got.logits).toEqual(want.logits);
    expect(got.top()).toEqual(want.top());
    const tokens = (result: typeof got): unknown =>
      result.routes.map(({ map, dropped, choices, dropRate, expertsPerToken, unserved }) => ({
        map,
        dropped,
        choices,
        dropRate,
        expertsPerToken,
        unserved,
      }));
    expect(tokens(got)).toEqual(tokens(want));
    expect(got.routes[0]!.groups).toBe(4);
  });

  test("of runs at once are each its own, and no two are on the device together", async () => {
    let [busy, most] = [0, 0];
    const watched: Engine = {
      ...engine,
      async compile(...given) {
        const executable = await engine.compile(...given);
        return {
          ...executable,
          async run(inputs) {
            most = Math.max(most, ++busy);
            const outputs = await executable.run(inputs);
            busy--;
            return outputs;
          },
        };
      },
    };
    const one = await compile(load(alone, { weights: tiny.weights, batch: 1 }), { engine: watched });
    const apart = [];
    for (let i = 0; i < 4; i++) apart.push((await one.run(pictures(i, i + 1))).logits);
    const together = await Promise.all([0, 1, 2, 3].map((i) => one.run(pictures(i, i + 1))));
    expect(together.map(({ logits }) => logits)).toEqual(apart);
    expect(most).toBe(1);
  });

  test("say what was not asked for", async () => {
    const blocks = await program(1, { outputs: ["encoderblock_1/slots"] });
    const result = await blocks.run(pictures(0, 1));
    expect(() => result.logits).toThrow("logits was not among the outputs asked for");
    expect([...result.outputs.keys()]).toEqual(["encoderblock_1/slots"]);
  });

  test("are of as many images as fit, and of some", async () => {
    const two = await program(2);
    for (const count of [0, 3])
      expect(expectOneLine(await thrownBy(() => two.run(pictures(0, count)))).message).toBe(
        `images: must be 1 to 2 for one run; got ${count} [B1]`,
      );
    expect((await two.run(pictures(0, 1))).count).toBe(1);
    await two.close();
  });

  test("depend on inputs of their own", async () => {
    const { model, weights } = load(alone, { weights: tiny.weights, batch: 1, noise: true });
    const noisy = await compile({ model, weights }, { engine });
    const noise = (value: number): ReadonlyMap<string, Tensor> =>
      new Map(
        model.graph.inputs
          .slice(1)
          .map(({ leaf, type }) => [
            leaf!.name,
            Tensor.of(
              "f32",
              type.shape,
              (...index) => value * Math.sin(10 * index.reduce((a, b) => 7 * a + b, 0)),
            ),
          ]),
      );
    const images = [pictures(0, 1), pictures(0, 1), pictures(0, 1)];
    const got = await all(noisy.stream(images, { inputs: (batch) => noise(batch === 1 ? 50 : 0) }));
    const [a, b, c] = got.map(({ logits }) => Array.from(logits.numbers()));
    expect(a).toEqual(c);
    expect(a).not.toEqual(b);
    expect((await noisy.run(pictures(0, 1), { inputs: noise(50) })).logits).toEqual(got[1]!.logits);
  });
});

describe("an aborted signal", () => {
  const reason = new Error("enough");

  test("stops compiling, before it begins or at a weight", async () => {
    const late = new AbortController();
    let reads = 0;
    const counted: WeightSource = {
      ...tiny.weights,
      read(name, rows) {
        if (++reads === 5) late.abort(reason);
        return tiny.weights.read(name, rows);
      },
    };
    const loaded = load(alone, { weights: counted });
    expect(await thrownBy(() => compile(loaded, { engine, signal: AbortSignal.abort(reason) }))).toBe(reason);
    expect(reads).toBe(0);
    expect(await thrownBy(() => compile(loaded, { engine, signal: late.signal }))).toBe(reason);
    expect(reads).toBe(5);
  });

  test("stops a run amid its steps, and the program goes on", async () => {
    const stop = new AbortController();
    let steps = 0;
    const one = await program(1, {
      progress: (_, what) => {
        if (what === "running" && ++steps === 20) stop.abort(reason);
      },
    });
    expect(await thrownBy(() => one.run(pictures(0, 1), { signal: stop.signal }))).toBe(reason);
    expect(steps).toBe(20);
    expect((await one.run(pictures(0, 1))).count).toBe(1);
    expect(await thrownBy(() => one.run(pictures(0, 1), { signal: stop.signal }))).toBe(reason);
  });

  test("ends a stream, whose source is told", async () => {
    const stop = new AbortController();
    const one = await program(1);
    let closed = false;
    async function* endless(): AsyncGenerator<Tensor> {
      try {
        for (;;) yield pictures(0, 1);
      } finally {
        closed = true;
      }
    }
    let seen = 0;
    const work = async (): Promise<void> => {
      for await (const _ of one.stream(endless(), { signal: stop.signal }))
        if (++seen === 3) stop.abort(reason);
    };
    expect(await thrownBy(work)).toBe(reason);
    expect({ seen, closed }).toEqual({ seen: 3, closed: true });
    closed = false;
    for await (const _ of one.stream(endless())) break;
    expect(closed).toBe(true);
  });

  test("is not needed for a source to fail", async () => {
    async function* broken(): AsyncGenerator<Tensor> {
      yield pictures(0, 1);
      throw reason;
    }
    expect(await thrownBy(async () => all((await program(1)).stream(broken())))).toBe(reason);
  });
});

const grid = (size?: number | readonly [number, number]): unknown =>
  load(alone, { weights: tiny.weights, ...(size !== undefined && { size }) }).model.grid;

describe("loading", () => {
  test("by name and by file, in Node", async () => {
    const loaded = await node.load(alone, { weights: goldenPath("tiny_vmoe_ckpt"), batch: 2 });
    const onNode = await node.compile(loaded, { backend: "reference" });
    const [result] = await all(onNode.stream([pictures(0, 2)]));
    expect(result!.logits).toEqual((await (await program(2)).run(pictures(0, 2))).logits);
    expect(onNode.device).toBe("the reference interpreter");
    await onNode.close();
    await loaded.weights.close();
    expect((await node.load("vit-s32", { size: 64 })).model.grid).toMatchObject({ rows: 2, columns: 2 });
  });

  test("chooses a backend that does what it is asked, in Node", async () => {
    const loaded = load(alone, { weights: tiny.weights });
    const onNode = await node.compile(loaded, { provider: "abacus" });
    expect(onNode.device).not.toContain("ONNX Runtime");
    await onNode.close();
  });

  test("chooses the size that weights were made for, unless it is told", () => {
    expect(grid()).toMatchObject({ rows: 3, columns: 3 });
    expect(grid(20)).toMatchObject({ rows: 5, columns: 5 });
    expect(grid([8, 16])).toMatchObject({ rows: 2, columns: 4 });
    expect(load("vit-s32").model.grid).toMatchObject({ rows: 7, columns: 7 });
  });

  test("says in one line what is wrong", async () => {
    const wrong: readonly (readonly [() => Promise<unknown>, string])[] = [
      [async () => load("vit-xxl"), "vit-xxl: is no preset"],
      [
        async () => load(presets.get("vit-s32")!, { weights: tiny.weights, name: "tiny" }),
        "tiny: does not fit",
      ],
      [() => node.load("none.json"), "none.json: no such file"],
      [() => node.load("vit-xxl"), "vit-xxl: is neither a preset"],
      [() => node.load("vit-s32", { weights: "none.npz" }), "none.npz"],
      [() => node.load("vit-s32", { weights: goldenPath("tiny_vmoe_ckpt") }), "tiny_vmoe_ckpt: does not fit"],
      [async () => node.compile(load(alone), { backend: "abacus" }), "abacus: is no backend"],
    ];
    for (const [work, message] of wrong)
      expect(expectOneLine(await thrownBy(work)).message).toContain(message);
  });
});
