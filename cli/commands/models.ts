/** `moec models`: the presets and what they cost. */
import { Command } from "commander";

import { createModel, parameterCount, presets } from "../../models/index.ts";
import { examples, jsonOption } from "../options.ts";
import { table } from "../terminal.ts";

/** One preset, as `--json` prints it. */
interface Row {
  readonly name: string;
  readonly parameters: number;
  /** Operations of one image at 224 px, in 1e9. */
  readonly gflops: number;
  readonly experts: number;
  readonly sparseBlocks: readonly number[];
}

function models({ json }: { readonly json?: boolean }): void {
  const rows = [...presets].map(([name, config]): Row => {
    const model = createModel(config, { batch: 8 });
    return {
      name,
      parameters: parameterCount(model),
      gflops: model.flops / 1e9,
      experts: model.blocks[0]?.experts ?? 0,
      sparseBlocks: model.blocks.map(({ index }) => index),
    };
  });
  if (json) {
    console.log(JSON.stringify(rows));
    return;
  }
  const cells = rows.map(({ name, parameters, gflops, experts, sparseBlocks }) => [
    name,
    `${(parameters / 1e6).toFixed(1)} M`,
    gflops.toFixed(2),
    experts || "",
    sparseBlocks.length > 8
      ? `${sparseBlocks.slice(0, 3).join(",")},..,${sparseBlocks.at(-1)}`
      : sparseBlocks.join(","),
  ]);
  console.log(table([["preset", "parameters", "GFLOP/image", "experts", "sparse blocks"], ...cells]));
}

/** `moec models`. */
export const modelsCommand: Command = new Command("models")
  .description("list the presets with their parameters, operations and sparse blocks")
  .addOption(jsonOption())
  .addHelpText("after", examples("models", "models --json | jq '.[].name'"))
  .action(models);
