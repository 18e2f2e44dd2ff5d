/** How long launches take, by the device's own clock. */
import { CompileError } from "../ir/error.ts";
import { type Device, usage } from "./device.ts";

/** What WebGPU allows in one set. */
const mostQueries = 4096;
const bytesOfQuery = 8;

/**
 * Milliseconds of each of `count` passes, `record(pass, i)` recording the i-th, after whatever `prepare` records: timestamps
 * stand at the ends of passes, so that nothing overlaps. Throws B3 for a device without timestamps, or for more passes than
 * it can time at once.
 */
export async function timePasses(
  device: Device,
  name: string,
  count: number,
  record: (pass: GPUComputePassEncoder, i: number) => void,
  prepare: (encoder: GPUCommandEncoder, i: number) => void = () => undefined,
): Promise<number[]> {
  const { gpu } = device;
  if (!gpu.features.has("timestamp-query")) {
    throw new CompileError("B3", name, "cannot be timed: the device has no timestamps");
  }
  if (2 * count > mostQueries) {
    throw new CompileError("B3", name, `has ${count} passes to time; at most ${mostQueries / 2} can be`);
  }
  const bytes = 2 * count * bytesOfQuery;
  const queries = gpu.createQuerySet({ type: "timestamp", count: 2 * count });
  const resolved = await device.buffer("timestamps", bytes, usage.queryResolve | usage.copySource);
  const staging = await device.buffer("timestamps", bytes, usage.mapRead | usage.copyTarget);
  try {
    const encoder = gpu.createCommandEncoder();
    for (let i = 0; i < count; i++) {
      prepare(encoder, i);
      const pass = encoder.beginComputePass({
        timestampWrites: {
          querySet: queries,
          beginningOfPassWriteIndex: 2 * i,
          endOfPassWriteIndex: 2 * i + 1,
        },
      });
      record(pass, i);
      pass.end();
    }
    encoder.resolveQuerySet(queries, 0, 2 * count, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, bytes);
    device.submit(encoder.finish());
    const stamps = new BigUint64Array(await device.read(staging, bytes, name));
    return Array.from({ length: count }, (_, i) => {
      const [start = 0n, end = 0n] = [stamps[2 * i], stamps[2 * i + 1]];
      return end > start ? Number(end - start) / 1e6 : 0;
    });
  } finally {
    queries.destroy();
    resolved.destroy();
    staging.destroy();
  }
}
