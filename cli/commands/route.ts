/** `moec route`: where a model sends the patches of photographs, as numbers and as a picture. */
import { Command } from "commander";

import { checkWritable, writeFileAtomically } from "../../files/disk.ts";
import { dataUri } from "../../inference/photographs.ts";
import { type BlockRoutes, byMember, joinedRoutes, routeOutputs } from "../../models/index.ts";
import { infer, type InferenceOptions } from "../inference.ts";
import { examples, inferring } from "../options.ts";
import { showRoutes } from "../report.ts";
import { drawPicture } from "../svg.ts";

interface RouteOptions extends InferenceOptions {
  readonly svg?: string;
}

async function route(name: string, options: RouteOptions): Promise<void> {
  const { svg, json } = options;
  if (svg !== undefined) await checkWritable(svg);
  await infer(name, options, json === true, async (inference) => {
    const { model, names, images, inputs, choice, progress, compile } = inference;
    const program = await compile(routeOutputs(model));
    const runs: BlockRoutes[][] = [];
    for await (const result of program.stream(images(), { inputs })) {
      runs.push(result.routes);
      progress.show((runs.length * inference.batch) / names.length, "running");
    }
    await program.close();
    progress.stop();
    const routes = joinedRoutes(runs);
    const router = model.router?.name ?? "none";
    if (svg !== undefined) {
      const drawings: { readonly name: string; readonly uri: string }[] = [];
      for (const [i, each] of names.entries())
        drawings.push({ name: each, uri: await dataUri(await inference.read(i, i + 1), 0) });
      const drawn = drawPicture({
        title: `${name}, routed by ${router}`,
        images: drawings,
        grid: model.grid,
        routes: byMember(routes, names.length),
      });
      await writeFileAtomically(svg, (sink) => sink(new TextEncoder().encode(drawn)));
    }
    if (json)
      console.log(
        JSON.stringify({ model: name, router, backend: choice.backend.name, images: names, routes }),
      );
    else showRoutes(model, names, routes);
  });
}

/** `moec route`. */
export const routeCommand: Command = inferring(new Command("route"))
  .description("show where a model sends the patches of photographs")
  .option("--svg <out.svg>", "a picture: maps of patches to experts over the photographs, drops and loads")
  .addHelpText(
    "after",
    examples(
      "route vmoe-s32-last2-e8 --image photo.jpg --svg routes.svg",
      "route vmoe-s32-last2-e8 --image photo.jpg --router NoisyTopItemsPerExpertRouter --json",
    ),
  )
  .action((name: string, options: RouteOptions) => route(name, options));
