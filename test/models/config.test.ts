/** Configurations as users of the original bring them, and what is wrong with one, by its key. */
import { expect, test } from "vitest";

import { Tensor, type WeightSource } from "../../ir/index.ts";
import {
  createModel,
  type Json,
  mergeConfig,
  type Model,
  parameterCount,
  parseOverride,
  presets,
  tokensOf,
} from "../../models/index.ts";
import { matchWeights } from "../../models/weights/match.ts";
import { expectOneLine } from "../support/errors.ts";
import { recorded, tinyVmoe } from "../support/golden.ts";

const tiny = tinyVmoe().cases.get("vanilla_C1.05")!.config;
const size = { batch: 4, imageSize: [12, 12] } as const;
const build = (patch: Json): ReturnType<typeof createModel> => createModel(mergeConfig(tiny, patch), size);

test.each([
  ["a.dotted.prefix.VisionTransformerMoe", { name: "a.dotted.prefix.VisionTransformerMoe" }],
  [
    "a dotted router",
    { encoder: { moe: { router: { name: "vmoe.nn.routing.NoisyTopExpertsPerItemRouter" } } } },
  ],
  [
    "keys that concern training",
    { deterministic: true, encoder: { dropout_rate: 0.1, moe: { deterministic: false } } },
  ],
  [
    "a TPU's partition",
    { encoder: { moe: { router: { dispatcher: { partition_spec: [["expert", "replica"]] } } } } },
  ],
  ["position_emb null", { encoder: { position_emb: null } }],
])("%s is taken", (_, patch) => {
  expect(() => build(patch)).not.toThrow();
});

test.each([
  [{ hiden_size: 16 }, "hiden_size: unknown key [M1]"],
  [
    { encoder: { moe: { router: { dispatcher: { capacity_facto: 1 } } } } },
    "encoder.moe.router.dispatcher.capacity_facto: unknown key [M1]",
  ],
  [{ encoder: { num_layers: "4" } }, "encoder.num_layers: expected number, received string [M1]"],
  [{ encoder: { num_layers: 1e9 } }, "encoder.num_layers: "],
  [{ patch_size: [4] }, "patch_size"],
  [{ classifier: "cls" }, "classifier"],
  [{ name: "x.ResNet" }, "name: model class x.ResNet is not built"],
  [
    { encoder: { moe: { router: { name: "x.CoinRouter" } } } },
    "encoder.moe.router.name: router x.CoinRouter is not built",
  ],
  [{ encoder: { moe: { num_shared_experts: -1 } } }, "encoder.moe.num_shared_experts: "],
  [{ encoder: { num_heads: 3 } }, "encoder.num_heads: must divide hidden_size = 16; got 3 [M3]"],
  [
    { encoder: { moe: { layers: [1, 4] } } },
    "encoder.moe.layers: must name blocks below num_layers = 4; got 4 [M3]",
  ],
  [
    { encoder: { moe: { router: { num_selected_experts: 5 } } } },
    "encoder.moe.router.num_selected_experts: must be at most num_experts = 4; got 5 [M3]",
  ],
  [
    { encoder: { moe: { router: { dispatcher: { capacity: 3 } } } } },
    "encoder.moe.router.dispatcher: exactly one of capacity and capacity_factor",
  ],
  [
    { encoder: { moe: { router: { dispatcher: { capacity_factor: null } } } } },
    "encoder.moe.router.dispatcher: exactly one of",
  ],
  [
    { hidden_size: 18, encoder: { position_emb: { name: "sincos2d" } } },
    "hidden_size: must be a multiple of 4",
  ],
  [
    {
      encoder: {
        moe: { router: { dispatcher: { capacity_factor: 1e-6, capacity_ceil_or_round: "round" } } },
      },
    },
    "capacity_factor: must give at least one slot",
  ],
])("%j is refused by its key", (patch, message) => {
  const caught = (() => {
    try {
      return build(patch);
    } catch (error) {
      return error;
    }
  })();
  expect(expectOneLine(caught).message).toContain(message);
});

const ensemble = [...recorded("e3.json").cases.values()][0]!.config;

