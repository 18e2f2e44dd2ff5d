/** `moec diff`: two files of weights, tensor by tensor. */
import { Command } from "commander";

import { showType } from "../../ir/index.ts";
import type { Json } from "../../models/index.ts";
import { compareWeights, type Comparison } from "../../models/weights/compare.ts";
import { openWeights } from "../../models/weights/open.ts";
import { examples, exitCodes, jsonOption, weightsHelp } from "../options.ts";
import { progressBar } from "../progress.ts";
import { table } from "../terminal.ts";

/** What `--json` prints; errors that are not finite are null there. */
interface Summary {
  readonly equal: boolean;
  readonly tensors: readonly Comparison[];
  /** The keys of a configuration that each file asks for. */
  readonly config: { readonly a: Json; readonly b: Json };
}

/** Prints how the files at `a` and `b` differ; whether they are equal. */
async function diff(a: string, b: string, { json }: { readonly json?: boolean }): Promise<boolean> {
  const left = await openWeights(a);
  const progress = progressBar(json === true);
  try {
    const right = await openWeights(b);
    try {
      const tensors: Comparison[] = [];
      for await (const each of compareWeights(left, right, progress.show)) tensors.push(each);
      progress.stop();
      const config = { a: left.config, b: right.config };
      const equal =
        tensors.every(({ verdict }) => verdict === "equal") &&
        JSON.stringify(config.a) === JSON.stringify(config.b);
      const summary: Summary = { equal, tensors, config };
      console.log(json ? JSON.stringify(summary) : describe(summary));
      return equal;
    } finally {
      await right.close();
    }
  } finally {
    progress.stop();
    await left.close();
  }
}

/** The summary for people: what differs, and how much does not. */
function describe({ equal, tensors, config }: Summary): string {
  const different = tensors.filter(({ verdict }) => verdict !== "equal");
  const rows = different.map(({ name, verdict, a, b, maxError, relativeError }) => [
    name,
    verdict,
    a ? showType(a) : "",
    b ? showType(b) : "",
    maxError?.toExponential(2) ?? "",
    relativeError?.toExponential(2) ?? "",
  ]);
  const counted = `${tensors.length - different.length} of ${tensors.length} tensors are equal`;
  const said = JSON.stringify(config.a) === JSON.stringify(config.b);
  return [
    ...(rows.length > 0
      ? [table([["tensor", "differs in", "a", "b", "max error", "relative L2"], ...rows]), ""]
      : []),
    ...(said ? [] : [`a asks for ${JSON.stringify(config.a)}, b for ${JSON.stringify(config.b)}`]),
    equal ? `all ${tensors.length} tensors are equal` : counted,
  ].join("\n");
}

/** `moec diff`. */
export const diffCommand: Command = new Command("diff")
  .description("compare two files of weights tensor by tensor; exit code 1 when they differ")
  .argument("<a>", weightsHelp)
  .argument("<b>", "the same")
  .addOption(jsonOption())
  .addHelpText(
    "after",
    examples("diff ViT-S_16.npz vit-s16.safetensors", "diff a.safetensors b.safetensors --json"),
  )
  .action(async (a: string, b: string, options: { readonly json?: boolean }) => {
    if (!(await diff(a, b, options))) process.exitCode = exitCodes.failed;
  });
