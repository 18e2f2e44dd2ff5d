/** Models as files on disk, for Node. */
import { basename } from "node:path";

import { writeFileAtomically } from "../../files/disk.ts";
import type { WeightSource } from "../../ir/index.ts";
import type { OnnxProgram } from "./export.ts";
import { withData } from "./file.ts";

/**
 * Writes a model to `path` and its weights to `path.data` beside it; both appear when both are whole. Holds one part
 * of one weight at a time. Throws W1 where a file cannot be written.
 */
export async function saveProgram(
  path: string,
  program: OnnxProgram,
  source: WeightSource,
  onProgress?: (done: number) => void,
): Promise<void> {
  const { model, data } = withData(program, `${basename(path)}.data`);
  await writeFileAtomically(path, async (sink) => {
    await sink(model);
    await writeFileAtomically(`${path}.data`, async (dataSink) => {
      for await (const part of data(source, onProgress)) await dataSink(part);
    });
  });
}