test.each([
  [{ encoder: { moe: { ensemble_size: null } } }, "encoder.moe.ensemble_size: must be given [M3]"],
  [
    { encoder: { moe: { ensemble_size: 3 } } },
    "encoder.moe.num_experts: must be a multiple of ensemble_size",
  ],
  [{ encoder: { moe: { group_size: 41 } } }, "encoder.moe.group_size: must be a multiple of ensemble_size"],
  [{ encoder: { attention_qk_norm: true } }, "encoder.attention_qk_norm: must be false in an ensemble"],
  [
    { encoder: { position_emb: { name: "none" } } },
    "encoder.position_emb.name: must be learned in an ensemble",
  ],
  [
    { encoder: { moe: { router: { name: "SoftRouter" } } } },
    "encoder.moe.router.name: must be NoisyTopExpertsPerItemEnsembleRouter in an ensemble",
  ],
  [
    { encoder: { moe: { router: { num_selected_experts: 3 } } } },
    "encoder.moe.router.num_selected_experts: must be at most num_experts / ensemble_size = 2; got 3 [M3]",
  ],
  [{ name: "VisionTransformerMoe" }, "encoder.moe.ensemble_size: is for VisionTransformerMoeEnsemble; got 2"],
])("%j is refused in an ensemble by its key", (patch, message) => {
  expect(() => createModel(mergeConfig(ensemble, patch), size)).toThrow(message);
});

test("an ensemble routes whole images of all members, and a group of what is asked for if members fit", () => {
  const of = (batch: number, groupSize?: number): Model =>
    createModel(ensemble, { ...size, batch, ...(groupSize !== undefined && { groupSize }) });
  expect(of(4)).toMatchObject({ fullBatch: 2, blocks: [{ groups: 2, groupSize: 40, members: 2 }, {}] });
  expect(of(1).blocks[0]).toMatchObject({ groups: 1, groupSize: 20 });
  expect(of(1, 4).blocks[0]).toMatchObject({ groups: 5, groupSize: 4 });
  expect(() => of(1, 5)).toThrow(/group size: must be a multiple of ensemble_size = 2; got 5/);
  // Blocks from the first sparse one on, and the head, are computed for each member.
  const dense = createModel(mergeConfig(tiny, { encoder: { mlp_dim: 24, moe: null } }), size);
  expect(of(1).flops).toBeGreaterThan(1.5 * dense.flops);
  expect(of(1).flops).toBeLessThan(2 * dense.flops);
});

/** The forms of GELU and the epsilons of a model. */
const formsOf = (patch: Json): string[] => {
  const common = {
    classifier: "map",
    encoder: { attention_qk_norm: true, moe: { num_shared_experts: 1 } },
  };
  const { nodes } = build(mergeConfig(common, patch)).graph;
  const all = nodes.flatMap(({ sizes }) => ["approximate", "epsilon"].map((key) => String(sizes[key] ?? "")));
  return [...new Set(all)].filter(Boolean).toSorted();
};

test("GELU and the epsilon reach every layer, of experts and pooling too", () => {
  expect(formsOf({})).toEqual(["0.000001", "tanh"]);
  expect(formsOf({ encoder: { gelu: "none", layer_norm_epsilon: 1e-12 } })).toEqual(["1e-12", "none"]);
});

test("files may hold kernels of attention with heads and their width as one axis, and nothing else so", async () => {
  const { weights } = tinyVmoe();
  const { parameters } = build({});
  const joined = (name: string, shape: readonly number[]): WeightSource => ({
    ...weights,
    tensors: new Map(weights.tensors).set(name, { dtype: "f32", shape }),
    async read(tensor, rows) {
      const { data } = await weights.read(tensor, rows);
      return new Tensor(
        { dtype: "f32", shape: tensor === name ? shape : weights.tensors.get(tensor)!.shape },
        data,
      );
    },
  });
  const block = "Encoder/encoderblock_0";
  for (const [name, shape] of [
    [`${block}/SelfAttention/query/kernel`, [16, 16]],
    [`${block}/SelfAttention/key/bias`, [16]],
    [`${block}/SelfAttention/out/kernel`, [16, 16]],
  ] as const) {
    const matched = matchWeights(parameters, joined(name, shape), "file");
    expect(await matched.read(name)).toEqual(await weights.read(name));
  }
  for (const [name, shape] of [
    [`${block}/SelfAttention/query/kernel`, [256]],
    [`${block}/SelfAttention/out/kernel`, [4, 64]],
    [`${block}/Mlp/Dense_0/kernel`, [512]],
  ] as const) {
    expect(() => matchWeights(parameters, joined(name, shape), "file")).toThrow(
      `${name} is [${shape.join(", ")}]`,
    );
  }
});

test("a file may hold an ensemble's router in any shape of as many elements", async () => {
  const { parameters } = createModel(ensemble, size);
  const name = "Encoder/encoderblock_1/Moe/Router/dense/kernel";
  const { weights } = recorded("e3.json");
  const flat: WeightSource = {
    ...weights,
    tensors: new Map(weights.tensors).set(name, { dtype: "f32", shape: [16, 4] }),
    async read(tensor, rows) {
      const read = await weights.read(tensor, rows);
      return tensor === name ? new Tensor({ dtype: "f32", shape: [16, 4] }, read.data) : read;
    },
  };
  const matched = matchWeights(parameters, flat, "file");
  const want = await weights.read(name);
  expect(await matched.read(name)).toEqual(want);
  expect((await matched.read(name, [3, 5])).data).toEqual(want.data.slice(12, 20));
});

