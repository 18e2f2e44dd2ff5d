/** `moec trace`: what tokens ask of the experts, recorded over photographs, for `moec plan`. */
import { Command } from "commander";

import { checkWritable, writeFileAtomically } from "../../files/disk.ts";
import { checkTraceable, dropless, routeOutputs, traceOf, traceTensors } from "../../models/index.ts";
import { writeSafetensors } from "../../models/weights/safetensors.ts";
import { infer, type InferenceOptions } from "../inference.ts";
import { examples, inferring } from "../options.ts";

interface TraceOptions extends InferenceOptions {
  readonly output: string;
}

async function trace(name: string, options: TraceOptions): Promise<void> {
  await checkWritable(options.output);
  await infer(
    name,
    { ...options, adapt: dropless },
    async ({ model, image, inputs, choice, progress, compile }) => {
      checkTraceable(model, name);
      const executable = await compile(routeOutputs(model));
      const outputs = await executable.run(inputs);
      executable.dispose();
      const [images = 1] = image.type.shape;
      const recorded = traceOf(model, outputs, images);
      await writeFileAtomically(options.output, (sink) => writeSafetensors(traceTensors(recorded), sink));
      progress.stop();
      const summary = {
        model: name,
        backend: choice.backend.name,
        images,
        blocks: [...recorded.keys()],
        trace: options.output,
      };
      console.log(
        options.json
          ? JSON.stringify(summary)
          : `${options.output}: the choices of ${images} images in ${recorded.size} sparse blocks`,
      );
    },
  );
}

/** `moec trace`. */
export const traceCommand: Command = inferring(new Command("trace"))
  .description("record what tokens ask of the experts where nothing is dropped")
  .requiredOption("-o, --output <trace.safetensors>", "the file to write, for moec plan")
  .addHelpText("after", examples("trace vmoe-s32-last2-e8 --image photos/*.jpg -o trace.safetensors"))
  .action((name: string, options: TraceOptions) => trace(name, options));
