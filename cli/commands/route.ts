/** `moec route`: where a model sends the patches of photographs, as numbers and as a picture. */
import { Command } from "commander";

import { checkWritable, writeFileAtomically } from "../../files/disk.ts";
import { byMember, routeOutputs, routesOf } from "../../models/index.ts";
import { dataUri } from "../image.ts";
import { infer, type InferenceOptions } from "../inference.ts";
import { examples, inferring } from "../options.ts";
import { showRoutes } from "../report.ts";
import { drawPicture } from "../svg.ts";

interface RouteOptions extends InferenceOptions {
  readonly svg?: string;
}

async function route(name: string, options: RouteOptions): Promise<void> {
  const { svg, json, input } = options;
  if (svg !== undefined) await checkWritable(svg);
  await infer(name, options, async ({ model, image, inputs, choice, progress, compile }) => {
    const executable = await compile(routeOutputs(model));
    const outputs = await executable.run(inputs);
    executable.dispose();
    progress.stop();
    const routes = routesOf(model, outputs);
    const [count = 1] = image.type.shape;
    const names = options.image ?? Array.from({ length: count }, (_, i) => `${input} [${i}]`);
    const router = model.router?.name ?? "none";
    if (svg !== undefined) {
      const images = await Promise.all(
        names.map(async (each, i) => ({ name: each, uri: await dataUri(image, i) })),
      );
      const drawn = drawPicture({
        title: `${name}, routed by ${router}`,
        images,
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
