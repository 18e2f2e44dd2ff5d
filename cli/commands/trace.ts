/** `moec trace`: what tokens ask of the experts, recorded over photographs, for `moec plan`. */
import { Command } from "commander";

import { checkWritable, writeFileAtomically } from "../../files/disk.ts";
import {
  checkTraceable,
  dropless,
  joinTraces,
  routeOutputs,
  type RoutingTrace,
  traceOf,
  traceTensors,
} from "../../models/index.ts";
import { writeSafetensors } from "../../models/weights/safetensors.ts";
import { infer, type Inference, type InferenceOptions } from "../inference.ts";
import { examples, inferring } from "../options.ts";

interface TraceOptions extends InferenceOptions {
  readonly output: string;
}

async function trace(name: string, options: TraceOptions): Promise<void> {
  const { output, json = false } = options;
  await checkWritable(output);
  await infer(name, { ...options, adapt: dropless }, json, async (inference) => {
    const { model, names, choice, progress } = inference;
    checkTraceable(model, name);
    const recorded = joinTraces(await traces(inference));
    await writeFileAtomically(output, (sink) => writeSafetensors(traceTensors(recorded), sink));
    progress.stop();
    const [images, blocks] = [names.length, [...recorded.keys()]];
    const summary = { model: name, backend: choice.backend.name, images, blocks, trace: output };
    console.log(
      json
        ? JSON.stringify(summary)
        : `${output}: the choices of ${images} images in ${blocks.length} sparse blocks`,
    );
  });
}

/** The trace of each batch. */
async function traces({
  model,
  names,
  images,
  inputs,
  progress,
  compile,
}: Inference): Promise<RoutingTrace[]> {
  const program = await compile(routeOutputs(model));
  const all: RoutingTrace[] = [];
  let done = 0;
  for await (const { outputs, count } of program.stream(images(), { inputs })) {
    all.push(traceOf(model, outputs, count));
    done += count;
    progress.show(done / names.length, `${done} of ${names.length} images`);
  }
  await program.close();
  return all;
}

/** `moec trace`. */
export const traceCommand: Command = inferring(new Command("trace"))
  .description("record what tokens ask of the experts where nothing is dropped")
  .requiredOption("-o, --output <trace.safetensors>", "the file to write, for moec plan")
  .addHelpText("after", examples("trace vmoe-s32-last2-e8 --image photos/*.jpg -o trace.safetensors"))
  .action((name: string, options: TraceOptions) => trace(name, options));