test.each([[null], [[]], ["config"], [{}]])("%j is not a configuration", (value) => {
  expect(() => createModel(value as unknown as Json)).toThrow(/\[M1\]$/);
});

test("overrides are paths and JSON values", () => {
  expect(parseOverride("a.b=2")).toEqual({ a: { b: 2 } });
  expect(parseOverride("a=null")).toEqual({ a: null });
  expect(parseOverride("a=x=y")).toEqual({ a: "x=y" });
  expect(parseOverride("a=[1, 2]")).toEqual({ a: [1, 2] });
  expect(() => parseOverride("a")).toThrow(/^a: must be path=value/);
});

test.each(["learned", "sincos2d", "none"])("position embedding %s, every classifier, qk-norm", (name) => {
  for (const classifier of ["token", "gap", "map", "0"]) {
    const patch = {
      classifier,
      representation_size: 8,
      encoder: { position_emb: { name }, attention_qk_norm: true, moe: { group_size: 18 } },
    };
    const { parameters, graph, grid } = build(patch);
    const names = parameters.filter(({ trained }) => trained).map((p) => p.name);
    expect(tokensOf(grid)).toBe(classifier === "token" ? 10 : 9);
    expect(names.includes("cls")).toBe(classifier === "token");
    expect(names.includes("MapHead/probe")).toBe(classifier === "map");
    expect(names.includes("Encoder/posembed_input/pos_embedding")).toBe(name === "learned");
    expect(names).toContain("Encoder/encoderblock_0/SelfAttention/query_ln/scale");
    expect(graph.outputs.get("logits")?.type.shape).toEqual([4, 5]);
  }
});

test("a model without classes returns its features", () => {
  const model = createModel(mergeConfig(tiny, { num_classes: null }), size);
  expect(model.graph.outputs.get("logits")?.type.shape).toEqual([4, 16]);
  expect(model.parameters.some(({ name }) => name.startsWith("head"))).toBe(false);
});

const groupOf = (batch: number, groupSize?: number): number => {
  const options = groupSize === undefined ? {} : { groupSize };
  return createModel(presets.get("vmoe-s32-last2-e8")!, { batch, ...options }).blocks[0]!.groupSize;
};

test("groups: the configuration's where it divides, else whole images, or what is asked for", () => {
  expect(groupOf(8)).toBe(400);
  expect(groupOf(16)).toBe(400);
  expect(groupOf(1)).toBe(50);
  expect(groupOf(4)).toBe(200);
  expect(groupOf(12)).toBe(300);
  expect(groupOf(11)).toBe(50);
  expect(groupOf(4, 20)).toBe(20);
  expect(() => groupOf(4, 30)).toThrow(/group size: must divide the 200 tokens/);
  expect(() => groupOf(0)).toThrow(/batch: must be an integer of at least 1/);
  expect(() => createModel(tiny, { imageSize: [3, 12] })).toThrow(
    /image size: must be an integer of at least one patch/,
  );
});

test("the parameters of V-MoE-S/32 have the original's names and shapes", () => {
  const model = createModel(presets.get("vmoe-s32-last2-e8")!);
  const shape = (name: string): readonly number[] | undefined =>
    model.parameters.find((p) => p.name === name)?.shape;
  expect(shape("embedding/kernel")).toEqual([32, 32, 3, 512]);
  expect(shape("cls")).toEqual([1, 1, 512]);
  expect(shape("Encoder/posembed_input/pos_embedding")).toEqual([1, 50, 512]);
  expect(shape("Encoder/encoderblock_0/SelfAttention/query/kernel")).toEqual([512, 8, 64]);
  expect(shape("Encoder/encoderblock_0/SelfAttention/out/kernel")).toEqual([8, 64, 512]);
  expect(shape("Encoder/encoderblock_0/Mlp/Dense_0/kernel")).toEqual([512, 2048]);
  expect(shape("Encoder/encoderblock_5/Moe/Mlp/Dense_1/kernel")).toEqual([8, 2048, 512]);
  expect(shape("Encoder/encoderblock_5/Moe/Router/dense/kernel")).toEqual([512, 8]);
  expect(shape("Encoder/encoder_norm/scale")).toEqual([512]);
  expect(shape("pre_logits/kernel")).toEqual([512, 512]);
  expect(shape("head/kernel")).toEqual([512, 1000]);
  expect(parameterCount(model)).toBe(56_999_400);
});
