/** A compiled program as files; `moec/runtime` runs them. */
import type { WeightSource } from "../../ir/index.ts";
import { type Manifest, manifestFile } from "../../runtime/bundle.ts";
import type { DeviceModule } from "../../runtime/module.ts";
import { weightBytes } from "./weights.ts";

/** A file with its path in the bundle. */
export interface BundleFile {
  readonly path: string;
  readonly bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/**
 * The files of a bundle, the manifest last; weights are read as their files are written, a part at a time.
 * @param model what the program was made of; JSON holds it
 * @param source where the weights are from; without one the bundle has none
 */
export function* bundleFiles(
  { kernels, ...module }: DeviceModule,
  model: Manifest["model"],
  source?: WeightSource,
): Generator<BundleFile> {
  const files = kernels.map(({ label }, i) => `kernels/${numbered(i, 2)}-${slug(label)}.wgsl`);
  for (const [i, { wgsl }] of kernels.entries()) yield text(files[i] as string, wgsl);
  const weights = module.buffers
    .slice(0, module.weightBuffers)
    .map((_, i) => `weights/${numbered(i, 3)}.bin`);
  if (source) {
    for (const [i, path] of weights.entries()) yield { path, bytes: bufferBytes(module, source, i) };
  }
  const manifest: Manifest = {
    format: "moec bundle",
    version: 1,
    module: {
      ...module,
      kernels: kernels.map(({ label, access }, i) => ({ label, access, file: files[i] as string })),
    },
    ...(source && { weights }),
    model,
  };
  yield text(manifestFile, `${JSON.stringify(manifest)}\n`);
}

const text = (path: string, content: string): BundleFile => ({
  path,
  bytes: [new TextEncoder().encode(content)],
});

const numbered = (i: number, digits: number): string => String(i).padStart(digits, "0");

const slug = (label: string): string => label.replace(/[^a-z0-9]+/gi, "-");

/** All bytes of a weight buffer, with zeros between its parts. */
async function* bufferBytes(
  { weights, buffers }: Pick<DeviceModule, "weights" | "buffers">,
  source: WeightSource,
  index: number,
): AsyncGenerator<Uint8Array> {
  let end = 0;
  for await (const { offset, bytes } of weightBytes(weights, source, index)) {
    if (offset > end) yield new Uint8Array(offset - end);
    yield new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    end = offset + bytes.byteLength;
  }
  const total = buffers[index]?.bytes ?? end;
  if (total > end) yield new Uint8Array(total - end);
}
